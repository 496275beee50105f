"""A member of a group on Kafka: transactions that carry messages, state and positions together or not at all.

Everything that talks to Kafka happens in one thread per consumer; the methods of the port hand it calls.

The order on assignment is the correctness: (1) ask for the committed position, which waits until no
transaction of a dead predecessor holds it; (2) read the changelog up to everything that was written before
that; (3) only then consume.

A broker that stops while no other can lead its partitions can forget to end a transaction that it said was
committed: it hangs, on every partition that it touched, and nobody reads beyond it (seen with Kafka 4.3.1).
Only a transaction of the same producer ends it too.  So after all brokers were away a member starts again and
aborts, with a transaction that does nothing else, what its producers may have left.  That is consistent:
everything that such a transaction wrote is undone together, the positions too, and its records are done again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from confluent_kafka import Consumer as KafkaClient
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from flowtide.errors import Fenced, LogError, LogUnavailable
from flowtide.log.kafka.cluster import Cluster
from flowtide.log.kafka.restore import Changelog
from flowtide.log.kafka.translation import headers_of, is_passing, kafka_error, record_of, translated
from flowtide.log.port import Assigned, Consumer, Message, Partition, Polled, Record, StateChange

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")
_HELD = frozenset(
    {KafkaError.UNSTABLE_OFFSET_COMMIT, KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE}  # noqa: SLF001  # its own codes
)

Address = Callable[[Sequence[Message]], list[tuple[str, int, Message]]]

_SLICE_SECONDS = 0.1  # how soon a waiting poll notices that it shall stop or resume a partition
_TRANSACTION_SECONDS = 15.0  # longer than `transaction.timeout.ms`: the broker decides first
_COMMITTED_SECONDS = 30.0  # longer than a dead predecessor's transaction may block its positions
_PATIENCE_SECONDS = 5.0  # with positions that are held, before own transactions without an end are looked for
_GENERATION_SECONDS = 3.0  # how long a commit waits for the group's newer generation
_GENERATION_PAUSE_SECONDS = 0.02


class KafkaConsumer(Consumer):
    """Built by `KafkaLog.consumer`."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        address: Address,
        group: str,
        group_id: str,
        instance: str,
        topics: Sequence[str],
        consumer_config: Mapping[str, Any],
        producer_configs: Sequence[Mapping[str, Any]],
        changelog: Changelog | None,
        touched: MutableMapping[str, set[tuple[str, int]]],
        forget: Callable[[KafkaConsumer], None],
    ) -> None:
        """`touched`: by transactional id the partitions it wrote to, over all lives of this instance in the process."""
        self._cluster = cluster
        self._address = address
        self._group = group
        self._group_id = group_id
        self._instance = instance
        self._topics = tuple(topics)
        self._consumer_config = consumer_config
        self._producer_configs = producer_configs
        self._changelog = changelog
        self._touched = touched
        self._forget = forget
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"flowtide-kafka-{group}")
        self._client: KafkaClient | None = None
        self._producers: list[Producer] = []
        self._turn = 0
        self._member_id = ""
        self._coming: list[Partition] = []  # assigned by Kafka, not handed over yet
        self._going: list[Partition] = []  # revoked by Kafka, not reported yet
        self._owned: set[Partition] = set()
        self._paused: set[Partition] = set()  # as asked by the caller
        self._paused_at_client: set[Partition] = set()
        self._failure: BaseException | None = None  # to be raised by the next poll that brings nothing
        # Gathered for the caller, who gets it with the next answer.
        self._arrived: list[Record] = []
        self._assigned: list[Assigned] = []
        self._revoked: list[Partition] = []
        self._broken: LogError | None = None  # nothing works any more until the caller starts again
        self._brokers_away = False  # all of them, for a moment at least
        self._stopping = False
        self._polling: Future[Polled] | None = None

    async def open(self) -> None:
        """Join the group.  With state, first see that no transaction of an earlier life of this instance is
        left.
        """
        await self._in_thread(self._open)

    async def poll(self, *, maximum: int, timeout: timedelta) -> Polled:
        """See `Consumer.poll`."""
        self._require_working()
        polling = self._polling
        if polling is None:
            polling = self._thread.submit(self._poll, maximum, timeout.total_seconds())
            self._polling = polling
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

    async def commit(
        self,
        *,
        positions: Mapping[Partition, int],
        messages: Sequence[Message] = (),
        changes: Sequence[StateChange] = (),
    ) -> None:
        """See `Consumer.commit`."""
        self._require_working()
        for partition in positions:
            if partition not in self._owned:
                raise Fenced(self._group, self._instance, partition)
        if changes:
            if self._changelog is None:
                raise ValueError(f"{self._instance} was opened without a state topic")
            numbers = {partition.number for partition in positions}
            for change in changes:
                if change.partition not in numbers:
                    raise ValueError(f"partition {change.partition} changes but is not among the positions")
        addressed = self._address(messages)
        if addressed or changes:
            await self._in_thread(self._commit_transaction, positions, addressed, changes)
        elif positions:
            await self._in_thread(self._commit_positions, positions)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer.pause`."""
        self._paused.update(partition for partition in partitions if partition in self._owned)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer.resume`."""
        self._paused.difference_update(partitions)

    async def close(self) -> None:
        """Leave the group, so that others take over at once.  A second call does nothing."""
        if self._stopping:
            return
        self._stopping = True
        self._forget(self)
        try:
            await self._in_thread(self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _require_working(self) -> None:
        if self._stopping:
            raise LogUnavailable(f"{self._instance} of {self._group} is closed")
        if self._broken is not None:
            raise self._broken

    async def _in_thread(self, work: Callable[..., _Answer], *arguments: object) -> _Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    # What follows runs in the consumer's thread.

    def _open(self) -> None:
        try:
            # The producers first: when they are ready there is a broker, so that the client need not miss one.
            left = any(config["transactional.id"] in self._touched for config in self._producer_configs)
            if self._changelog is not None or left:
                self._open_producers()
            self._client = KafkaClient({**self._consumer_config, "error_cb": self._on_error})
            if left:
                self._settle()
            self._client.subscribe(
                [self._cluster.name(topic) for topic in self._topics],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
        except KafkaException as error:
            raise translated(error, f"join the group {self._group_id}") from error

    def _open_producers(self) -> None:
        for config in self._producer_configs:
            producer = Producer(dict(config))
            # Ends whatever a predecessor of the same name has left open, and fences it.
            producer.init_transactions(_COMMITTED_SECONDS)
            self._producers.append(producer)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # librdkafka's own code
            self._brokers_away = True

    def _settle(self, everywhere: Collection[tuple[str, int]] = ()) -> None:
        """End what the own producers may have left open: abort a transaction wherever they wrote to.

        `everywhere`: the partitions to visit when a former process may have left something.
        """
        client = self._opened()
        for config, producer in zip(self._producer_configs, self._producers, strict=True):
            name = config["transactional.id"]
            touched = everywhere or self._touched.get(name, set())
            if not touched:
                continue
            deadline = time.monotonic() + _COMMITTED_SECONDS
            while True:
                try:
                    producer.begin_transaction()
                    for topic, number in touched:
                        _produce(producer, topic, number, "-", None, None)
                    # The positions hang as well; these are never committed.
                    nothing = [TopicPartition(self._cluster.name(self._topics[0]), 0, 0)]
                    metadata = client.consumer_group_metadata()
                    producer.send_offsets_to_transaction(nothing, metadata, _TRANSACTION_SECONDS)
                    producer.flush(_TRANSACTION_SECONDS)  # or the abort would not reach these partitions
                    producer.abort_transaction(_TRANSACTION_SECONDS)
                    self._touched.pop(name, None)
                    break
                except KafkaException as error:
                    # Coordinators that are being loaded refuse it.
                    if time.monotonic() > deadline:
                        raise self._judged(error, "end what an interrupted transaction left") from error
                    self._abort(producer)
                    if self._broken is not None:
                        raise self._broken from error
                time.sleep(_SLICE_SECONDS)

    def _on_assign(self, client: KafkaClient, assigned: list[TopicPartition]) -> None:
        try:
            client.incremental_assign(assigned)
            client.pause(assigned)  # until the state is there
            self._coming += self._plain(assigned)
        except BaseException as error:
            self._failure = error

    def _on_revoke(self, client: KafkaClient, revoked: list[TopicPartition]) -> None:
        try:
            for partition in self._plain(revoked):
                if partition in self._coming:
                    self._coming.remove(partition)  # nobody was told that it came
                else:
                    self._going.append(partition)
            client.incremental_unassign(revoked)
        except BaseException as error:
            self._failure = error

    def _plain(self, partitions: Sequence[TopicPartition]) -> list[Partition]:
        return [Partition(self._cluster.plain(found.topic), found.partition) for found in partitions]

    def _named(self, partitions: Sequence[Partition]) -> list[TopicPartition]:
        return [TopicPartition(self._cluster.name(found.topic), found.number) for found in partitions]

    def _poll(self, maximum: int, seconds: float) -> Polled:
        client = self._opened()
        deadline = time.monotonic() + seconds
        try:
            while True:
                if self._brokers_away and (self._producers or self._owned):
                    self._broken = LogUnavailable(
                        f"no broker was there for a while; {self._instance} starts again"
                    )
                    raise self._broken
                self._apply_pauses(client)
                wait = (
                    0.0 if self._coming or self._arrived else min(deadline - time.monotonic(), _SLICE_SECONDS)
                )
                first = client.poll(max(0.0, wait))
                if first is not None:
                    self._take_in(first)
                    if maximum > 1:
                        # What has arrived already, without waiting for more.
                        for message in client.consume(maximum - 1, 0):
                            self._take_in(message)
                # Whatever fails from here on, what was gathered so far is for the next poll.
                self._give_back()
                if self._coming:
                    self._take_over(client)
                if self._arrived or self._assigned or self._revoked:
                    polled = Polled(
                        records=self._arrived[:maximum], assigned=self._assigned, revoked=self._revoked
                    )
                    self._arrived = self._arrived[maximum:]
                    self._assigned, self._revoked = [], []
                    return polled
                self._raise_failure()
                if self._stopping or time.monotonic() >= deadline:
                    return Polled()
        except KafkaException as error:
            raise translated(error, f"read as {self._instance}") from error

    def _apply_pauses(self, client: KafkaClient) -> None:
        if self._paused == self._paused_at_client:
            return
        wanted = set(self._paused)
        pause = sorted(wanted - self._paused_at_client)
        resume = sorted((self._paused_at_client - wanted) & self._owned)
        if pause:
            client.pause(self._named(pause))
        if resume:
            client.resume(self._named(resume))
        self._paused_at_client = wanted

    def _give_back(self) -> None:
        if not self._going:
            return
        going, self._going = set(self._going), []
        self._paused -= going
        self._paused_at_client -= going
        untold = {assigned.partition for assigned in self._assigned}
        self._revoked += sorted((self._owned & going) - untold)
        self._owned -= going
        # What was gathered of them and not handed over is for their new owners.
        self._arrived = [
            record for record in self._arrived if Partition(record.topic, record.partition) not in going
        ]
        self._assigned = [assigned for assigned in self._assigned if assigned.partition not in going]

    def _take_over(self, client: KafkaClient) -> None:
        coming = sorted(self._coming)
        states: Mapping[Partition, Mapping[str, bytes]] = {}
        if self._changelog is not None:
            # (1) No transaction of a predecessor holds the positions any more ...
            self._wait_for_positions(client, coming)
            # (2) ... so the changelog holds all that was decided before them ...
            states = self._changelog.read(coming)
        # (3) ... and only now records may come.
        client.resume(self._named(coming))
        self._coming = []
        self._owned.update(coming)
        self._member_id = client.memberid()
        self._assigned += [
            Assigned(partition=partition, state=states.get(partition, {})) for partition in coming
        ]

    def _wait_for_positions(self, client: KafkaClient, partitions: Sequence[Partition]) -> None:
        deadline = time.monotonic() + _COMMITTED_SECONDS
        settled = False
        while True:
            try:
                found = client.committed(self._named(partitions), timeout=_PATIENCE_SECONDS)
                if all(position.error is None for position in found):
                    return
            except KafkaException as error:
                failure = kafka_error(error)
                held = failure is not None and failure.code() in _HELD
                if not held and time.monotonic() > deadline:
                    raise translated(error, f"ask for the positions of {self._group_id}") from error
                if held and not settled:
                    # A former process of this name may have left them.  Nobody else uses these producers.
                    _log.warning("the positions of %s are held; ending what may be left open", self._group_id)
                    self._settle(self._cluster.everywhere())
                    settled = True
            if time.monotonic() > deadline:
                raise LogUnavailable(
                    f"the positions of {self._group_id} are held by a transaction that does not end; if that lasts,"
                    " find it with `kafka-transactions.sh find-hanging` and end it with its `abort`"
                )
            time.sleep(_GENERATION_PAUSE_SECONDS)

    def _take_in(self, message: KafkaMessage) -> None:
        failure = message.error()
        if failure is None:
            self._arrived.append(record_of(message, self._cluster.plain(message.topic() or "")))
        elif failure.fatal():
            self._broken = translated(
                KafkaException(failure), "go on", group=self._group, instance=self._instance
            )
            self._failure = self._broken
        elif failure.code() not in (KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED):  # noqa: SLF001  # its own codes
            self._failure = LogUnavailable(f"cannot read as {self._instance}: Kafka says: {failure.str()}")

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is None:
            return
        if isinstance(failure, LogError):
            raise failure
        raise LogUnavailable(f"{self._instance} could not follow its group: {failure}") from failure

    def _commit_positions(self, positions: Mapping[Partition, int]) -> None:
        client = self._opened()
        offsets = self._offsets(positions)
        deadline = time.monotonic() + _GENERATION_SECONDS
        while True:
            self._require_member(client)
            try:
                found = client.commit(offsets=offsets, asynchronous=False)
                refused = next((one.error for one in found or () if one.error is not None), None)
                if refused is None:
                    return
                raise KafkaException(refused)
            except KafkaException as error:
                if not is_passing(error) or time.monotonic() > deadline:
                    raise self._judged(error, "commit positions") from error
            time.sleep(_GENERATION_PAUSE_SECONDS)

    def _commit_transaction(
        self,
        positions: Mapping[Partition, int],
        messages: Sequence[tuple[str, int, Message]],
        changes: Sequence[StateChange],
    ) -> None:
        client = self._opened()
        try:
            if not self._producers:
                self._open_producers()
        except KafkaException as error:
            raise self._judged(error, "start transactions") from error
        # Two producers take turns: while the broker ends one's transaction, the other begins the next.
        producer = self._producers[self._turn]
        touched = self._touched.setdefault(self._producer_configs[self._turn]["transactional.id"], set())
        touched.update((topic, number) for topic, number, _ in messages)
        if self._changelog is not None:
            touched.update((self._changelog.name, change.partition) for change in changes)
        self._turn = (self._turn + 1) % len(self._producers)
        offsets = self._offsets(positions)
        deadline = time.monotonic() + _GENERATION_SECONDS
        while True:
            try:
                producer.begin_transaction()
                for topic, number, message in messages:
                    _produce(producer, topic, number, message.key, message.value, message.headers)
                if changes and self._changelog is not None:
                    state_topic = self._changelog.name
                    for change in changes:
                        _produce(producer, state_topic, change.partition, change.key, change.value, None)
                if offsets:
                    # Always with the group's metadata: the broker refuses it from whoever lost its place.
                    # First the metadata, then the question whether we are still the member that was given the
                    # partitions: a member that was thrown out has metadata which the broker does not check.
                    metadata = client.consumer_group_metadata()
                    self._require_member(client)
                    producer.send_offsets_to_transaction(offsets, metadata, _TRANSACTION_SECONDS)
                self._end(producer)
                return
            except Fenced:
                self._abort(producer)
                raise
            except KafkaException as error:
                self._abort(producer)
                if not is_passing(error) or time.monotonic() > deadline:
                    raise self._judged(error, "commit") from error
            time.sleep(_GENERATION_PAUSE_SECONDS)

    def _end(self, producer: Producer) -> None:
        deadline = time.monotonic() + 2 * _TRANSACTION_SECONDS
        while True:
            try:
                producer.commit_transaction(_TRANSACTION_SECONDS)
                return
            except KafkaException as error:
                found = kafka_error(error)
                # "Retriable" means that the outcome is open: asking again gives the same answer, not a second
                # commit.
                if found is None or not found.retriable() or time.monotonic() > deadline:
                    if found is None or not found.txn_requires_abort():
                        self._broken = self._judged(error, "learn whether the commit went through")
                    raise

    def _abort(self, producer: Producer) -> None:
        try:
            producer.abort_transaction(_TRANSACTION_SECONDS)
        except KafkaException as error:
            self._broken = self._broken or self._judged(error, "abort")

    def _judged(self, error: KafkaException, action: str) -> LogError:
        judged = translated(
            error, f"{action} as {self._instance}", group=self._group, instance=self._instance
        )
        judged.__cause__ = error
        if isinstance(judged, Fenced):
            self._broken = judged
        return judged

    def _require_member(self, client: KafkaClient) -> None:
        member_id = client.memberid()
        if not member_id or member_id != self._member_id:
            self._broken = Fenced(self._group, self._instance)
            raise self._broken

    def _offsets(self, positions: Mapping[Partition, int]) -> list[TopicPartition]:
        return [
            TopicPartition(self._cluster.name(partition.topic), partition.number, offset)
            for partition, offset in positions.items()
        ]

    def _opened(self) -> KafkaClient:
        if self._client is None:
            raise LogUnavailable(f"{self._instance} of {self._group} is closed")
        return self._client

    def _close(self) -> None:
        client, self._client = self._client, None
        self._producers.clear()
        if self._changelog is not None:
            self._changelog.close()
        if client is not None:
            with suppress(KafkaException, RuntimeError):  # it leaves by its session's end then
                client.close()


def _produce(
    producer: Producer,
    topic: str,
    partition: int,
    key: str,
    value: bytes | None,
    headers: Mapping[str, str] | None,
) -> None:
    while True:
        try:
            if headers is None:
                producer.produce(topic, value, key, partition)
            else:
                producer.produce(topic, value, key, partition, headers=headers_of(headers))
            return
        except BufferError:
            producer.poll(_GENERATION_PAUSE_SECONDS)
