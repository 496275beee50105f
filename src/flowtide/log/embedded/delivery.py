"""How fresh records reach their readers: a bounded tail of each partition in memory, and cursors that walk
it.

Comes in: records that were committed.  Goes out: slices of them, without asking the store, to everyone near
the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from flowtide.log.embedded.store import StoredPartition, StoredTopic
from flowtide.log.port import Partition, Record

TAIL_LIMIT_RECORDS = 4096
TAIL_LIMIT_BYTES = 2 * 1024 * 1024
_TRIM_FROM_RECORDS = 256  # shorter tails are not worth looking at

ReadStored = Callable[[StoredTopic, int, int, int, int], Awaitable[list[Record]]]


class Tail:
    """One partition: what is stored, and its last records in memory if somebody reads it."""

    __slots__ = (
        "_bytes",
        "_records",
        "_start",
        "cursors",
        "end",
        "first",
        "id",
        "number",
        "partition",
        "topic",
    )

    def __init__(self, topic: StoredTopic, number: int, stored: StoredPartition) -> None:
        self.topic = topic
        self.number = number
        self.id = stored.id
        self.partition = Partition(topic.name, number)
        self.first = stored.first
        self.end = stored.end
        self.cursors: dict[
            Cursor, None
        ] = {}  # in the order in which they came, so that a run can be repeated
        self._records: list[Record] = []  # without a gap
        self._start = stored.end  # the offset of the first of them
        self._bytes = 0

    def publish(self, records: Sequence[Record]) -> None:
        """Take in the records that were just committed, in their order, and wake the readers."""
        self.end = records[-1].offset + 1
        if not self.cursors:
            self._records.clear()
            self._start = self.end
            self._bytes = 0
            return
        self._records += records
        self._bytes += sum(len(record.value) for record in records if record.value is not None)
        if len(self._records) > _TRIM_FROM_RECORDS or self._bytes > TAIL_LIMIT_BYTES:
            self._trim()
        for cursor in self.cursors:
            cursor.wake()

    def _trim(self) -> None:
        """Drop what every reader has passed; if that is not enough, also what slow readers will find
        stored.
        """
        cut = max(0, min(cursor.next for cursor in self.cursors) - self._start)
        while len(self._records) - cut > TAIL_LIMIT_RECORDS or (
            self._bytes - _size(self._records[:cut]) > TAIL_LIMIT_BYTES and len(self._records) - cut > 1
        ):
            cut += (len(self._records) - cut + 1) // 2
        self._bytes -= _size(self._records[:cut])
        del self._records[:cut]
        self._start += cut

    def fresh(self, start: int, maximum: int) -> list[Record] | None:
        """The records from `start` on; None when the store must be asked because they left the memory."""
        if start >= self.end:
            return []
        if start < self._start:
            return None
        index = start - self._start
        return self._records[index : index + maximum]

    @property
    def stored_below(self) -> int:
        """Offsets below this one are to be found in the store only."""
        return self._start


class Cursor:
    """A reader's place in one partition."""

    __slots__ = ("next", "paused", "tail", "wake")

    def __init__(self, tail: Tail, start: int, wake: Callable[[], None]) -> None:
        self.tail = tail
        self.next = start
        self.wake = wake
        self.paused = False
        tail.cursors[self] = None

    async def take(self, maximum: int, read_stored: ReadStored) -> list[Record]:
        """The next records, at most `maximum`; an empty list at the end."""
        records = self.tail.fresh(self.next, maximum)
        while records is None:
            stop = self.tail.stored_below
            records = await read_stored(self.tail.topic, self.tail.number, self.next, stop, maximum)
            if not records:
                # Everything in between was compacted or has expired.
                self.next = max(self.next, stop)
                records = self.tail.fresh(self.next, maximum)
        if records:
            self.next = records[-1].offset + 1
        return records

    def close(self) -> None:
        """Stop holding records in memory."""
        self.tail.cursors.pop(self, None)


class Waiter:
    """Lets one task sleep until something happens, without losing what happens before it sleeps."""

    __slots__ = ("_sleeping", "_woken")

    def __init__(self) -> None:
        self._woken = False
        self._sleeping: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """End the sleep, or the next one."""
        self._woken = True
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_result(None)

    def rearm(self) -> None:
        """Say that from here on everything new has to wake again."""
        self._woken = False

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken, at most so long; also a sleep of no length lets others run."""
        if self._woken or seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        self._sleeping = loop.create_future()
        alarm = loop.call_later(seconds, self.wake)
        try:
            await self._sleeping
        finally:
            alarm.cancel()
            self._sleeping = None


def _size(records: Sequence[Record]) -> int:
    return sum(len(record.value) for record in records if record.value is not None)
