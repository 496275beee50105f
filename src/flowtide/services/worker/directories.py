"""The directories that a worker holds for WorkingDirectory tasks: opened by a job, used by controls, closed by one.

In come the jobs that open them and the controls RunInDirectory, CloseDirectory and KillRun; out go attempts that run
in them, and reports.  The state is a block for each directory: what runs in it, what waits, whether it has a slot.

A block has one of the worker's slots while something happens in it, so that its next task never waits for one.  When
nothing was asked of it for a moment it lends the slot, because what it waits for (a subflow, the answer of another
worker) may itself need one.  Further tasks at the same time take slots of their own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from flowtide.errors import FlowtideError
from flowtide.log.port import Message
from flowtide.model.commands import LoseWorker
from flowtide.model.directories import DirectoryBlock
from flowtide.model.jobs import CloseDirectory, KillRun, RunInDirectory, RunTask
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.services.worker.attempt import Attempt, Outcome, Tools
from flowtide.services.worker.context import TaskContext
from flowtide.services.worker.preparation import PreparedTask
from flowtide.services.worker.reports import COMMANDS

LEND_AFTER: Final = timedelta(seconds=2)
ASK_AFTER: Final = timedelta(minutes=10)
"""How long nothing may happen in a directory before executors are asked whether it is still wanted."""
_LOOK_EVERY: Final = timedelta(seconds=1)

_BlockKey = tuple[str, str, str, int]  # tenant, execution, run and attempt of the WorkingDirectory


class Host(Protocol):
    """What the worker does for its directories."""

    def take_slot(self) -> bool:
        """Take a slot; False when none is free."""
        ...

    def free_slot(self) -> None:
        """Give a slot back."""
        ...

    async def prepared(self, job: RunTask) -> PreparedTask:
        """The validated task of a job.  Raises TaskFailed."""
        ...

    def is_killed(self, job: RunTask) -> bool:
        """Whether the job was to be ended before it could start."""
        ...

    def refuse(self, job: RunTask, error: FlowtideError) -> None:
        """Report a job that cannot be run here."""
        ...

    def start(self, attempt: Attempt) -> None:
        """Run an attempt and report its start and its end."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run something that is awaited before the worker ends."""
        ...


class _Block:
    """One directory."""

    __slots__ = (
        "asked",
        "closing",
        "discarded",
        "idle_since",
        "job",
        "opened",
        "path",
        "prepared",
        "running",
        "slot",
        "started_closing",
        "taken",
        "waiting",
    )

    def __init__(self, job: RunTask, prepared: PreparedTask, now: datetime) -> None:
        self.job = job  # that opened it
        self.prepared = prepared
        self.path: Path | None = None
        self.opened = False
        self.slot = True
        self.running = 0
        self.waiting: deque[RunTask] = deque()
        self.taken: set[tuple[str, int]] = set()  # (run, attempt) of all its jobs: none is run twice
        self.closing: CloseDirectory | None = None
        self.started_closing = False
        self.discarded = False
        self.idle_since = now
        self.asked = now

    @property
    def key(self) -> _BlockKey:
        return (self.job.tenant_id, self.job.execution_id, self.job.run_id, self.job.attempt)

    @property
    def is_idle(self) -> bool:
        return self.opened and not self.running and not self.waiting and self.closing is None


class Directories:
    """The blocks of one worker.  To be used on the event loop's thread."""

    def __init__(self, host: Host, tools: Tools, *, worker_id: str) -> None:
        self._host = host
        self._tools = tools
        self._worker_id = worker_id
        self._blocks: dict[_BlockKey, _Block] = {}
        self._held = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __len__(self) -> int:
        return len(self._blocks)

    # Opening.

    def opening(self, job: RunTask, prepared: PreparedTask) -> Attempt:
        """The attempt that opens a directory, for which the caller took a slot."""
        block = _Block(job, prepared, self._tools.clock.now())
        self._blocks[block.key] = block
        self._held.set()
        self._quiet.clear()
        return _Opening(
            job, prepared, self._tools, on_end=lambda outcome, path: self._ended(block, outcome, path)
        )

    def forget(self, job: RunTask) -> None:
        """The attempt never began, and its slot was given back."""
        self._blocks.pop((job.tenant_id, job.execution_id, job.run_id, job.attempt), None)
        self._look_around()

    def _ended(self, block: _Block, outcome: Outcome | None, path: Path | None) -> None:
        block.path = path
        block.opened = outcome is not None and outcome.state is State.SUCCESS
        block.idle_since = self._tools.clock.now()
        if not block.opened or block.discarded:
            self._remove(block)
        else:
            self._pump()

    # Controls.

    def run(self, control: RunInDirectory) -> None:
        """Run a job in its directory, once; without the directory, say that it is lost."""
        if control.worker_id != self._worker_id:
            return
        job = control.job
        block = self._blocks.get(
            (control.tenant_id, control.execution_id, control.directory_run_id, control.directory_attempt)
        )
        if block is None or block.discarded:
            self._lose(
                control.tenant_id, control.execution_id, control.directory_run_id, control.directory_attempt
            )
            return
        if (job.run_id, job.attempt) in block.taken:
            return
        block.taken.add((job.run_id, job.attempt))
        block.waiting.append(job)
        self._pump()

    def close(self, control: CloseDirectory) -> None:
        """Close a directory, or only remove it."""
        if control.worker_id != self._worker_id:
            return
        block = self._blocks.get((control.tenant_id, control.execution_id, control.run_id, control.attempt))
        if control.discard:
            if block is not None:
                self._discard(block)
        elif block is None or block.discarded:
            self._lose(control.tenant_id, control.execution_id, control.run_id, control.attempt)
        elif block.closing is None:
            block.closing = control
            self._pump()

    def kill(self, kill: KillRun) -> None:
        """Remove what belongs to a killed execution, or is no longer wanted, as soon as nothing runs in it."""
        for key, block in list(self._blocks.items()):
            of_it = key[:2] == (kill.tenant_id, kill.execution_id) and kill.run_id in ("", key[2])
            if of_it and kill.attempt in (None, key[3]) and block.job.at <= kill.at:
                self._discard(block)

    def _discard(self, block: _Block) -> None:
        block.discarded = True
        block.waiting.clear()
        if block.opened and not block.running and not block.started_closing:
            self._remove(block)

    # What runs inside.

    def pump(self) -> None:
        """A slot is free: go on with what waits for one."""
        self._pump()

    def _pump(self) -> None:
        for block in list(self._blocks.values()):
            if not block.opened or block.discarded or block.started_closing:
                continue
            while block.waiting and self._has_slot(block):
                self._start(block, block.waiting.popleft())
            if (
                block.closing is not None
                and not block.running
                and not block.waiting
                and self._has_slot(block)
            ):
                block.started_closing = True
                self._host.spawn(self._close(block, block.closing), f"close {block.job.run_id}")

    def _has_slot(self, block: _Block) -> bool:
        """Whether one more thing may run: in the block's own slot, or in a further one that is taken for it."""
        if block.slot and not block.running:
            return True
        if not self._host.take_slot():
            return False
        block.slot = True
        self._quiet.clear()
        return True

    def _start(self, block: _Block, job: RunTask) -> None:
        block.running += 1
        self._host.spawn(self._run_inside(block, job), f"prepare {job.run_id}")

    async def _run_inside(self, block: _Block, job: RunTask) -> None:
        try:
            prepared = await self._host.prepared(job)
        except FlowtideError as error:
            self._host.refuse(job, error)
            self._free(block)
            return
        if self._host.is_killed(job) or block.discarded:
            self._tools.outbox.put(
                (self._tools.reports.ended(job, self._tools.clock.now(), State.KILLED, {}, None),),
                at_once=True,
            )
            self._free(block)
            return
        attempt = Attempt(job, prepared, self._tools, on_free=lambda: self._free(block), directory=block.path)
        self._host.start(attempt)

    def _free(self, block: _Block) -> None:
        """Something inside has really ended; the block keeps one slot for what follows."""
        block.running -= 1
        block.idle_since = block.asked = self._tools.clock.now()
        if block.running:
            self._host.free_slot()
        elif block.discarded:
            self._remove(block)
        self._pump()

    async def _close(self, block: _Block, control: CloseDirectory) -> None:
        closing = _Closing(
            block.job, block.prepared, self._tools, directory=block.path, failed=control.failed
        )
        try:
            await closing.run()
        except Exception as error:  # ours, not the task's: nothing was reported, and somebody waits for it
            text = f"the worker failed while it closed the directory: {type(error).__name__}"
            now = self._tools.clock.now()
            self._tools.outbox.put(
                (self._tools.reports.ended(block.job, now, State.FAILED, {}, text),), at_once=True
            )
        finally:
            self._remove(block)

    # Their end.

    def _remove(self, block: _Block) -> None:
        if self._blocks.pop(block.key, None) is None:
            return
        path, block.path = block.path, None
        if path is not None:
            self._host.spawn(_removed(path), f"remove {path.name}")
        if block.slot:
            block.slot = False
            self._host.free_slot()
        self._look_around()

    def _look_around(self) -> None:
        if not self._blocks:
            self._held.clear()
        if not any(block.slot for block in self._blocks.values()):
            self._quiet.set()

    def _lose(self, tenant_id: str, execution_id: str, run_id: str, attempt: int) -> None:
        """Say that a directory is not here; executors start its tasks again, unless it is over."""
        command = LoseWorker(
            at=self._tools.clock.now(), run_id=run_id, attempt=attempt, worker_id=self._worker_id
        )
        message = Message(topic=COMMANDS, key=f"{tenant_id}/{execution_id}", value=encode(command))
        self._tools.outbox.put((message,), at_once=True)

    async def watch(self) -> None:
        """Lend the slots of idle directories, and ask whether those that are idle for long are wanted; until cancelled.

        An execution that is over, or has started the tasks elsewhere, answers a second start with a kill.
        """
        while True:
            await self._held.wait()
            await self._tools.clock.sleep(_LOOK_EVERY)
            now = self._tools.clock.now()
            for block in [block for block in self._blocks.values() if block.is_idle]:
                if block.slot and now - block.idle_since >= LEND_AFTER:
                    block.slot = False
                    self._host.free_slot()
                    self._look_around()
                if now - block.asked >= ASK_AFTER:
                    block.asked = now
                    self._tools.outbox.put((self._tools.reports.started(block.job, now),), at_once=True)

    @property
    def are_busy(self) -> bool:
        """Whether something happens, or just happened, in one of them."""
        return not self._quiet.is_set()

    async def quiet(self) -> None:
        """Wait until nothing happens in any directory; idle ones may be left."""
        await self._quiet.wait()

    def lose_all(self) -> None:
        """The worker stops: say of every directory that it is lost, so that its tasks start again elsewhere."""
        for key in list(self._blocks):
            self._lose(*key)

    async def remove_all(self) -> None:
        """Remove what is left, at the worker's end."""
        paths = [block.path for block in self._blocks.values() if block.path is not None]
        self._blocks.clear()
        for path in paths:
            await _removed(path)


async def _removed(path: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


class _Opening(Attempt):
    """Makes a directory ready; it stays when that succeeds."""

    def __init__(
        self,
        job: RunTask,
        prepared: PreparedTask,
        tools: Tools,
        *,
        on_end: Callable[[Outcome | None, Path | None], None],
    ) -> None:
        super().__init__(job, prepared, tools, on_free=lambda: None)
        self._on_end = on_end
        self._made: TaskContext | None = None

    async def run(self) -> Outcome | None:
        """Open it and report."""
        outcome: Outcome | None = None
        try:
            outcome = await super().run()
        finally:
            self._on_end(outcome, self._made.made_directory if self._made is not None else None)
        return outcome

    def _context(self, variables: dict[str, Any]) -> TaskContext:
        self._made = super()._context(variables)
        self._made.keep_directory()
        return self._made

    def _report(self, outcome: Outcome) -> Message:
        if outcome.state is State.SUCCESS:
            return self._tools.reports.opened(self.job, self._tools.clock.now())
        return super()._report(outcome)


class _Closing(Attempt):
    """Keeps what is to stay of a directory; its outputs are those of the task run."""

    def __init__(
        self, job: RunTask, prepared: PreparedTask, tools: Tools, *, directory: Path | None, failed: bool
    ) -> None:
        super().__init__(job, prepared, tools, on_free=lambda: None, directory=directory)
        self._failed = failed

    def _call(self, context: TaskContext) -> Any:
        block = self.prepared.task
        assert isinstance(block, DirectoryBlock)
        return block.close(context, failed=self._failed)
