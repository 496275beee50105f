"""Log lines of one execution as they come, for those that follow it: what the index has first, then the log's tail.

State: per follower, which lines were given already.  A line that was written before somebody began to listen, and
that the index did not have yet, is found when the index is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import blake2b

from flowtide.index.port import Index
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Log, Record
from flowtide.model.entries import LOG_DECODER, Level
from flowtide.model.records import UNREADABLE
from flowtide.services.log_tail import LogTail

_PAGE = 1_000
_MOST_WAITING = 10_000  # lines that wait for a slow client; older ones are found in the index
_REREAD_SECONDS = (1.0, 3.0)


class FollowedLines:
    """The lines of one execution for one follower, each once, as JSON."""

    def __init__(self, minimum_level: Level) -> None:
        self._minimum = minimum_level.severity
        self._seen: set[bytes] = set()
        self._lines: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)

    def offer(self, body: bytes, level: Level) -> None:
        """Add a line, unless it is there already, below the level, or nobody takes them."""
        if level.severity < self._minimum:
            return
        digest = blake2b(body, digest_size=12).digest()
        if digest not in self._seen and not self._lines.full():
            self._seen.add(digest)
            self._lines.put_nowait(body)

    async def next(self, timeout: timedelta) -> bytes | None:
        """The next line; None when there was none for so long."""
        if not self._lines.empty():
            return self._lines.get_nowait()
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._lines.get()
        except TimeoutError:
            return None


class LogLines:
    """Follows log lines.  Start it before use; `close` releases everything."""

    def __init__(self, log: Log, index: Index) -> None:
        self._tail = LogTail(log, "logs")
        self._index = index

    async def start(self) -> None:
        """Open the reader of log lines; nothing is read before somebody follows."""
        await self._tail.start()

    async def close(self) -> None:
        """Stop reading.  A second call does nothing."""
        await self._tail.close()

    @asynccontextmanager
    async def follow(self, key: ExecutionKey, minimum_level: Level) -> AsyncIterator[FollowedLines]:
        """Collect the lines of an execution as long as the block runs."""
        lines = FollowedLines(minimum_level)
        receive = _receiver(lines)
        await self._tail.watch(str(key), receive)
        try:
            await self.read_index(key, lines)
            rereading = asyncio.get_running_loop().create_task(self._read_again(key, lines))
            try:
                yield lines
            finally:
                rereading.cancel()
        finally:
            self._tail.unwatch(str(key), receive)

    async def read_index(self, key: ExecutionKey, lines: FollowedLines) -> None:
        """Offer all lines that the index has."""
        after: str | None = None
        while True:
            page = await self._index.logs(key.tenant, key.execution_id, size=_PAGE, after=after)
            for found in page.results:
                _offer(lines, found.body)
            after = page.next
            if after is None:
                return

    async def _read_again(self, key: ExecutionKey, lines: FollowedLines) -> None:
        for seconds in _REREAD_SECONDS:
            await asyncio.sleep(seconds)
            await self.read_index(key, lines)


def _receiver(lines: FollowedLines) -> Callable[[Record], None]:
    def receive(record: Record) -> None:
        if record.value is not None:
            _offer(lines, record.value)

    return receive


def _offer(lines: FollowedLines, body: bytes) -> None:
    try:
        lines.offer(body, LOG_DECODER.decode(body).level)
    except UNREADABLE:
        return  # what is no log line went to the dead letters on its way to the index
