"""What the adapter asks the cluster as an administrator: topics, ends of partitions, positions of groups.

Knows the names that Kafka sees (prefix and all); the rest of the adapter uses the plain ones.  Every method
blocks and may raise LogUnavailable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, but not marked as exported
    AdminClient,
    NewTopic,
    OffsetSpec,
)

from flowtide.errors import GroupBusy, LogUnavailable, UnknownTopic
from flowtide.log.kafka.translation import kafka_error, translated
from flowtide.log.port import Partition, StartAt
from flowtide.log.topics import Topic

REQUEST_TIMEOUT_SECONDS = 15.0
_TOPIC_TIMEOUT_SECONDS = 30.0  # until a topic that was just created has leaders
_MARKERS_AT_MOST = 32  # a gap this small may be markers of transactions, which are no records
_RECORD_OVERHEAD_BYTES = 64 * 1024  # room for key, headers and the batch around a message

_PAUSE_SECONDS = 0.05  # before asking again

_Answer = TypeVar("_Answer")

# What passes by itself within moments.
_MOVING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # created, but not known to every broker
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError._NOENT,  # noqa: SLF001  # librdkafka's own: it knows of no leader
    }
)

# Compacted topics are small and read from the start by whoever takes over: keep what is superseded for a
# short time.
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": str(60 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": str(24 * 60 * 60 * 1000),
}


class Cluster:
    """The administrator's view; `client` are librdkafka's properties."""

    def __init__(
        self, client: Mapping[str, str], *, topic_prefix: str, topic_names: Mapping[str, str] | None = None
    ) -> None:
        self.client = dict(client)
        self._topic_prefix = topic_prefix
        self._names = dict(topic_names or {})  # those that do not follow the prefix
        self._partitions: dict[str, int] = {}
        self._plain = {name: topic for topic, name in self._names.items()}
        self._asking: dict[str, Consumer] = {}  # by group, never a member of it: for its positions
        try:
            self._admin = AdminClient(dict(self.client))
        except KafkaException as error:
            raise translated(error, "use the client properties of Kafka") from error

    def name(self, topic: str) -> str:
        """The name that Kafka sees."""
        return self._names.get(topic) or self._topic_prefix + topic

    def plain(self, name: str) -> str:
        """The name without prefix."""
        plain = self._plain.get(name)
        if plain is None:
            plain = self._plain[name] = name.removeprefix(self._topic_prefix)
        return plain

    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic that was ensured.  Does not block.  Raises UnknownTopic."""
        try:
            return self._partitions[topic]
        except KeyError:
            raise UnknownTopic(topic) from None

    def everywhere(self) -> list[tuple[str, int]]:
        """Every partition of the topics that were ensured, with the names that Kafka sees."""
        return [
            (self.name(topic), number) for topic, count in self._partitions.items() for number in range(count)
        ]

    def connect(self) -> None:
        """See that a broker answers."""
        try:
            self._admin.list_topics(timeout=REQUEST_TIMEOUT_SECONDS)
        except KafkaException as error:
            servers = self.client["bootstrap.servers"]
            raise LogUnavailable(
                f"no Kafka broker answers at {servers}; see that one runs there and that the "
                "client properties fit"
            ) from error

    def ensure(
        self,
        topics: Sequence[Topic],
        *,
        partitions: int,
        replication_factor: int,
        overrides: Mapping[str, Mapping[str, str]],
        message_limit_bytes: int,
    ) -> None:
        """Create what is missing, wait until it can be used, and remember the numbers of partitions.

        Another server may create the same topics at the same time.
        """
        existing = self._existing()
        missing = [topic for topic in topics if self.name(topic.name) not in existing]
        if missing:
            new = [
                NewTopic(
                    self.name(topic.name),
                    num_partitions=partitions if topic.partitions == "default" else topic.partitions,
                    replication_factor=replication_factor,
                    config={
                        **_topic_properties(topic, message_limit_bytes),
                        **{name: str(value) for name, value in overrides.get(topic.name, {}).items()},
                    },
                )
                for topic in missing
            ]
            for name, future in self._admin.create_topics(new).items():
                try:
                    future.result(_TOPIC_TIMEOUT_SECONDS)
                except KafkaException as error:
                    found = kafka_error(error)
                    if found is None or found.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        raise translated(error, f"create the topic {name}") from error
        deadline = time.monotonic() + _TOPIC_TIMEOUT_SECONDS
        names = {self.name(topic.name) for topic in topics}
        while not names <= (existing := self._existing()).keys():
            if time.monotonic() > deadline:
                absent = ", ".join(sorted(names - existing.keys()))
                raise LogUnavailable(
                    f"Kafka has no leaders for: {absent}; see to its brokers, then start again"
                )
            time.sleep(_PAUSE_SECONDS)
        self._partitions.update((topic.name, existing[self.name(topic.name)]) for topic in topics)

    def missing(self, topics: Sequence[Topic]) -> list[str]:
        """The names of topics that are not there."""
        existing = self._existing()
        return [topic.name for topic in topics if self.name(topic.name) not in existing]

    def offsets(
        self, partitions: Collection[Partition], at: StartAt, *, committed: bool = True
    ) -> dict[Partition, int]:
        """The first or the next offset of partitions.

        `committed=False` gives the end of everything written, also by transactions that have not ended.
        """
        if not partitions:
            return {}
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        spec: Any = OffsetSpec
        wanted = spec.earliest() if at == "beginning" else spec.latest()
        asked = {TopicPartition(self.name(found.topic), found.number): wanted for found in partitions}

        def ask() -> dict[Partition, int]:
            futures = self._admin.list_offsets(
                asked, isolation_level=level, request_timeout=REQUEST_TIMEOUT_SECONDS
            )
            return {
                Partition(self.plain(found.topic), found.partition): future.result(
                    REQUEST_TIMEOUT_SECONDS
                ).offset
                for found, future in futures.items()
            }

        return self._patiently(ask, "ask for offsets")

    def positions(self, group: str, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The committed positions of a group, those without one left out.

        Waits until no transaction holds them.
        """
        if not partitions:
            return {}
        wanted = [TopicPartition(self.name(found.topic), found.number) for found in partitions]

        # Not the administrator's question for them: when a broker goes away meanwhile it stays without an answer
        # for ever, or ends the process (librdkafka 2.16: an assertion about the request that timed out).
        def ask() -> dict[Partition, int]:
            consumer = self._asking.get(group)
            if consumer is None:
                consumer = self._asking[group] = Consumer(
                    {
                        **{name: value for name, value in self.client.items() if name != "logger"},
                        "log_level": 0,  # what it cannot do, its caller is told
                        "group.id": group,
                        "isolation.level": "read_committed",
                        "enable.auto.commit": False,
                    }
                )
            try:
                answer = consumer.committed(wanted, timeout=REQUEST_TIMEOUT_SECONDS)
            except KafkaException:
                if self._asking.get(group) is consumer:
                    del self._asking[group]  # another one may do better; others may be asking with this one
                raise
            for found in answer:
                if found.error is not None:
                    raise KafkaException(found.error)
            return {
                Partition(self.plain(found.topic), found.partition): found.offset
                for found in answer
                if found.offset >= 0
            }

        return self._patiently(ask, f"ask for the positions of {group}")

    def lag(self, group: str, partitions: Collection[Partition]) -> dict[Partition, int]:
        """How many records of each partition the group has not committed.

        Markers of transactions take offsets too: small gaps are read and their records counted, in larger
        ones the markers are counted as well.
        """
        ends = self.offsets(partitions, "end")
        starts = self.offsets(partitions, "beginning")
        positions = self.positions(group, partitions)
        begins = {partition: max(starts[partition], positions.get(partition, 0)) for partition in partitions}
        gaps = {partition: ends[partition] - begin for partition, begin in begins.items()}
        doubtful = {
            partition: begins[partition] for partition, gap in gaps.items() if 0 < gap <= _MARKERS_AT_MOST
        }
        if doubtful:
            gaps.update(self._count(doubtful, ends))
        return {partition: max(0, gap) for partition, gap in gaps.items()}

    def seek(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Set the positions of a group without members.  Raises GroupBusy."""
        described = self._admin.describe_consumer_groups([group], request_timeout=REQUEST_TIMEOUT_SECONDS)[
            group
        ]
        try:
            members = len(described.result(REQUEST_TIMEOUT_SECONDS).members)
        except KafkaException as error:
            found = kafka_error(error)
            if found is None or found.code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise translated(error, f"describe the group {group}") from error
            members = 0
        if members:
            raise GroupBusy(group, members)
        consumer = Consumer({**self.client, "group.id": group, "enable.auto.commit": False})
        try:
            consumer.commit(
                offsets=[
                    TopicPartition(self.name(partition.topic), partition.number, offset)
                    for partition, offset in positions.items()
                ],
                asynchronous=False,
            )
        except KafkaException as error:
            found = kafka_error(error)
            if found is not None and found.code() == KafkaError.UNKNOWN_MEMBER_ID:
                raise GroupBusy(group, 1) from error
            raise translated(error, f"move the positions of {group}") from error
        finally:
            consumer.close()

    def _existing(self) -> dict[str, int]:
        """The topics with the numbers of their partitions, as far as all of these have a leader."""
        try:
            topics = self._admin.list_topics(timeout=REQUEST_TIMEOUT_SECONDS).topics
        except KafkaException as error:
            raise translated(error, "list the topics") from error
        return {
            name: len(topic.partitions)
            for name, topic in topics.items()
            if topic.error is None
            and topic.partitions
            and all(partition.leader >= 0 for partition in topic.partitions.values())
        }

    def _count(self, begins: Mapping[Partition, int], ends: Mapping[Partition, int]) -> dict[Partition, int]:
        consumer = Consumer(
            {
                **self.client,
                "group.id": "flowtide-count",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
            }
        )
        counts = dict.fromkeys(begins, 0)
        waiting = set(begins)
        deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
        try:
            consumer.assign(
                [
                    TopicPartition(self.name(partition.topic), partition.number, offset)
                    for partition, offset in begins.items()
                ]
            )
            while waiting and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is None:
                    continue
                partition = Partition(self.plain(message.topic() or ""), message.partition() or 0)
                offset = message.offset() or 0
                failure = message.error()
                if failure is None:
                    counts[partition] += offset < ends[partition]
                elif failure.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's own code
                    raise LogUnavailable(f"cannot count the lag: Kafka says: {failure.str()}")
                if offset + (failure is None) >= ends[partition]:
                    waiting.discard(partition)
        except KafkaException as error:
            raise translated(error, "count the lag") from error
        finally:
            consumer.close()
        return counts

    def _patiently(self, ask: Callable[[], _Answer], action: str) -> _Answer:
        """Ask again while leaders and coordinators are moving, or a transaction is ending."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
        while True:
            try:
                return ask()
            except KafkaException as error:
                found = kafka_error(error)
                if found is None or found.code() not in _MOVING or time.monotonic() > deadline:
                    raise translated(error, action) from error
            except TimeoutError as error:
                raise LogUnavailable(f"cannot {action}: Kafka did not answer in time") from error
            time.sleep(_PAUSE_SECONDS)
            with suppress(KafkaException):  # the next round tells
                self._admin.list_topics(timeout=REQUEST_TIMEOUT_SECONDS)  # who leads what now


def _topic_properties(topic: Topic, message_limit_bytes: int) -> dict[str, str]:
    properties = {"max.message.bytes": str(message_limit_bytes + _RECORD_OVERHEAD_BYTES)}
    if topic.cleanup == "compact":
        return properties | _COMPACTED
    assert topic.retention is not None
    return properties | {
        "cleanup.policy": "delete",
        "retention.ms": str(round(topic.retention.total_seconds() * 1000)),
    }
