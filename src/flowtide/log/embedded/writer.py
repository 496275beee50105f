"""The one writer of the embedded log: everything that waits becomes one transaction, answered all at once.

Comes in: units of writing and errands, in order.  Goes out: a `Result` per transaction, handed to the event
loop. Owns the offsets that are given out next.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import msgspec

from flowtide.errors import LogError, LogUnavailable
from flowtide.log.embedded.delivery import Tail
from flowtide.log.embedded.store import Store, Write
from flowtide.log.port import Message, Record

_log = logging.getLogger(__name__)

EXPIRE_LIMIT_RECORDS = 1000  # deleted at a time, so that writers never wait long behind it


class Unit(msgspec.Struct, kw_only=True, eq=False):
    """What one call wants to have written: all of it, or nothing."""

    messages: Sequence[tuple[Tail, Message]]
    group: str = ""
    positions: Sequence[tuple[int, int]] = ()  # partition id, offset to read next
    changes: Sequence[tuple[int, str, bytes | None]] = ()  # partition id, key, value
    answer: asyncio.Future[None]


class Errand(msgspec.Struct, kw_only=True, eq=False):
    """Something else that only the writer may do, such as creating topics."""

    work: Callable[[], None]
    answer: asyncio.Future[None]


class Expiry(msgspec.Struct, kw_only=True, eq=False):
    """A partition whose old records may go."""

    tail: Tail
    below: int  # the offset from which records are still needed
    before_ms: int


class Stop(msgspec.Struct, kw_only=True, eq=False):
    """The end of the writer's thread."""


class Expired(msgspec.Struct, kw_only=True, eq=False):
    """What became of an expiry."""

    tail: Tail
    first: int  # the lowest offset that is left
    finished: bool  # False: there is more to delete, and it will be


class Result(msgspec.Struct, kw_only=True, eq=False):
    """What became of a transaction, for the event loop."""

    answers: Sequence[tuple[asyncio.Future[None], Exception | None]]
    written: Sequence[Unit] = ()
    records: Mapping[Tail, Sequence[Record]] = {}
    expired: Expired | None = None


class Writer:
    """Writes to a store what it is handed.  `publish` is called with each result, where `perform` was
    called.
    """

    def __init__(
        self, store: Store, *, clock: Callable[[], float], publish: Callable[[Result], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._publish = publish
        self._ends: dict[int, int] = {}
        self.records_written = 0

    def learn_ends(self, ends: Mapping[int, int]) -> None:
        """Take note of partitions and the offsets that they go on with; known ones stay as they are."""
        self._ends = {**ends, **self._ends}

    def submit(self, item: Unit | Errand | Expiry) -> None:
        """Do it at once."""
        self.perform([item])

    def perform(self, items: Sequence[Unit | Errand | Expiry]) -> list[Expiry]:
        """Do these in order, neighbouring units as one transaction; give back the expiries that have more to
        do.
        """
        more: list[Expiry] = []
        units: list[Unit] = []
        for item in items:
            if isinstance(item, Unit):
                units.append(item)
                continue
            if units:
                self._write(units)
                units = []
            if isinstance(item, Errand):
                self._run(item)
            elif self._expire(item):
                more.append(item)
        if units:
            self._write(units)
        return more

    def close(self) -> None:
        """Nothing is ever left to do."""

    def _write(self, units: list[Unit]) -> None:
        now_ms = int(self._clock() * 1000)
        ends: dict[int, int] = {}
        fresh: dict[Tail, list[Record]] = {}
        writes: list[Write] = []
        for unit in units:
            records: list[tuple[int, Record]] = []
            for tail, message in unit.messages:
                partition_id = tail.id
                offset = ends.get(partition_id)
                if offset is None:
                    offset = self._ends[partition_id]
                    fresh[tail] = []
                ends[partition_id] = offset + 1
                record = Record(
                    topic=message.topic,
                    partition=tail.number,
                    offset=offset,
                    key=message.key,
                    value=message.value,
                    timestamp_ms=now_ms,
                    headers=message.headers,
                )
                records.append((partition_id, record))
                fresh[tail].append(record)
            if records or unit.positions or unit.changes:
                writes.append(
                    Write(records=records, group=unit.group, positions=unit.positions, changes=unit.changes)
                )
        try:
            if writes:
                self._store.write(writes)
        except LogError as error:
            self._publish(Result(answers=[(unit.answer, error) for unit in units]))
        except Exception as error:
            # One unit holds what cannot be stored, such as a key that is not valid text: the others must not
            # suffer.
            if len(units) > 1:
                for unit in units:
                    self._write([unit])
            else:
                self._publish(Result(answers=[(units[0].answer, error)]))
        else:
            self._ends.update(ends)
            self.records_written += sum(map(len, fresh.values()))
            self._publish(
                Result(answers=[(unit.answer, None) for unit in units], written=units, records=fresh)
            )

    def _run(self, errand: Errand) -> None:
        failure: Exception | None = None
        try:
            errand.work()
        except Exception as error:
            failure = error
        self._publish(Result(answers=[(errand.answer, failure)]))

    def _expire(self, expiry: Expiry) -> bool:
        tail = expiry.tail
        try:
            count, first = self._store.expire(
                tail.topic, tail.number, expiry.below, expiry.before_ms, EXPIRE_LIMIT_RECORDS
            )
        except LogUnavailable:
            count, first = 0, tail.first  # the next round finds the same records
        finished = count < EXPIRE_LIMIT_RECORDS
        self._publish(Result(answers=(), expired=Expired(tail=tail, first=first, finished=finished)))
        return not finished


class ThreadedWriter(Writer):
    """A writer with a thread of its own, so that syncing to disk never stops the event loop."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        publish: Callable[[Result], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(store, clock=clock, publish=self._hand_to_loop)
        self._results: list[Result] = []
        self._loop = loop
        self._publish_on_loop = publish
        self._queue: SimpleQueue[Unit | Errand | Expiry | Stop] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="flowtide-log-writer", daemon=True)
        self._thread.start()

    def submit(self, item: Unit | Errand | Expiry) -> None:
        """Queue it."""
        self._queue.put(item)

    def close(self) -> None:
        """Do what was submitted, then end the thread.  Blocks."""
        self._queue.put(Stop())
        self._thread.join()

    def _work(self) -> None:
        running = True
        expiries: deque[Expiry] = deque()
        while running:
            items: list[Unit | Errand | Expiry] = []
            item = self._queue.get() if not expiries else self._next_or_none()
            while item is not None:
                if isinstance(item, Stop):
                    running = False
                elif isinstance(item, Expiry):
                    expiries.append(item)
                else:
                    items.append(item)
                item = self._next_or_none()
            # Old records are deleted while nobody wants to write, and else so that deleting keeps up with writing.
            if expiries and running and (not items or self.records_written >= EXPIRE_LIMIT_RECORDS // 2):
                self.records_written = 0
                items.append(expiries.popleft())
            try:
                expiries += self.perform(items)
            except Exception as error:
                # Whatever it is, nobody may wait for ever, and the others must be served.
                _log.exception("the log's writer failed")
                failure = LogUnavailable(f"the log's writer failed: {error}")
                answers = [(item.answer, failure) for item in items if not isinstance(item, Expiry)]
                self._hand_to_loop(Result(answers=answers))
            # Once per group of units: waking the loop costs a system call.
            results, self._results = self._results, []
            if results:
                with suppress(RuntimeError):  # the loop is gone, and with it everybody who waited
                    self._loop.call_soon_threadsafe(self._publish_all, results)

    def _next_or_none(self) -> Unit | Errand | Expiry | Stop | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _hand_to_loop(self, result: Result) -> None:
        self._results.append(result)

    def _publish_all(self, results: Sequence[Result]) -> None:
        for result in results:
            self._publish_on_loop(result)
