"""Reads a partition's state from its changelog: a compacted topic with the same partition numbers as the
input.

Comes in: partitions that were assigned.  Goes out: their state as of everything written before the call.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from flowtide.errors import LogUnavailable
from flowtide.log.kafka.cluster import Cluster
from flowtide.log.kafka.translation import translated
from flowtide.log.port import Partition

_BATCH_RECORDS = 10_000
_SILENCE_SECONDS = 60.0  # without any progress


class Changelog:
    """The changelog on `topic`; used by one thread."""

    def __init__(self, *, cluster: Cluster, topic: str, config: Mapping[str, Any]) -> None:
        self.name = cluster.name(topic)
        self._topic = topic
        self._cluster = cluster
        self._config = {**config, "enable.partition.eof": True, "isolation.level": "read_committed"}
        self._client: Consumer | None = None

    def read(self, partitions: Sequence[Partition]) -> dict[Partition, dict[str, bytes]]:
        """The state of these partitions of the input topic.  Blocks until all of it was read."""
        numbers = {partition.number: partition for partition in partitions}
        states: dict[Partition, dict[str, bytes]] = {partition: {} for partition in partitions}
        # Everything written counts, also what a transaction holds: its end may be on its way to this topic
        # although the positions are free already.  A transaction that never ends is ended by the broker in
        # time.
        ends = self._cluster.offsets(
            [Partition(self._topic, number) for number in numbers], "end", committed=False
        )
        waiting = {partition.number: end for partition, end in ends.items() if end > 0}
        if not waiting:
            return states
        try:
            if self._client is None:
                self._client = Consumer(dict(self._config))
            self._client.assign([TopicPartition(self.name, number, OFFSET_BEGINNING) for number in waiting])
            self._read(self._client, numbers, waiting, states)
            self._client.unassign()
        except KafkaException as error:
            raise translated(error, f"read the state from {self.name}") from error
        return states

    def close(self) -> None:
        """Release the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _read(
        self,
        client: Consumer,
        numbers: Mapping[int, Partition],
        waiting: dict[int, int],
        states: Mapping[Partition, dict[str, bytes]],
    ) -> None:
        deadline = time.monotonic() + _SILENCE_SECONDS
        while waiting:
            first = client.poll(0.5)
            if first is None:
                if time.monotonic() > deadline:
                    raise LogUnavailable(
                        f"the state on {self.name} did not come within a minute; trying again. If that lasts,"
                        " look for a transaction that does not end: `kafka-transactions.sh find-hanging`"
                    )
                continue
            deadline = time.monotonic() + _SILENCE_SECONDS
            for message in [first, *client.consume(_BATCH_RECORDS, 0)]:
                number = message.partition() or 0
                offset = message.offset() or 0
                failure = message.error()
                if failure is not None:
                    if failure.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's own code
                        raise LogUnavailable(f"cannot read the state from {self.name}: {failure.str()}")
                    # The end of what is committed, which may be short of what was written: then more will
                    # come.
                    if offset >= waiting.get(number, 0):
                        waiting.pop(number, None)
                    continue
                key = (message.key() or b"").decode()
                value = message.value()
                state = states[numbers[number]]
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value
                if offset + 1 >= waiting.get(number, 0):
                    waiting.pop(number, None)
