"""Follows single keys of one topic: records in, one callback per watched key out; no state but who watches what.

One reader is shared by everybody, and it reads only the partitions of keys that somebody watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from flowtide.errors import LogUnavailable
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log, Reader, Record, StartAt

logger = structlog.get_logger(__name__)

OnRecord = Callable[[Record], None]

_POLL = timedelta(milliseconds=100)  # also how long a new watcher may wait until it is assigned
_MAXIMUM = 2_000  # records per poll
_LINGER_SECONDS = 30.0  # a partition without watchers is read on for so long: the next watcher comes soon
_BACK_OFF_SECONDS = 0.5


class LogTail:
    """Tells watchers of each new record of their key, in the order of the log.

    Start it before use; `close` ends the reading.  Use it from the event loop that started it.
    """

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._watchers: dict[str, list[OnRecord]] = {}
        self._partitions: dict[int, int] = {}  # partition -> number of watchers
        self._assigned: set[int] = set()
        self._reader: Reader | None = None
        self._task: asyncio.Task[None] | None = None
        self._assigning = asyncio.Lock()
        self._busy = asyncio.Event()  # set while there is something to do for the reading task
        self._stale = False  # whether the reader reads partitions that nobody wants any more
        self._lingering: dict[int, asyncio.TimerHandle] = {}

    async def start(self) -> None:
        """Open the reader, of no partition yet.  A second call does nothing."""
        if self._task is None:
            self._reader = await self._log.reader(self._topic, {})
            self._task = asyncio.get_running_loop().create_task(self._read(), name=f"tail of {self._topic}")

    async def close(self) -> None:
        """Stop reading and forget all watchers.  A second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for handle in self._lingering.values():
            handle.cancel()
        self._lingering.clear()
        self._watchers.clear()
        self._partitions.clear()
        self._assigned.clear()
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    @property
    def watched_partitions(self) -> frozenset[int]:
        """The partitions that are being read."""
        return frozenset(self._assigned)

    @property
    def watched_keys(self) -> int:
        """How many keys have a watcher."""
        return len(self._watchers)

    async def watch(self, key: str, on_record: OnRecord) -> None:
        """Call `on_record` for each record of `key` that is written from now on.

        When this returns, everything that is appended afterwards will be seen.  Raises LogUnavailable.
        """
        if self._task is None:
            raise LogUnavailable(f"the tail of {self._topic} is closed")
        number = self._number(key)
        self._watchers.setdefault(key, []).append(on_record)
        self._partitions[number] = self._partitions.get(number, 0) + 1
        lingering = self._lingering.pop(number, None)
        if lingering is not None:
            lingering.cancel()
        if number not in self._assigned:
            try:
                await self._assign()
            except BaseException:
                self.unwatch(key, on_record)
                raise

    def unwatch(self, key: str, on_record: OnRecord) -> None:
        """Stop calling `on_record`.  A second call does nothing."""
        watchers = self._watchers.get(key, [])
        if on_record not in watchers:
            return
        watchers.remove(on_record)
        if not watchers:
            del self._watchers[key]
        number = self._number(key)
        self._partitions[number] -= 1
        if not self._partitions[number]:
            del self._partitions[number]
            if self._task is not None:
                self._lingering[number] = asyncio.get_running_loop().call_later(
                    _LINGER_SECONDS, self._drop, number
                )

    def _number(self, key: str) -> int:
        return partition_of(key, self._log.partitions(self._topic))

    def _drop(self, number: int) -> None:
        self._lingering.pop(number, None)
        if number not in self._partitions and self._task is not None:
            self._stale = True

    async def _assign(self) -> None:
        """Read what is watched and what lingers, new partitions from their end."""
        async with self._assigning:
            wanted = set(self._partitions) | set(self._lingering)
            if wanted != self._assigned and self._reader is not None:
                starts: dict[int, int | StartAt] = dict.fromkeys(sorted(wanted), "end")
                await self._reader.assign(starts)
                self._assigned = wanted
            if self._assigned:
                self._busy.set()
            else:
                self._busy.clear()

    async def _read(self) -> None:
        while True:
            await self._busy.wait()
            reader = self._reader
            if reader is None:
                return
            try:
                if self._stale:
                    self._stale = False
                    await self._assign()
                    continue
                records = await reader.poll(maximum=_MAXIMUM, timeout=_POLL)
            except LogUnavailable as error:
                # Whoever watches notices the gap by the numbers of events and reads its base again.
                logger.warning("the log cannot be read, trying again", topic=self._topic, error=error.message)
                await asyncio.sleep(_BACK_OFF_SECONDS)
                continue
            for record in records:
                watchers = self._watchers.get(record.key)
                if watchers:
                    for on_record in tuple(watchers):
                        self._tell(on_record, record)

    def _tell(self, on_record: OnRecord, record: Record) -> None:
        try:
            on_record(record)
        except Exception:
            # One record that a watcher cannot take must not end the reading for everybody.
            logger.exception(
                "a watcher failed", topic=self._topic, partition=record.partition, offset=record.offset
            )
