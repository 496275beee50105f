"""The log on Apache Kafka: builds consumers, readers and the appender, with the settings that were measured.

Held to `flowtide.testing.contracts.log` like the embedded adapter; the settings and the order on assignment
are explained in the architecture, chapter 5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from flowtide.errors import LogUnavailable, MessageTooLarge
from flowtide.log.kafka.appender import Appender
from flowtide.log.kafka.cluster import Cluster
from flowtide.log.kafka.consumer import KafkaConsumer
from flowtide.log.kafka.properties import client_properties
from flowtide.log.kafka.reader import KafkaReader
from flowtide.log.kafka.restore import Changelog
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log, Message, Partition, StartAt, Traffic
from flowtide.log.topics import Topic

DEFAULT_MESSAGE_LIMIT_BYTES = 10 * 1024 * 1024
_PRODUCERS = 2  # per consumer, taking turns
_OVERHEAD_BYTES = 64 * 1024  # of a message beside its value

# What transactions and fencing rest on is not for configuration.
_FIXED_CONSUMER = {
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
}
_CONSUMER = {
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 5,
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 32_768,
}
_PRODUCER = {
    "compression.type": "lz4",
    "retry.backoff.ms": 1,
    "retry.backoff.max.ms": 20,
    "partitioner": "murmur2_random",
}


class KafkaLog(Log):
    """The log on a Kafka cluster.

    `properties` are the client's, by Java's or librdkafka's names (KAFKA-1, -2); `partitions` and
    `replication_factor` are for topics that are created here; `topic_properties` by topic name (KAFKA-5),
    `consumer_properties` and `producer_properties` as KAFKA-6 and KAFKA-7.  Group names get `consumer_prefix`
    and an underscore in front, topic names `topic_prefix` as it is, save those that `topic_names` names whole.
    """

    is_shared = True

    def __init__(
        self,
        properties: Mapping[str, str],
        *,
        topic_prefix: str = "flowtide_",
        consumer_prefix: str = "flowtide",
        partitions: int = 16,
        replication_factor: int = 1,
        topic_properties: Mapping[str, Mapping[str, str]] | None = None,
        topic_names: Mapping[str, str] | None = None,
        consumer_properties: Mapping[str, str] | None = None,
        producer_properties: Mapping[str, str] | None = None,
        message_limit_bytes: int = DEFAULT_MESSAGE_LIMIT_BYTES,
    ) -> None:
        if partitions < 1:
            raise ValueError(f"a topic needs at least one partition, not {partitions}")
        client = client_properties(properties)
        servers = {"bootstrap.servers": client["bootstrap.servers"]}
        self._client: dict[str, Any] = {"logger": logging.getLogger("flowtide.log.kafka.client"), **client}
        self._consumer_config: dict[str, Any] = {
            **_CONSUMER,
            **self._client,
            **client_properties({**servers, **(consumer_properties or {})}),
            **_FIXED_CONSUMER,
        }
        self._producer_config: dict[str, Any] = {
            **_PRODUCER,
            **self._client,
            **client_properties({**servers, **(producer_properties or {})}),
            "message.max.bytes": message_limit_bytes + _OVERHEAD_BYTES,
            "enable.idempotence": True,
        }
        self.traffic = Traffic()
        self._topic_prefix = topic_prefix
        self._topic_names = dict(topic_names or {})
        self._consumer_prefix = consumer_prefix
        self._default_partitions = partitions
        self._replication_factor = replication_factor
        self._topic_properties = dict(topic_properties or {})
        self._message_limit_bytes = message_limit_bytes
        self._cluster: Cluster | None = None
        self._appender: Appender | None = None
        self._open: set[KafkaConsumer | KafkaReader] = set()
        self._touched: dict[str, set[tuple[str, int]]] = {}  # see KafkaConsumer

    async def start(self) -> None:
        """See that a broker answers.  Raises LogUnavailable with what to do."""
        if self._cluster is not None:
            return
        cluster = Cluster(self._client, topic_prefix=self._topic_prefix, topic_names=self._topic_names)
        await asyncio.to_thread(cluster.connect)
        # One millisecond of waiting lets small appends of many requests travel together.
        self._appender = Appender({"linger.ms": 1, "message.timeout.ms": 30_000, **self._producer_config})
        self._appender.start()
        self._cluster = cluster

    async def close(self) -> None:
        """Leave all groups, deliver what is on its way."""
        if self._cluster is None:
            return
        self._cluster = None
        await asyncio.gather(*(opened.close() for opened in list(self._open)))
        if self._appender is not None:
            await asyncio.to_thread(self._appender.close)

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Create the topics that are missing; those that exist stay as they are."""
        await asyncio.to_thread(
            self._started().ensure,
            topics,
            partitions=self._default_partitions,
            replication_factor=self._replication_factor,
            overrides=self._topic_properties,
            message_limit_bytes=self._message_limit_bytes,
        )

    async def missing_topics(self, topics: Sequence[Topic]) -> list[str]:
        """The names of those that `ensure_topics` would create."""
        return await asyncio.to_thread(self._started().missing, topics)

    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic.  Raises UnknownTopic."""
        return self._started().partitions(topic)

    async def append(self, messages: Sequence[Message]) -> None:
        """Write messages durably, in order per partition, and return when they are."""
        addressed = self._addressed(messages)
        assert self._appender is not None
        await self._appender.append(addressed)

    async def consumer(
        self, *, group: str, topics: Sequence[str], instance: str, state_topic: str | None = None
    ) -> KafkaConsumer:
        """Join `group` as `instance`; the transactions of one of that name that is still there are fenced."""
        cluster = self._started()
        for topic in topics:
            cluster.partitions(topic)
        changelog = None
        group_id = self._group_id(group)
        if state_topic is not None:
            if len(topics) != 1:
                raise ValueError(f"a consumer with state has one topic, not {len(topics)}")
            if cluster.partitions(state_topic) != cluster.partitions(topics[0]):
                raise LogUnavailable(
                    f"{state_topic} has {cluster.partitions(state_topic)} partitions, {topics[0]} has "
                    f"{cluster.partitions(topics[0])}; state needs the same number, create one of them anew"
                )
            changelog = Changelog(
                cluster=cluster,
                topic=state_topic,
                config={**self._consumer_config, "group.id": f"{group_id}-restore"},
            )
        consumer = KafkaConsumer(
            cluster=cluster,
            address=self._addressed,
            group=group,
            group_id=group_id,
            instance=instance,
            topics=topics,
            consumer_config={**self._consumer_config, "group.id": group_id, "client.id": instance},
            producer_configs=[
                {
                    **self._producer_config,
                    "linger.ms": 0,
                    "transaction.timeout.ms": 10_000,
                    "transactional.id": f"{self._topic_prefix}{group_id}-{instance}-{turn}",
                    "client.id": instance,
                }
                for turn in range(_PRODUCERS)
            ],
            changelog=changelog,
            touched=self._touched,
            forget=self._open.discard,
        )
        self._open.add(consumer)
        try:
            await consumer.open()
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def reader(self, topic: str, starts: Mapping[int, int | StartAt] | StartAt) -> KafkaReader:
        """Read a topic without a group: all partitions from one end, or the partitions that are named."""
        cluster = self._started()
        if isinstance(starts, str):
            starts = dict.fromkeys(range(cluster.partitions(topic)), starts)
        reader = KafkaReader(
            cluster=cluster,
            topic=topic,
            config={**self._consumer_config, "group.id": self._group_id("reader")},
            forget=self._open.discard,
        )
        self._open.add(reader)
        try:
            await reader.assign(starts)
        except BaseException:
            await reader.close()
            raise
        return reader

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """For each partition the offset that the next committed record will have at least."""
        cluster = self._started()
        found = await asyncio.to_thread(cluster.offsets, self._partitions_of([topic]), "end")
        return {partition.number: offset for partition, offset in sorted(found.items())}

    async def written_offsets(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The ends of topics, with what transactions wrote whose end is still on its way."""
        cluster = self._started()
        partitions = self._partitions_of(topics)
        return await asyncio.to_thread(cluster.offsets, partitions, "end", committed=False)

    async def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """The group's committed positions; partitions without one are left out."""
        cluster = self._started()
        found = await asyncio.to_thread(
            cluster.positions, self._group_id(group), self._partitions_of([topic])
        )
        return {partition.number: offset for partition, offset in sorted(found.items())}

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """How many records of each partition the group has not committed; larger numbers count markers
        too.
        """
        cluster = self._started()
        return await asyncio.to_thread(cluster.lag, self._group_id(group), self._partitions_of(topics))

    async def seek_group(self, group: str, topics: Sequence[str], to: StartAt) -> None:
        """Move the positions of a group without members.  Raises GroupBusy when it has members."""
        cluster = self._started()
        positions = await asyncio.to_thread(cluster.offsets, self._partitions_of(topics), to)
        await asyncio.to_thread(cluster.seek, self._group_id(group), positions)

    def _started(self) -> Cluster:
        if self._cluster is None:
            raise LogUnavailable("the log is closed")
        return self._cluster

    def _group_id(self, group: str) -> str:
        return f"{self._consumer_prefix}_{group}" if self._consumer_prefix else group

    def _partitions_of(self, topics: Sequence[str]) -> list[Partition]:
        cluster = self._started()
        return [Partition(topic, number) for topic in topics for number in range(cluster.partitions(topic))]

    def _addressed(self, messages: Sequence[Message]) -> list[tuple[str, int, Message]]:
        cluster = self._started()
        limit_bytes = self._message_limit_bytes
        produced = self.traffic.produced
        addressed: list[tuple[str, int, Message]] = []
        for message in messages:
            if message.value is not None and len(message.value) > limit_bytes:
                self.traffic.refuse(message.topic)
                raise MessageTooLarge(message.topic, message.key, len(message.value), limit_bytes)
            count = cluster.partitions(message.topic)
            number = message.partition
            if number is None:
                number = partition_of(message.key, count)
            elif not 0 <= number < count:
                raise ValueError(f"{message.topic} has {count} partitions, there is no number {number}")
            addressed.append((cluster.name(message.topic), number, message))
            produced[message.topic] = produced.get(message.topic, 0) + 1
        return addressed
