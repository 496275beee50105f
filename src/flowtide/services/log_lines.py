"""Log lines of one execution as they come, for those that follow it: from the index, then from the log.

State: per follower, from which offset of the log on the tail tells it, and a bounded queue of lines that wait for it.
What the index does not have yet, and what found the queue full, is read from the log; each line is given once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from flowtide.index.kinds import position_of
from flowtide.index.port import Index
from flowtide.log.keys import ExecutionKey
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log, Record
from flowtide.model.entries import LOG_DECODER, Level
from flowtide.model.records import UNREADABLE
from flowtide.services.indexer import GROUP
from flowtide.services.log_tail import LogTail

_TOPIC = "logs"
_PAGE = 1_000
_MOST_WAITING = 10_000  # lines that wait for a slow client; later ones are read from the log again
_MOST_READ = 100_000  # records of the log that are looked through for what the index does not have yet
_AT_ONCE = 2_000
_PATIENCE = timedelta(milliseconds=100)


class FollowedLines:
    """The lines of one execution for one follower, each once, as JSON."""

    def __init__(
        self,
        log: Log,
        index: Index,
        key: ExecutionKey,
        minimum_level: Level,
        *,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self._log = log
        self._index = index
        self._key = key
        self._number = partition_of(str(key), log.partitions(_TOPIC))
        self._minimum = minimum_level
        self._queue: asyncio.Queue[Record] = asyncio.Queue(most_waiting)
        self._from = 0  # the tail's lines before this offset are given otherwise
        self._missed: int | None = None  # the offset of the first line that found the queue full
        self._earlier: AsyncGenerator[bytes, None] | None = None

    def take(self, record: Record) -> None:
        """Keep a line of the tail for the follower; when too many wait, remember from where to read again."""
        if self._missed is not None or not self._is_wanted(record):
            return
        if self._queue.full():
            self._missed = record.offset
        else:
            self._queue.put_nowait(record)

    async def begin(self) -> None:
        """Begin with what is written already; the tail must be watched before.  Raises LogUnavailable."""
        positions = await self._log.positions(GROUP, _TOPIC)
        self._from = await self._end()
        start = max(min(positions.get(self._number, 0), self._from), self._from - _MOST_READ)
        self._earlier = self._written(start, self._from)

    async def next(self, timeout: timedelta) -> bytes | None:
        """The next line; None when there was none for so long.  Raises LogUnavailable, IndexUnavailable."""
        while True:
            if self._earlier is not None:
                async for line in self._earlier:
                    return line
                self._earlier = None
            if self._queue.empty() and self._missed is not None:
                start, self._missed = max(self._missed, self._from), None
                self._from = await self._end()
                self._earlier = self._of_log(start, self._from)
                continue
            try:
                async with asyncio.timeout(timeout.total_seconds() if self._queue.empty() else None):
                    record = await self._queue.get()
            except TimeoutError:
                return None
            if record.offset >= self._from and record.value is not None:
                return record.value

    async def _end(self) -> int:
        return (await self._log.end_offsets(_TOPIC))[self._number]

    async def _written(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """What the index has of before offset `start`, by time, then what the log has from there up to `end`."""
        tenant, execution_id = self._key
        await self._index.refresh()
        after: str | None = None
        while True:
            page = await self._index.logs(
                tenant, execution_id, minimum_level=self._minimum, size=_PAGE, after=after
            )
            for found in page.results:
                partition, offset = position_of(found.id)
                if offset < start or partition != self._number:
                    yield found.body
            after = page.next
            if after is None:
                break
        async for line in self._of_log(start, end):
            yield line

    async def _of_log(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        if start >= end:
            return
        reader = await self._log.reader(_TOPIC, {self._number: start})
        try:
            while True:
                is_last = await reader.at_end()
                for record in await reader.poll(maximum=_AT_ONCE, timeout=_PATIENCE):
                    if record.offset >= end:
                        return
                    if record.value is not None and self._is_wanted(record):
                        yield record.value
                if is_last:
                    return
        finally:
            await reader.close()

    def _is_wanted(self, record: Record) -> bool:
        if record.value is None or record.key != str(self._key):
            return False
        try:
            return LOG_DECODER.decode(record.value).level.severity >= self._minimum.severity
        except UNREADABLE:
            return False  # what is no log line went to the dead letters on its way to the index

    async def close(self) -> None:
        """Read nothing more.  A second call does nothing."""
        earlier, self._earlier = self._earlier, None
        if earlier is not None:
            await earlier.aclose()


class LogLines:
    """Follows log lines.  Start it before use; `close` releases everything."""

    def __init__(self, log: Log, index: Index) -> None:
        self._log = log
        self._tail = LogTail(log, _TOPIC)
        self._index = index

    async def start(self) -> None:
        """Open the reader of log lines; nothing is read before somebody follows."""
        await self._tail.start()

    async def close(self) -> None:
        """Stop reading.  A second call does nothing."""
        await self._tail.close()

    @asynccontextmanager
    async def follow(self, key: ExecutionKey, minimum_level: Level) -> AsyncIterator[FollowedLines]:
        """Give the lines of an execution as long as the block runs.  Raises LogUnavailable."""
        lines = FollowedLines(self._log, self._index, key, minimum_level)
        await self._tail.watch(str(key), lines.take)
        try:
            await lines.begin()
            yield lines
        finally:
            self._tail.unwatch(str(key), lines.take)
            await lines.close()
