"""Executions as they are this moment, for those that somebody watches: events and base documents in, documents out.

State: one folded execution per watched key, and for a while those that were just commanded, so that one's own writes
are seen before the index has them.  Everything else is read from the index.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import structlog

from flowtide.errors import IndexFailed
from flowtide.index.documents import BaseMissing, Document, fold_execution, fold_task_run
from flowtide.index.port import Index
from flowtide.index.queries import Found
from flowtide.log.keys import ExecutionKey
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log, Partition, Record
from flowtide.model.events import (
    EVENT_DECODER,
    Event,
    ExecutionClosed,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionRestarted,
)
from flowtide.model.records import UNREADABLE, encode
from flowtide.model.states import TERMINAL
from flowtide.services.indexer import GROUP
from flowtide.services.log_tail import LogTail

logger = structlog.get_logger(__name__)

MOST_RUNS = (
    10_000  # task runs of one execution that are followed; readers of longer ones page through the index
)
KEPT = timedelta(
    seconds=10
)  # a commanded execution is folded on for so long, and longer while the index is behind
KEPT_AT_MOST = timedelta(minutes=10)
_TOPIC = "execution_events"
_MOST_KEPT = 1_000
_MOST_FILLED = 20_000  # records between the index and the end of the log that are read for a new watcher
_FILLED_AT_ONCE = 2_000
_FILL_PATIENCE = timedelta(milliseconds=100)
_MOST_CREATED = 5_000
_MOST_CREATED_BYTES = 32_000_000  # inputs may be large, and stand in each of them
_MOST_AHEAD = 10_000  # events that wait for their base, per execution
_RUNS_PER_PAGE = 1_000
# How long after which the base is read again, while it is not proven to be the state at the end of the log.
_SETTLING_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TERMINAL = frozenset(state.value for state in TERMINAL)


class LiveExecution:
    """One execution being folded.  What it gives is valid until the next `await` of the caller."""

    def __init__(self, key: ExecutionKey) -> None:
        self.key = key
        self.header: Document | None = None  # None: nothing is known of it
        self.is_closed = False  # nothing will ever follow
        self.watchers = 0
        self.kept_until = 0.0  # seconds of the event loop's clock
        self.kept_since = 0.0
        self.settling: asyncio.Task[None] | None = None
        self.causes: Counter[str] = Counter()  # how many events were seen to follow each type of command
        self._runs: dict[str, Document] = {}
        self._ahead: dict[int, ExecutionEvent] = {}
        self._proven = False
        self._changed: set[asyncio.Future[None]] = set()
        self._encoded: tuple[int, bytes] = (-2, b"")

    @property
    def number(self) -> int:
        """The number of the last event that was folded; -1 when nothing is known."""
        return -1 if self.header is None else int(self.header["lastEvent"])

    @property
    def state(self) -> str | None:
        """The current state's name."""
        return None if self.header is None else str(self.header["state"]["current"])

    @property
    def is_over(self) -> bool:
        """Whether it reached a state that nothing follows by itself."""
        return self.state in _TERMINAL

    @property
    def is_settled(self) -> bool:
        """Whether it is known to stand at the end of the log."""
        return self.is_closed or (self._proven and not self._ahead)

    @property
    def is_whole(self) -> bool:
        """Whether `document` has all task runs; beyond MOST_RUNS only the index has them."""
        return self.header is not None and int(self.header["taskRunCount"]["total"]) <= len(self._runs)

    @property
    def document(self) -> dict[str, Any] | None:
        """The API's Execution with its task runs."""
        if self.header is None:
            return None
        return {**self.header, "taskRunList": list(self._runs.values())}

    @property
    def body(self) -> bytes | None:
        """The API's Execution as JSON; encoded once for all that watch."""
        document = self.document
        if document is None:
            return None
        if self._encoded[0] != self.number:
            self._encoded = (self.number, encode(document))
        return self._encoded[1]

    def take(self, event: ExecutionEvent) -> None:
        """Fold one event from the log; one that came too early waits for those before it."""
        if event.number <= self.number:
            return
        if event.number != self.number + 1:
            if len(self._ahead) >= _MOST_AHEAD:
                self._ahead.clear()  # the base will have them, and the next ones come in order again
            self._ahead[event.number] = event
            return
        self._fold(event)
        self._proven = True
        self._catch_up()
        self._wake()

    def purge(self) -> None:
        """Forget it: what was left of it was removed."""
        self.header = None
        self.is_closed = True
        self._runs.clear()
        self._ahead.clear()
        self._wake()

    def prove(self) -> None:
        """Know that nothing on the log came after what was folded."""
        self._proven = self.header is not None

    def rebase(self, header: Document, runs: dict[str, Document]) -> None:
        """Go on from documents of the index, if they are ahead of what is known."""
        if self.header is not None and header["lastEvent"] <= self.number:
            return
        self.header, self._runs = header, runs
        self._catch_up()
        self._wake()

    async def change(self, seen: int, timeout: timedelta | None = None) -> bool:
        """Wait until the last event is another one than number `seen`; False when the time is over first."""
        if self.number != seen:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(future)
        try:
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                await future
        except TimeoutError:
            return False
        finally:
            self._changed.discard(future)
        return True

    async def until(self, holds: Callable[[LiveExecution], bool], timeout: timedelta | None = None) -> bool:
        """Wait until a condition holds; False when the time is over first."""
        try:
            async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
                while not holds(self):
                    await self.change(self.number)
        except TimeoutError:
            return False
        return True

    def _catch_up(self) -> None:
        for number in [number for number in self._ahead if number <= self.number]:
            del self._ahead[number]
        while (event := self._ahead.pop(self.number + 1, None)) is not None:
            self._fold(event)
            self._proven = True

    def _fold(self, event: Event) -> None:
        try:
            header = fold_execution(self.header, event)
            run_id = getattr(event, "run_id", None)
            if run_id is not None:
                run = fold_task_run(self._runs.get(run_id), event, header)
                if run is not None and (run_id in self._runs or len(self._runs) < MOST_RUNS):
                    self._runs[run_id] = run
        except BaseMissing:
            # A task run beyond those that are followed; the header has counted the event.
            header = self.header if self.header is not None else {}
        self.header = header or None
        if event.cause.command is not None:
            self.causes[event.cause.command] += 1
        if isinstance(event, ExecutionClosed) or (isinstance(event, ExecutionEnded) and event.closed):
            self.is_closed = True
        elif isinstance(event, ExecutionRestarted):
            self.is_closed = False

    def _wake(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)
        self._changed.clear()


class _Replay:
    """One reading of a partition from where the index stands, for all executions that wait for it."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.start = sys.maxsize  # the earliest offset that one of them needs
        self.waiting: dict[str, LiveExecution] = {}


class LiveView:
    """Folds the events of watched executions.  Start it before use; `close` releases everything."""

    def __init__(self, log: Log, index: Index) -> None:
        self._log = log
        self._tail = LogTail(log, _TOPIC)
        self._index = index
        self._replaying: dict[int, _Replay] = {}  # by partition: those that wait for the next one
        self._live: dict[ExecutionKey, LiveExecution] = {}
        self._kept: OrderedDict[ExecutionKey, None] = OrderedDict()
        self._created: OrderedDict[ExecutionKey, bytes] = OrderedDict()
        self._created_bytes = 0
        self._sweeping: asyncio.Task[None] | None = None
        self._receivers: dict[ExecutionKey, Callable[[Record], None]] = {}

    async def start(self) -> None:
        """Open the reader of events; nothing is read before somebody watches."""
        await self._tail.start()
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep_on(), name="live view: sweep")

    async def close(self) -> None:
        """Stop folding.  A second call does nothing."""
        tasks = [live.settling for live in self._live.values() if live.settling is not None]
        tasks += [replay.task for replay in self._replaying.values()]
        if self._sweeping is not None:
            tasks.append(self._sweeping)
            self._sweeping = None
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._live.clear()
        self._kept.clear()
        self._receivers.clear()
        await self._tail.close()

    @property
    def size(self) -> int:
        """How many executions are being folded."""
        return len(self._live)

    @asynccontextmanager
    async def watch(self, key: ExecutionKey, *, new: bool = False) -> AsyncIterator[LiveExecution]:
        """Fold an execution as long as the block runs.

        `new` is for executions that the caller creates inside the block: nothing is looked for in the index.
        Otherwise the header is None when there is no such execution.  Raises LogUnavailable, IndexUnavailable.
        """
        live = await self._enter(key, new=new)
        try:
            yield live
        finally:
            self._leave(live)

    async def catch_up(self, live: LiveExecution) -> None:
        """Fold what was on the log before this call: what is followed may be a moment behind it."""
        positions = await self._log.positions(GROUP, _TOPIC)
        await self._read_base(live, insist=True)
        await self._fill(live, positions)

    def keep(self, live: LiveExecution) -> None:
        """Fold on after the last watcher left, until the index has caught up: the execution was commanded."""
        now = asyncio.get_running_loop().time()
        if not live.kept_since:
            live.kept_since = now
        live.kept_until = now + KEPT.total_seconds()
        self._kept[live.key] = None
        self._kept.move_to_end(live.key)
        while len(self._kept) > _MOST_KEPT:
            oldest, _ = self._kept.popitem(last=False)
            forgotten = self._live.get(oldest)
            if forgotten is not None:
                forgotten.kept_until = 0.0
                self._drop_if_idle(forgotten)

    def get(self, key: ExecutionKey) -> LiveExecution | None:
        """What is being folded already; None for anything else, and while nothing is known of it."""
        live = self._live.get(key)
        return live if live is not None and live.header is not None else None

    def remember_created(self, key: ExecutionKey, body: bytes) -> None:
        """Keep the answer of a creation, which holds until the index knows the execution."""
        self.forget_created(key)
        self._created[key] = body
        self._created_bytes += len(body)
        while len(self._created) > _MOST_CREATED or self._created_bytes > _MOST_CREATED_BYTES:
            _, dropped = self._created.popitem(last=False)
            self._created_bytes -= len(dropped)

    def created(self, key: ExecutionKey) -> bytes | None:
        """The Execution of a creation that this server has asked for lately."""
        return self._created.get(key)

    def forget_created(self, key: ExecutionKey) -> None:
        """The index knows it now."""
        self._created_bytes -= len(self._created.pop(key, b""))

    async def sweep(self, now: float) -> None:
        """Let go of what is kept no longer than the index needs; `now` is the event loop's time in seconds."""
        for key in list(self._kept):
            live = self._live.get(key)
            if live is None or live.watchers:
                continue
            if now < live.kept_until:
                continue
            if now - live.kept_since < KEPT_AT_MOST.total_seconds() and not await self._has_caught_up(live):
                live.kept_until = now + KEPT.total_seconds()
                continue
            self._kept.pop(key, None)
            live.kept_until = 0.0
            self._drop_if_idle(live)

    async def _enter(self, key: ExecutionKey, *, new: bool) -> LiveExecution:
        live = self._live.get(key)
        if live is None:
            live = LiveExecution(key)
            self._live[key] = live
            live.watchers = 1
            receive = self._receiver(live)
            self._receivers[key] = receive
            try:
                # 1. See all events from here on; 2. note how far the index has come; 3. only then read the base;
                # 4. fill what lies between it and 1 from the log.
                await self._tail.watch(str(key), receive)
                if not new:
                    positions = await self._log.positions(GROUP, _TOPIC)
                    await self._read_base(live)
                    await self._fill(live, positions)
            except BaseException:
                self._leave(live)
                raise
            live.settling = asyncio.get_running_loop().create_task(
                self._settle(live, patient=new), name=f"live view: {key}"
            )
        else:
            live.watchers += 1
            if live.header is None and not new:
                await self._read_base_or_leave(live)
        return live

    async def _read_base_or_leave(self, live: LiveExecution) -> None:
        try:
            await self._read_base(live)
        except BaseException:
            self._leave(live)
            raise

    def _receiver(self, live: LiveExecution) -> Callable[[Record], None]:
        def receive(record: Record) -> None:
            if record.value is None:
                live.purge()
                self.forget_created(live.key)
                return
            try:
                live.take(EVENT_DECODER.decode(record.value))
            except (*UNREADABLE, KeyError, TypeError) as error:
                logger.warning(
                    "an event cannot be shown", key=record.key, offset=record.offset, error=str(error)
                )

        return receive

    def _leave(self, live: LiveExecution) -> None:
        live.watchers -= 1
        self._drop_if_idle(live)

    def _drop_if_idle(self, live: LiveExecution) -> None:
        if live.watchers > 0 or (live.key in self._kept and live.kept_until):
            return
        if self._live.get(live.key) is live:
            del self._live[live.key]
            self._kept.pop(live.key, None)
        if live.settling is not None:
            live.settling.cancel()
        receive = self._receivers.pop(live.key, None)
        if receive is not None:
            self._tail.unwatch(str(live.key), receive)

    async def _settle(self, live: LiveExecution, *, patient: bool) -> None:
        """Read the base again until the state is proven to be that at the end of the log.

        The index may be behind the place where we began to listen; what lies between is seen only there.
        """
        step = len(_SETTLING_SECONDS) - 1 if patient else 0
        while True:
            await asyncio.sleep(_SETTLING_SECONDS[step])
            step = min(step + 1, len(_SETTLING_SECONDS) - 1)
            if live.is_settled:
                if live.is_closed:
                    return
                continue
            try:
                await self._read_base(live)
            except IndexFailed as error:
                logger.warning(
                    "the index cannot be read, trying again", key=str(live.key), error=error.message
                )

    async def _fill(self, live: LiveExecution, positions: Mapping[int, int]) -> None:
        """Fold what the index does not have yet, read once for all that wait for the same partition."""
        number = partition_of(str(live.key), self._log.partitions(_TOPIC))
        start = positions.get(number, 0)
        # With what is written and not marked as committed yet: somebody may have been told of it already.
        end = (await self._log.written_offsets([_TOPIC]))[Partition(_TOPIC, number)]
        if start >= end:
            live.prove()
            return
        if end - start > _MOST_FILLED:
            return  # the index is far behind; the base is read again until it has come
        replay = self._replaying.get(number)
        if replay is None:
            replay = self._replaying[number] = _Replay(asyncio.create_task(self._replay(number)))
        replay.start = min(replay.start, start)
        replay.waiting[str(live.key)] = live
        await asyncio.shield(replay.task)

    async def _replay(self, number: int) -> None:
        await asyncio.sleep(0)  # others of this moment join
        replay = self._replaying.pop(number)
        reader = await self._log.reader(_TOPIC, {number: replay.start})
        try:
            while not await reader.at_end():
                for record in await reader.poll(maximum=_FILLED_AT_ONCE, timeout=_FILL_PATIENCE):
                    live = replay.waiting.get(record.key)
                    receive = None if live is None else self._receivers.get(live.key)
                    if receive is not None:
                        receive(record)
        finally:
            await reader.close()

    async def _read_base(self, live: LiveExecution, *, insist: bool = False) -> None:
        """Take the index's documents; with `insist` also those that searches do not find yet."""
        tenant, execution_id = live.key
        found = await self._index.get("executions", tenant, execution_id)
        if found is None:
            return
        header = found.document
        if live.header is not None and header["lastEvent"] <= live.number:
            return
        runs = await self._read_runs(live.key)
        if insist and len(runs) < min(header["taskRunCount"]["total"], MOST_RUNS):
            await self._index.refresh()
            runs = await self._read_runs(live.key)
        if len(runs) < min(header["taskRunCount"]["total"], MOST_RUNS):
            return  # searches are behind the header; the next look will find them
        live.rebase(header, runs)

    async def _read_runs(self, key: ExecutionKey) -> dict[str, Document]:
        tenant, execution_id = key
        runs: dict[str, Document] = {}
        after: str | None = None
        while len(runs) < MOST_RUNS:
            page = await self._index.task_runs(tenant, execution_id, size=_RUNS_PER_PAGE, after=after)
            runs.update((found.id, found.document) for found in page.results)
            after = page.next
            if after is None:
                break
        # Searches may show an older state than the header's; single documents are always the last ones.
        moving = [
            (tenant, run_id) for run_id, run in runs.items() if run["state"]["current"] not in _TERMINAL
        ]
        for first in range(0, len(moving), _RUNS_PER_PAGE):
            portion = moving[first : first + _RUNS_PER_PAGE]
            current: dict[tuple[str, str], Found] = dict(await self._index.get_many("task_runs", portion))
            runs.update((found.id, found.document) for found in current.values())
        return runs

    async def _has_caught_up(self, live: LiveExecution) -> bool:
        tenant, execution_id = live.key
        try:
            found = await self._index.get("executions", tenant, execution_id)
        except IndexFailed:
            return False
        return found is not None and int(found.document["lastEvent"]) >= live.number

    async def _sweep_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(2)
            await self.sweep(loop.time())
