"""What callers have just changed, on all webservers: changes in, and out goes what a read of theirs has to wait for.

On a log that several processes share, each change is told to the other webservers by a record of `own_writes`; one
look at the ends of that topic and of `resources`, shared by all requests that come meanwhile, makes what is saved and
who has written what known here (decision 0055).  State: the changes of each caller that may not be in the index yet.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from flowtide.errors import LogUnavailable
from flowtide.log.port import Log, Message, Reader, Record
from flowtide.model.own_writes import OWN_WRITE_DECODER, OwnWrite
from flowtide.model.records import UNREADABLE, encode
from flowtide.services.catalog import RESOURCES, Catalog

TOPIC = "own_writes"
ANYBODY = "*"
"""The caller of what needs no login, such as a webhook: everybody who names the execution sees it at once."""

PATIENCE = timedelta(seconds=2)  # how long a request waits for a look at the log
_AWAY_SECONDS = 5.0  # after a look that failed, requests do not wait for the next ones for so long
_POLL = timedelta(milliseconds=250)
_MAXIMUM = 5_000
_BACK_OFF_SECONDS = 0.5
_READ_AT_START = 2_000  # records before the end, for what callers changed before this server came
_MOST_CALLERS = 10_000
_MOST_MARKS = 100  # of one caller; older ones become one that may be about any execution
_MOST_ANONYMOUS = 5_000
_MOST_SETTLED = 1_000  # single executions of one caller

Caller = tuple[str, str]  # tenant, subject
logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What a caller changed and this server has not seen in some part of the index yet."""

    upto: int  # to be given to `settle` when it was seen
    executions: frozenset[str] | None  # which executions it is about; None: any


@dataclass(kw_only=True)
class _Mark:
    number: int
    executions: frozenset[str] | None
    foreign: bool


@dataclass(kw_only=True)
class _Caller:
    marks: list[_Mark] = field(default_factory=list)
    settled: dict[str, int] = field(default_factory=dict)
    overdue: dict[str, int] = field(default_factory=dict)


class OwnWrites:
    """The changes of all callers.  Start it before use; `close` ends it.

    `server` names this webserver among all; `seconds` is a clock that never goes back.
    """

    def __init__(self, log: Log, catalog: Catalog, *, server: str, seconds: Callable[[], float]) -> None:
        self._log = log
        self._catalog = catalog
        self._server = server
        self._seconds = seconds
        self._callers: OrderedDict[Caller, _Caller] = OrderedDict()
        self._anonymous: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._number = 0
        self._seen: dict[int, int] = {}
        self._waiters: list[tuple[Mapping[int, int], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._away_until = 0.0

    async def start(self) -> None:
        """Read what callers changed lately, and follow it.  Raises LogUnavailable."""
        if not self._log.is_shared or self._task is not None:
            return
        ends = await self._log.end_offsets(TOPIC)
        self._seen = {number: max(0, end - _READ_AT_START) for number, end in ends.items()}
        self._task = asyncio.create_task(self._follow(), name="own writes")

    async def close(self) -> None:
        """Follow no more.  A second call does nothing."""
        for task in (self._task, self._running, self._next):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, LogUnavailable):
                    await task
        self._task = self._running = self._next = None
        for _, waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()

    # What is known.

    async def fresh(self) -> bool:
        """Return when all that was saved, and every change that was told of, before this call is known here.

        False when the log does not say so in time.  Of a log of its own this process knows all at once.
        """
        if not self._log.is_shared:
            return True
        look = self._joined()
        if self._seconds() < self._away_until and not look.done():
            return False
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await asyncio.shield(look)
        except (TimeoutError, LogUnavailable) as error:
            if isinstance(error, TimeoutError):
                self._away_until = self._seconds() + _AWAY_SECONDS
            return False
        return True

    def pending(
        self, caller: Caller, part: str, execution_id: str = "", *, foreign: bool = False
    ) -> Pending | None:
        """What a caller changed and has not seen in this part, or in what it has of one execution.

        With `foreign` only what was changed through other webservers counts.
        """
        known = self._callers.get(caller)
        if known is None:
            return None
        since = max(known.settled.get(part, 0), known.settled.get(_of(part, execution_id), 0))
        marks = [mark for mark in known.marks if mark.number > since and (mark.foreign or not foreign)]
        if not marks:
            return None
        executions: set[str] | None = set()
        for mark in marks:
            if mark.executions is None or executions is None:
                executions = None
            else:
                executions |= mark.executions
        return Pending(
            upto=marks[-1].number, executions=None if executions is None else frozenset(executions)
        )

    def settle(self, caller: Caller, part: str, upto: int, execution_id: str = "") -> None:
        """Note that this part, or what it has of one execution, shows the changes of a caller up to one."""
        known = self._callers.get(caller)
        if known is None:
            return
        if len(known.settled) > _MOST_SETTLED:
            known.settled = {name: number for name, number in known.settled.items() if " " not in name}
        name = _of(part, execution_id)
        known.settled[name] = max(upto, known.settled.get(name, 0))

    def is_overdue(self, caller: Caller, part: str, upto: int) -> bool:
        """Whether somebody has waited in vain for these changes; nobody waits for them again."""
        known = self._callers.get(caller)
        return known is not None and known.overdue.get(part, 0) >= upto

    def note_overdue(self, caller: Caller, part: str, upto: int) -> None:
        """Note that somebody has waited in vain."""
        known = self._callers.get(caller)
        if known is not None:
            known.overdue[part] = upto

    def is_anonymous(self, tenant: str, execution_id: str) -> bool:
        """Whether an execution was started through another webserver by somebody who needed no login."""
        return (tenant, execution_id) in self._anonymous

    # What is told.

    async def note(self, caller: Caller, executions: Collection[str] | None) -> None:
        """Tell this and all other webservers that a caller changed something; None: of any execution.

        To be awaited before the change is answered.  A log that cannot be written now is no reason to refuse what
        was done.
        """
        named = None if executions is None or len(executions) > _MOST_MARKS else frozenset(executions)
        self._mark(caller, named, foreign=False)
        if not self._log.is_shared:
            return
        record = OwnWrite(server=self._server, executions=None if named is None else tuple(sorted(named)))
        try:
            await self._log.append([Message(topic=TOPIC, key="/".join(caller), value=encode(record))])
        except LogUnavailable as error:
            logger.warning("other webservers were not told of a change", reason=error.message)

    def _mark(self, caller: Caller, executions: frozenset[str] | None, *, foreign: bool) -> None:
        tenant, subject = caller
        if subject == ANYBODY:
            for each in executions or () if foreign else ():
                self._anonymous[tenant, each] = None
            while len(self._anonymous) > _MOST_ANONYMOUS:
                self._anonymous.popitem(last=False)
            return
        self._number += 1
        known = self._callers.setdefault(caller, _Caller())
        self._callers.move_to_end(caller)
        known.marks.append(_Mark(number=self._number, executions=executions, foreign=foreign))
        if len(known.marks) > _MOST_MARKS:
            half = known.marks[: _MOST_MARKS // 2]
            known.marks[: len(half)] = [
                _Mark(number=half[-1].number, executions=None, foreign=any(each.foreign for each in half))
            ]
        while len(self._callers) > _MOST_CALLERS:
            self._callers.popitem(last=False)

    # Looking at the log.

    def _joined(self) -> asyncio.Task[None]:
        """The look that sees what was there before now: one that has begun already may have missed it."""
        if self._next is None:
            self._next = asyncio.create_task(self._look(self._running), name="fresh")
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._next

    async def _look(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._next = self._next, None
        ends = await self._log.written_offsets((RESOURCES, TOPIC))
        by_topic: dict[str, dict[int, int]] = {RESOURCES: {}, TOPIC: {}}
        for partition, end in ends.items():
            by_topic[partition.topic][partition.number] = end
        await self._catalog.reach(by_topic[RESOURCES])
        await self._reach(by_topic[TOPIC])
        self._away_until = 0.0

    async def _reach(self, ends: Mapping[int, int]) -> None:
        if self._has(ends):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((ends, waiter))
        await waiter

    def _has(self, ends: Mapping[int, int]) -> bool:
        return all(self._seen.get(number, 0) >= end for number, end in ends.items())

    async def _follow(self) -> None:
        reader: Reader | None = None
        try:
            while True:
                try:
                    reader = reader or await self._log.reader(TOPIC, dict(self._seen))
                    for record in await reader.poll(maximum=_MAXIMUM, timeout=_POLL):
                        self._take_in(record)
                    for number, offset in reader.reached().items():
                        self._seen[number] = max(self._seen.get(number, 0), offset)
                    self._answer()
                except LogUnavailable as error:
                    logger.warning("what others write cannot be followed, trying again", reason=error.message)
                    with suppress(LogUnavailable):
                        if reader is not None:
                            await reader.close()
                    reader = None
                    await asyncio.sleep(_BACK_OFF_SECONDS)
        finally:
            if reader is not None:
                with suppress(LogUnavailable):
                    await reader.close()

    def _take_in(self, record: Record) -> None:
        self._seen[record.partition] = record.offset + 1
        tenant, slash, subject = record.key.partition("/")
        try:
            told = OWN_WRITE_DECODER.decode(record.value or b"")
        except UNREADABLE as error:
            logger.warning("a record of own writes cannot be read", key=record.key, reason=str(error))
            return
        if slash and told.server != self._server:
            executions = None if told.executions is None else frozenset(told.executions)
            self._mark((tenant, subject), executions, foreign=True)

    def _answer(self) -> None:
        waiters, self._waiters = self._waiters, []
        for ends, waiter in waiters:
            if waiter.done():
                continue
            if self._has(ends):
                waiter.set_result(None)
            else:
                self._waiters.append((ends, waiter))


def _of(part: str, execution_id: str) -> str:
    return f"{part} {execution_id}" if execution_id else part
