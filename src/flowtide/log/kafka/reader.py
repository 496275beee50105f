"""Reads partitions of a topic on Kafka without a group, committed records only.

Everything that talks to Kafka happens in the reader's own thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from confluent_kafka import Consumer as KafkaClient
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from flowtide.errors import LogUnavailable
from flowtide.log.kafka.cluster import Cluster
from flowtide.log.kafka.translation import record_of, translated
from flowtide.log.port import Partition, Reader, Record, StartAt

_Answer = TypeVar("_Answer")

_SLICE_SECONDS = 0.1  # how soon a waiting poll notices that it shall stop
_LOOK_SECONDS = 0.05  # how long `at_end` looks for what is on its way


class KafkaReader(Reader):
    """Built by `KafkaLog.reader`."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        topic: str,
        config: Mapping[str, Any],
        forget: Callable[[KafkaReader], None],
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._name = cluster.name(topic)
        self._config = {**config, "enable.partition.eof": True, "isolation.level": "read_committed"}
        self._forget = forget
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"flowtide-kafka-read-{topic}")
        self._client: KafkaClient | None = None
        self._next: dict[int, int] = {}  # partition -> the offset behind what has arrived
        self._arrived: list[Record] = []  # by a look for the end, or by a poll whose caller was cancelled
        self._failure: LogUnavailable | None = None
        self._polling: Future[list[Record]] | None = None
        self._stopping = False

    async def poll(self, *, maximum: int, timeout: timedelta) -> Sequence[Record]:
        """See `Reader.poll`."""
        self._require_open()
        polling = self._polling
        if polling is None:
            polling = self._polling = self._thread.submit(self._poll, maximum, timeout.total_seconds())
        # If the caller is cancelled, what this poll brings is kept for the next one.
        try:
            answer = (
                await asyncio.shield(asyncio.wrap_future(polling)) if not polling.done() else polling.result()
            )
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._polling = None  # or every poll from now on would meet this failure again
            raise
        self._polling = None
        return answer

    async def assign(self, starts: Mapping[int, int | StartAt]) -> None:
        """See `Reader.assign`."""
        self._require_open()
        count = self._cluster.partitions(self._topic)
        for number in starts:
            if not 0 <= number < count:
                raise ValueError(f"{self._topic} has {count} partitions, there is no number {number}")
        await self._in_thread(self._assign, dict(starts))

    async def at_end(self) -> bool:
        """See `Reader.at_end`."""
        self._require_open()
        return await self._in_thread(self._at_end)

    def reached(self) -> Mapping[int, int]:
        """See `Reader.reached`."""
        if self._polling is not None:
            return {}  # it may hold what nobody was given yet
        reached = dict(self._next)
        for record in self._arrived:
            reached[record.partition] = min(reached.get(record.partition, 0), record.offset)
        return reached

    async def close(self) -> None:
        """Stop reading.  A second call does nothing."""
        if self._stopping:
            return
        self._stopping = True
        self._forget(self)
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _require_open(self) -> None:
        if self._stopping:
            raise LogUnavailable(f"this reader of {self._topic} is closed")

    async def _in_thread(self, work: Callable[..., _Answer], *arguments: object) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # What follows runs in the reader's thread.

    def _assign(self, starts: Mapping[int, int | StartAt]) -> None:
        fresh = {number: start for number, start in starts.items() if number not in self._next}
        offsets = {number: start for number, start in fresh.items() if isinstance(start, int)}
        ends: tuple[StartAt, ...] = ("beginning", "end")
        for end in ends:
            partitions = [Partition(self._topic, number) for number, start in fresh.items() if start == end]
            found = self._cluster.offsets(partitions, end)
            offsets.update((partition.number, offset) for partition, offset in found.items())
        self._next = {number: self._next.get(number, offsets.get(number, 0)) for number in starts}
        self._arrived = [record for record in self._arrived if record.partition in self._next]
        try:
            if self._client is None:
                self._client = KafkaClient(dict(self._config))
            self._client.assign(
                [TopicPartition(self._name, number, offset) for number, offset in self._next.items()]
            )
        except KafkaException as error:
            raise translated(error, f"read {self._name}") from error

    def _poll(self, maximum: int, seconds: float) -> list[Record]:
        deadline = time.monotonic() + seconds
        while True:
            if self._arrived:
                records, self._arrived = self._arrived[:maximum], self._arrived[maximum:]
                return records
            before = dict(self._next)
            self._arrived += self._look(maximum, min(deadline - time.monotonic(), _SLICE_SECONDS))
            # Who waits for a place on the log hears of the mark at the end of a transaction, which is no record.
            moved = self._next != before
            if not self._arrived and (moved or self._stopping or time.monotonic() >= deadline):
                return []

    def _look(self, maximum: int, seconds: float) -> list[Record]:
        if self._client is None:
            return []
        try:
            first = self._client.poll(max(0.0, seconds))
            if first is None:
                return []
            messages = [first]
            if maximum > 1:
                messages += self._client.consume(maximum - 1, 0)
        except KafkaException as error:
            raise translated(error, f"read {self._name}") from error
        records = [record for message in messages if (record := self._taken(message)) is not None]
        failure, self._failure = self._failure, None
        if failure is not None and not records:
            raise failure
        return records

    def _taken(self, message: KafkaMessage) -> Record | None:
        number = message.partition() or 0
        offset = message.offset() or 0
        failure = message.error()
        if failure is not None:
            if failure.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's own code
                self._failure = LogUnavailable(f"cannot read {self._name}: Kafka says: {failure.str()}")
                return None
            if number in self._next:
                self._next[number] = max(self._next[number], offset)
            return None
        if number not in self._next or offset < self._next[number]:
            return None  # fetched before the assignment changed
        self._next[number] = offset + 1
        return record_of(message, self._topic)

    def _at_end(self) -> bool:
        # What is committed may not be visible yet: its transaction's end is on its way.  So ask for what is
        # written.
        partitions = [Partition(self._topic, number) for number in self._next]
        ends = self._cluster.offsets(partitions, "end", committed=False)
        deadline = time.monotonic() + _LOOK_SECONDS
        while not self._arrived:
            if all(self._next[partition.number] >= end for partition, end in ends.items()):
                return True
            if time.monotonic() >= deadline:
                return False
            self._arrived += self._look(1, deadline - time.monotonic())
        return False

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(KafkaException, RuntimeError):
                client.close()
