"""Faust's Kafka transport, with what the analytics app needs of it and Faust has no setting for.

It reads committed records only (executors write events in transactions; what was rolled back never happened), and
it tells how far a partition was fetched, so that one without news can be told from one with a backlog.
"""

from __future__ import annotations

import logging
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

_LOGGER = logging.getLogger("faust.transport")  # each start and stop is news for who asks for Faust's log


class CommittedThread(AIOKafkaConsumerThread):
    """The thread that talks to the broker."""

    logger = _LOGGER

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fetched: dict[Any, int] = {}  # partition -> offset of the last record that was fetched

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001  # Faust ties it to exactly-once; read at its start
        return consumer

    async def getmany(self, active_partitions: Any, timeout: float) -> Any:
        """Fetch records, and note how far they reach."""
        found = await super().getmany(active_partitions, timeout)
        for partition, records in found.items():
            if records:
                self.fetched[partition] = records[-1].offset
        return found


class CommittedConsumer(Consumer):
    """The consumer that Faust's app has."""

    logger = _LOGGER

    _thread: CommittedThread

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    def fetched(self, partition: Any) -> int | None:
        """The offset of the last record that was fetched since the partition was assigned; None: no record."""
        return self._thread.fetched.get(partition)

    def forget_fetched(self) -> None:
        """Partitions were assigned anew."""
        self._thread.fetched.clear()

    async def exhausted(self, partition: Any) -> bool:
        """Whether everything that is on the partition was fetched."""
        position = await self.position(partition)
        highwater: int | None = self.highwater(partition)  # None until the broker has answered once
        return position is not None and highwater is not None and position >= highwater


class CommittedTransport(Transport):
    """Makes such consumers."""

    Consumer = CommittedConsumer
