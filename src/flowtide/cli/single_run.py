"""One execution on a process of its own: a flow and inputs in, what became of it out, shown while it runs.

No port is opened and nothing is left behind, unless a folder for the data is given.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from flowtide.cli.flow_folder import FlowFile
from flowtide.cli.flow_inputs import typed_inputs
from flowtide.cli.progress import Runs, Screen, log_line
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Message, Reader
from flowtide.model.commands import Command, CreateExecution, KillExecution, ResumeExecution
from flowtide.model.entries import LOG_DECODER, Level
from flowtide.model.events import (
    EVENT_DECODER,
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionPaused,
    TaskRunPaused,
)
from flowtide.model.flow import Flow
from flowtide.model.records import encode
from flowtide.model.services import ServiceType
from flowtide.model.states import State
from flowtide.services.process import Process
from flowtide.services.saving import ResourceClient
from flowtide.settings import Settings

TENANT = "main"
SERVICES = (ServiceType.EXECUTOR, ServiceType.WORKER)

_POLL = timedelta(milliseconds=100)

logger = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Outcome:
    """What became of an execution."""

    execution_id: str
    flow: Flow
    state: State = State.CREATED
    began: datetime | None = None
    ended: datetime | None = None
    outputs: dict[str, Any] | None = None
    error: str | None = None
    why: str | None = None  # why it was ended from here
    runs: Runs = field(default_factory=Runs)

    @property
    def exit_code(self) -> int:
        """0 for success, with warnings or without, 1 for a failure, 3 when it was ended from outside."""
        if self.state in (State.KILLED, State.CANCELLED):
            return 3
        return 1 if self.state is State.FAILED else 0

    def document(self) -> dict[str, Any]:
        """Everything as plain values, for programs."""
        ended, began = self.ended, self.began
        return {
            "id": self.execution_id,
            "namespace": self.flow.namespace,
            "flowId": self.flow.id,
            "state": self.state.value,
            "duration": (ended - began).total_seconds() if ended is not None and began is not None else None,
            "outputs": self.outputs or {},
            "error": self.error or self.why,
            "taskRuns": [
                {
                    "id": run.run_id,
                    "executionId": run.execution_id,
                    "flowId": run.flow_id,
                    "taskId": run.task_id,
                    "value": run.value,
                    "state": run.state.value,
                    "outputs": run.outputs or {},
                    "error": run.error,
                }
                for run in self.runs.all.values()
            ],
        }


class SingleRun:
    """Runs the first of `files`; the others are there for its subflows.

    `resume` goes on at once where a flow pauses for a person.  `timeout` kills the execution.
    """

    def __init__(
        self,
        settings: Settings,
        files: Sequence[FlowFile],
        screen: Screen,
        *,
        given: Mapping[str, str],
        resume: bool = False,
        timeout: timedelta | None = None,
        least: Level = Level.INFO,
    ) -> None:
        self._settings = settings
        self._files = files
        self._screen = screen
        self._given = given
        self._resume = resume
        self._timeout = timeout
        self._least = least
        self._process: Process
        self._outcome: Outcome
        self._key: ExecutionKey
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        """Run to the end.  Raises InputError before anything ran, FlowtideError when this process cannot work."""
        self._process = Process(self._settings, SERVICES)
        async with self._process.serving() as process:
            flow = self._files[0].parsed.valid()
            await self._save(process)
            execution_id = process.surroundings.ids()
            self._key = ExecutionKey(TENANT, execution_id)
            inputs = await typed_inputs(
                flow,
                self._given,
                tenant=TENANT,
                execution_id=execution_id,
                storage=process.storage,
                render=process.rendering.render,
                cipher=process.encryption,
            )
            self._outcome = Outcome(execution_id=execution_id, flow=flow, runs=Runs(main=flow.id))
            events = await process.log.reader("execution_events", "end")
            lines = await process.log.reader("logs", "end")
            following = asyncio.create_task(self._follow(events, lines))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._interrupted, number)
            timer = None
            if self._timeout is not None:
                seconds = self._timeout.total_seconds()
                timer = loop.call_later(seconds, self._kill, f"it took longer than {seconds:g} s")
            try:
                saved = process.catalog.flow(TENANT, flow.namespace, flow.id)
                await self._send(
                    CreateExecution(
                        at=process.surroundings.clock(),
                        namespace=flow.namespace,
                        flow_id=flow.id,
                        flow_revision=None if saved is None else saved.revision,
                        inputs=inputs,
                        inputs_resolved=True,
                    )
                )
                await following
            finally:
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.remove_signal_handler(number)
                if timer is not None:
                    timer.cancel()
                for task in (following, *self._tasks):
                    task.cancel()
                await asyncio.gather(following, *self._tasks, return_exceptions=True)
                await events.close()
                await lines.close()
        return self._outcome

    async def _save(self, process: Process) -> None:
        client = ResourceClient(
            process.log,
            process.catalog,
            instance="run",
            clock=process.surroundings.clock,
            ids=process.surroundings.ids,
        )
        await client.start()
        try:
            for file in self._files:
                flow = file.parsed.valid()
                await client.save_flow(TENANT, flow.namespace, flow.id, file.source)
        finally:
            await client.close()

    # Following.

    async def _follow(self, events: Reader, lines: Reader) -> None:
        """Show events and lines until the execution is over and all its lines have come."""
        logs = asyncio.create_task(self._follow_lines(lines))
        try:
            while not self._over.is_set():
                for record in await events.poll(maximum=1_000, timeout=_POLL):
                    self._take(EVENT_DECODER.decode(record.value or b""))
            with suppress(TimeoutError):
                await asyncio.wait_for(logs, 10)
        finally:
            logs.cancel()

    async def _follow_lines(self, lines: Reader) -> None:
        while True:
            over = self._over.is_set() and await lines.at_end()
            for record in await lines.poll(maximum=1_000, timeout=_POLL):
                entry = LOG_DECODER.decode(record.value or b"")
                if entry.level.severity >= self._least.severity:
                    self._screen.line(log_line(self._outcome.runs, entry))
            if over:
                return

    def _take(self, event: ExecutionEvent) -> None:
        outcome = self._outcome
        run = outcome.runs.take(event)
        if run is not None:
            self._screen.changed(outcome.runs, run)
        if isinstance(event, TaskRunPaused) and event.due is None:
            self._paused(event.execution_id, event.run_id)
        elif isinstance(event, ExecutionPaused) and event.held:
            self._paused(event.execution_id, None)
        if event.execution_id != outcome.execution_id:
            return
        if isinstance(event, ExecutionCreated):
            outcome.began = event.at
        elif isinstance(event, ExecutionEnded):
            outcome.state, outcome.outputs = event.state, event.outputs
            outcome.error, outcome.ended = event.error, event.at
            if event.closed:
                self._over.set()
        elif isinstance(event, ExecutionClosed):
            self._over.set()

    # Acting.

    def _paused(self, execution_id: str, run_id: str | None) -> None:
        """A flow waits for a person: who sits at the terminal, or nobody."""
        if self._resume:
            self._go_on(execution_id, run_id)
        elif sys.stdin.isatty():
            self._screen.line("paused: press Enter to go on, Ctrl-C to end it")
            loop = asyncio.get_running_loop()

            def pressed() -> None:
                sys.stdin.readline()
                loop.remove_reader(sys.stdin)
                self._go_on(execution_id, run_id)

            loop.add_reader(sys.stdin, pressed)
        else:
            self._kill("it waits for a person, and nobody is here to resume it; `--resume` goes on at once")

    def _go_on(self, execution_id: str, run_id: str | None) -> None:
        command = ResumeExecution(at=self._process.surroundings.clock(), run_id=run_id)
        self._start_sending(command, ExecutionKey(TENANT, execution_id))

    def _interrupted(self, number: signal.Signals) -> None:
        if self._outcome.why is not None:
            raise SystemExit(128 + number)  # whoever asks twice means it
        self._kill("it was interrupted")

    def _kill(self, why: str) -> None:
        if self._outcome.why is None:
            self._outcome.why = why
            self._screen.line(f"ending the execution: {why}")
            self._start_sending(KillExecution(at=self._process.surroundings.clock()), self._key)

    def _start_sending(self, command: Command, key: ExecutionKey) -> None:
        task = asyncio.create_task(self._send(command, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, command: Command, key: ExecutionKey | None = None) -> None:
        message = Message(topic="execution_commands", key=str(key or self._key), value=encode(command))
        await self._process.log.append([message])
