"""The embedded log: topics, groups and state in one process, on one SQLite file or in memory.

Everything but the disk happens on the event loop that started the log, so who owns what is never in doubt: a
commit is checked against its group before it is queued, and whoever takes a partition over reads its state
behind everything that was queued before.  Held to `flowtide.testing.contracts.log` like the Kafka adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

from flowtide.errors import Fenced, GroupBusy, LogUnavailable, MessageTooLarge, UnknownTopic
from flowtide.log.embedded.delivery import Cursor, Tail, Waiter
from flowtide.log.embedded.groups import Group, Member
from flowtide.log.embedded.memory import MemoryStore
from flowtide.log.embedded.sqlite import WAL_BYTES, SqliteStore
from flowtide.log.embedded.store import Contents, Store, StoredTopic
from flowtide.log.embedded.writer import Errand, Expiry, Result, ThreadedWriter, Unit, Writer
from flowtide.log.partitioner import partition_of
from flowtide.log.port import (
    Assigned,
    Consumer,
    Log,
    Message,
    Partition,
    Polled,
    Reader,
    Record,
    StartAt,
    StateChange,
    Traffic,
)
from flowtide.log.topics import Topic

DEFAULT_MESSAGE_LIMIT_BYTES = 10 * 1024 * 1024
TOMBSTONE_RETENTION = timedelta(days=1)  # how long followers have to notice that a key is gone
RETENTION_INTERVAL = timedelta(minutes=1)  # between two looks for what is too old
_PAGE_BYTES = 4096
_TIDY_AFTER_BYTES = WAL_BYTES // 2  # estimated to be in the write-ahead log


class EmbeddedLog(Log):
    """The log of one process.

    `path` is the file (`None`: in memory, gone with the object); `partitions` the number for topics whose
    file says "default"; `threaded=False` writes on the event loop at once, without threads (always so in
    memory); `clock` gives seconds since 1970; `retention` overrides the topics' own, by name, `None` meaning
    forever.  Only one process may open a path.  Use it from the event loop that started it.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float],
        partitions: int = 4,
        threaded: bool = True,
        message_limit_bytes: int = DEFAULT_MESSAGE_LIMIT_BYTES,
        retention: Mapping[str, timedelta | None] | None = None,
    ) -> None:
        if partitions < 1:
            raise ValueError(f"a topic needs at least one partition, not {partitions}")
        self.traffic = Traffic()
        self._store: Store = MemoryStore() if path is None else SqliteStore(path)
        self._threaded = threaded and path is not None
        self._clock = clock
        self._default_partitions = partitions
        self._message_limit_bytes = message_limit_bytes
        self._retention_overrides = dict(retention or {})
        self._retention: dict[str, timedelta | None] = {}
        self._writer: Writer | None = None
        self._reads: ThreadPoolExecutor | None = None
        self._chores: ThreadPoolExecutor | None = None
        self._topics: dict[str, list[Tail]] = {}
        self._tails: dict[int, Tail] = {}  # by partition id
        self._groups: dict[str, Group] = {}
        self._positions: dict[str, dict[int, int]] = {}
        self._consumers: set[EmbeddedConsumer] = set()
        self._readers: set[EmbeddedReader] = set()
        self._untidy_bytes = 0
        self._retention_looked_at = float("-inf")
        self._expiring: set[Tail] = set()  # partitions whose old records are being deleted

    async def start(self) -> None:
        """Open the file, and lock out other processes.

        Raises LogLocked when another process has it open, LogUnavailable when it cannot be opened.
        """
        if self._writer is not None:
            return
        if self._threaded:
            await asyncio.to_thread(self._store.open)
            self._reads = ThreadPoolExecutor(1, thread_name_prefix="flowtide-log-reader")
            self._chores = ThreadPoolExecutor(1, thread_name_prefix="flowtide-log-chores")
            self._writer = ThreadedWriter(
                self._store, clock=self._clock, publish=self._publish, loop=asyncio.get_running_loop()
            )
        else:
            self._store.open()
            self._writer = Writer(self._store, clock=self._clock, publish=self._publish)
        await self._learn_contents()

    async def close(self) -> None:
        """Write what was queued, then release everything."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        for consumer in list(self._consumers):
            consumer.leave()
        for reader in list(self._readers):
            reader.stop()
        if self._threaded:
            await asyncio.to_thread(writer.close)
            for pool in (self._reads, self._chores):
                if pool is not None:
                    await asyncio.to_thread(pool.shutdown)
            await asyncio.to_thread(self._store.close)
        else:
            self._store.close()
        self._reads = self._chores = None

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Create the topics that are missing; those that exist keep their partitions."""
        missing: list[tuple[Topic, int]] = []
        for topic in topics:
            self._retention[topic.name] = self._retention_overrides.get(topic.name, topic.retention)
            if topic.name not in self._topics:
                count = self._default_partitions if topic.partitions == "default" else topic.partitions
                missing.append((topic, count))
        if missing:
            await self._on_writer(partial(self._store.create_topics, missing))
            await self._learn_contents()

    async def missing_topics(self, topics: Sequence[Topic]) -> list[str]:
        """The names of those that `ensure_topics` would create."""
        return [topic.name for topic in topics if topic.name not in self._topics]

    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic.  Raises UnknownTopic."""
        return len(self.tails(topic))

    async def append(self, messages: Sequence[Message]) -> None:
        """Write messages durably, all or none, and return when they are."""
        await self.write(self._addressed(messages))

    async def consumer(
        self, *, group: str, topics: Sequence[str], instance: str, state_topic: str | None = None
    ) -> EmbeddedConsumer:
        """Join `group` as `instance`; one of that name that is still there is thrown out."""
        if state_topic is not None:
            if len(topics) != 1:
                raise ValueError(f"a consumer with state has one topic, not {len(topics)}")
            self.tails(state_topic)
        partitions = [tail.partition for topic in topics for tail in self.tails(topic)]
        joined = self._groups.setdefault(group, Group(group))
        consumer = EmbeddedConsumer(
            self, group=joined, topics=topics, instance=instance, with_state=state_topic is not None
        )
        self._consumers.add(consumer)
        joined.join(consumer.member, partitions)
        return consumer

    async def reader(self, topic: str, starts: Mapping[int, int | StartAt] | StartAt) -> EmbeddedReader:
        """Read a topic without a group: all partitions from one end, or the partitions that are named."""
        if isinstance(starts, str):
            starts = dict.fromkeys(range(self.partitions(topic)), starts)
        reader = EmbeddedReader(self, topic)
        await reader.assign(starts)
        self._readers.add(reader)
        return reader

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """For each partition the offset of its next record."""
        return {tail.number: tail.end for tail in self.tails(topic)}

    async def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """The group's committed positions; partitions without one are left out."""
        committed = self._positions.get(group, {})
        return {tail.number: committed[tail.id] for tail in self.tails(topic) if tail.id in committed}

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """How many offsets of each partition lie between the group's position and the end."""
        committed = self._positions.get(group, {})
        return {
            tail.partition: tail.end - max(tail.first, committed.get(tail.id, 0))
            for topic in topics
            for tail in self.tails(topic)
        }

    async def seek_group(self, group: str, topics: Sequence[str], to: StartAt) -> None:
        """Move the positions of a group without members.  Raises GroupBusy when it has members."""
        known = self._groups.get(group)
        if known is not None and known.members:
            raise GroupBusy(group, len(known.members))
        positions = [
            (tail.id, tail.end if to == "end" else tail.first)
            for topic in topics
            for tail in self.tails(topic)
        ]
        await self.write([], group=group, positions=positions)

    def expel(self, instance: str) -> None:
        """Throw the members of this name out of their groups, as a broker does with one that fell silent.

        They learn of it by Fenced from whatever they do next; their partitions go to others at once.
        """
        for group in self._groups.values():
            group.expel(instance)

    # What follows is for the consumers and readers of this log.

    def tails(self, topic: str) -> list[Tail]:
        """The partitions of a topic, by number."""
        try:
            return self._topics[topic]
        except KeyError:
            raise UnknownTopic(topic) from None

    def require_open(self) -> Writer:
        """The writer.  Raises LogUnavailable when the log was closed or not started."""
        if self._writer is None:
            raise LogUnavailable("the log is closed")
        return self._writer

    def committed(self, group: str, partition: Partition) -> int:
        """The group's position in a partition, the beginning if it has none."""
        tail = self.tails(partition.topic)[partition.number]
        return self._positions.get(group, {}).get(tail.id, 0)

    async def commit(
        self,
        group: str,
        *,
        positions: Mapping[Partition, int],
        messages: Sequence[Message],
        changes: Sequence[tuple[int, str, bytes | None]],
    ) -> None:
        """Write a member's unit; that it still owns its partitions was checked just before."""
        await self.write(
            self._addressed(messages) if messages else [],
            group=group,
            positions=[
                (self._topics[partition.topic][partition.number].id, offset)
                for partition, offset in positions.items()
            ],
            changes=changes,
        )

    async def write(
        self,
        messages: Sequence[tuple[Tail, Message]],
        *,
        group: str = "",
        positions: Sequence[tuple[int, int]] = (),
        changes: Sequence[tuple[int, str, bytes | None]] = (),
    ) -> None:
        """Have one unit written, behind everything that was queued before.  An empty one is a barrier."""
        writer = self.require_open()
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writer.submit(
            Unit(messages=messages, group=group, positions=positions, changes=changes, answer=answer)
        )
        await answer
        if not self._threaded:
            await asyncio.sleep(0)  # the answer was there at once; let the others have their turn

    async def read_stored(
        self, topic: StoredTopic, number: int, start: int, stop: int, maximum: int
    ) -> list[Record]:
        """Read from the store what left the memory."""
        self.require_open()
        if self._reads is None:
            return self._store.read(topic, number, start, stop, maximum)
        return await asyncio.get_running_loop().run_in_executor(
            self._reads, self._store.read, topic, number, start, stop, maximum
        )

    async def read_state(self, group: str, partition: Partition) -> dict[str, bytes]:
        """The state of a group in one partition."""
        self.require_open()
        partition_id = self.tails(partition.topic)[partition.number].id
        if self._reads is None:
            return self._store.state(group, partition_id)
        return await asyncio.get_running_loop().run_in_executor(
            self._reads, self._store.state, group, partition_id
        )

    def forget(self, reader: EmbeddedConsumer | EmbeddedReader) -> None:
        """Drop one that was closed."""
        if isinstance(reader, EmbeddedConsumer):
            self._consumers.discard(reader)
        else:
            self._readers.discard(reader)

    def _addressed(self, messages: Sequence[Message]) -> list[tuple[Tail, Message]]:
        limit_bytes = self._message_limit_bytes
        topics = self._topics
        produced = self.traffic.produced
        addressed: list[tuple[Tail, Message]] = []
        for message in messages:
            value = message.value
            if value is not None and len(value) > limit_bytes:
                self.traffic.refuse(message.topic)
                raise MessageTooLarge(message.topic, message.key, len(value), limit_bytes)
            tails = topics.get(message.topic)
            if tails is None:
                raise UnknownTopic(message.topic)
            number = message.partition
            if number is None:
                number = partition_of(message.key, len(tails))
            elif not 0 <= number < len(tails):
                raise ValueError(f"{message.topic} has {len(tails)} partitions, there is no number {number}")
            addressed.append((tails[number], message))
            produced[message.topic] = produced.get(message.topic, 0) + 1
        return addressed

    async def _on_writer(self, work: Callable[[], None]) -> None:
        writer = self.require_open()
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writer.submit(Errand(work=work, answer=answer))
        await answer

    async def _learn_contents(self) -> None:
        found: list[Contents] = []
        writer = self.require_open()

        def learn() -> None:
            found.append(self._store.contents())
            writer.learn_ends({stored.id: stored.end for stored in found[0].partitions})

        await self._on_writer(learn)
        contents = found[0]
        stored = {partition.id: partition for partition in contents.partitions}
        for topic in contents.topics:
            if topic.name not in self._topics:
                tails = [
                    Tail(topic, number, stored[partition_id])
                    for number, partition_id in enumerate(topic.partition_ids)
                ]
                self._topics[topic.name] = tails
                self._tails.update((tail.id, tail) for tail in tails)
        for group, positions in contents.positions.items():
            self._positions[group] = {**positions, **self._positions.get(group, {})}

    def _publish(self, result: Result) -> None:
        for unit in result.written:
            self._untidy_bytes += _PAGE_BYTES * (1 + len(unit.changes))
            if unit.positions:
                self._positions.setdefault(unit.group, {}).update(unit.positions)
        for tail, records in result.records.items():
            tail.publish(records)
            # A partition's records stand together; what they fill is written in whole pages.
            self._untidy_bytes += 3 * _PAGE_BYTES + len(records) * len(records[0].value or b"")
        if result.expired is not None:
            result.expired.tail.first = result.expired.first
            if result.expired.finished:
                self._expiring.discard(result.expired.tail)
        for answer, failure in result.answers:
            if answer.done():
                continue  # whoever asked no longer waits
            if failure is None:
                answer.set_result(None)
            else:
                answer.set_exception(failure)
        if self._untidy_bytes > _TIDY_AFTER_BYTES:
            self._untidy_bytes = 0
            if self._chores is not None and self._writer is not None:
                self._chores.submit(self._tidy)
        if result.records:
            self._look_at_retention()

    def _tidy(self) -> None:
        try:
            self._store.tidy()
        except LogUnavailable:
            # The writer meets the same trouble and tells those who wait.
            return

    def _look_at_retention(self) -> None:
        now = self._clock()
        if now - self._retention_looked_at < RETENTION_INTERVAL.total_seconds() or self._writer is None:
            return
        self._retention_looked_at = now
        for topic, tails in self._topics.items():
            compacted = tails[0].topic.compacted
            retention = TOMBSTONE_RETENTION if compacted else self._retention.get(topic)
            if retention is None:
                continue
            before_ms = int((now - retention.total_seconds()) * 1000)
            for tail in tails:
                # The last record stays: it remembers where the offsets go on.
                below = tail.end - 1 if compacted else min(tail.end - 1, self._needed_from(tail))
                if below > tail.first and tail not in self._expiring:
                    self._expiring.add(tail)
                    self._writer.submit(Expiry(tail=tail, below=below, before_ms=before_ms))

    def _needed_from(self, tail: Tail) -> int:
        """The lowest position of the groups that read this topic."""
        needed = tail.end
        siblings = self._topics[tail.topic.name]
        for positions in self._positions.values():
            if any(sibling.id in positions for sibling in siblings):
                needed = min(needed, positions.get(tail.id, 0))
        for name, known in self._groups.items():
            if any(tail.topic.name in member.topics for member in known.members.values()):
                needed = min(needed, self._positions.get(name, {}).get(tail.id, 0))
        return needed


class EmbeddedConsumer(Consumer):
    """A member of a group of an embedded log; built by `EmbeddedLog.consumer`."""

    def __init__(
        self, log: EmbeddedLog, *, group: Group, topics: Sequence[str], instance: str, with_state: bool
    ) -> None:
        self._log = log
        self._group = group
        self._with_state = with_state
        self._waiter = Waiter()
        self.member = Member(instance=instance, topics=frozenset(topics), wake=self._waiter.wake)
        self._cursors: dict[Partition, Cursor] = {}
        self._arrived: list[Record] = []
        self._assigned: list[Assigned] = []
        self._revoked: list[Partition] = []
        self._turn = 0
        self._closed = False

    async def poll(self, *, maximum: int, timeout: timedelta) -> Polled:
        """See `Consumer.poll`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        while True:
            self._require_alive()
            self._waiter.rearm()
            # Gathered in lists of this object: if the caller is cancelled, the next poll has it.
            self._give_back()
            await self._take_over()
            if not (self._revoked or self._assigned):
                await self._collect(maximum)
            if self._revoked or self._assigned or self._arrived:
                polled = Polled(
                    records=self._arrived[:maximum], assigned=self._assigned, revoked=self._revoked
                )
                self._arrived = self._arrived[maximum:]
                self._assigned, self._revoked = [], []
                return polled
            remaining = deadline - loop.time()
            await self._waiter.sleep(remaining)
            if remaining <= 0:
                self._require_alive()
                return Polled()

    async def commit(
        self,
        *,
        positions: Mapping[Partition, int],
        messages: Sequence[Message] = (),
        changes: Sequence[StateChange] = (),
    ) -> None:
        """See `Consumer.commit`."""
        self._require_alive()
        owned = self.member.owned
        for partition in positions:
            if partition not in owned:
                raise Fenced(self._group.name, self.member.instance, partition)
        state: list[tuple[int, str, bytes | None]] = []
        if changes:
            if not self._with_state:
                raise ValueError(f"{self.member.instance} was opened without a state topic")
            ids = {
                partition.number: self._log.tails(partition.topic)[partition.number].id
                for partition in positions
            }
            for change in changes:
                if change.partition not in ids:
                    raise ValueError(f"partition {change.partition} changes but is not among the positions")
                state.append((ids[change.partition], change.key, change.value))
        await self._log.commit(self._group.name, positions=positions, messages=messages, changes=state)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer.pause`."""
        for partition in partitions:
            if partition in self._cursors:
                self._cursors[partition].paused = True

    def resume(self, partitions: Sequence[Partition]) -> None:
        """See `Consumer.resume`."""
        for partition in partitions:
            if partition in self._cursors:
                self._cursors[partition].paused = False
        self._waiter.wake()

    async def close(self) -> None:
        """Leave the group, so that others take over at once.  A second call does nothing."""
        self.leave()

    def leave(self) -> None:
        """Leave the group."""
        self._closed = True
        self._group.leave(self.member)
        self._drop_cursors(list(self._cursors))
        self._waiter.wake()
        self._log.forget(self)

    def _require_alive(self) -> None:
        if self._closed:
            self._log.require_open()
            raise LogUnavailable(f"{self.member.instance} of {self._group.name} is closed")
        if not self.member.alive:
            self._drop_cursors(list(self._cursors))
            raise Fenced(self._group.name, self.member.instance)

    def _give_back(self) -> None:
        if not self.member.revoking:
            return
        returned = self._group.give_back(self.member)
        self._drop_cursors(returned)
        told = {assigned.partition for assigned in self._assigned}
        self._revoked += [partition for partition in returned if partition not in told]
        self._assigned = [assigned for assigned in self._assigned if assigned.partition not in returned]
        self._arrived = [
            record for record in self._arrived if Partition(record.topic, record.partition) not in returned
        ]

    async def _take_over(self) -> None:
        """Take what is coming: (1) wait for what predecessors queued, (2) read position and state, (3) own it."""
        member = self.member
        coming = sorted(member.incoming)
        if not coming:
            return
        await self._log.write([])
        for partition in coming:
            state = await self._log.read_state(self._group.name, partition) if self._with_state else {}
            if partition not in member.incoming:
                continue  # it went to somebody else meanwhile
            start = self._log.committed(self._group.name, partition)
            tail = self._log.tails(partition.topic)[partition.number]
            self._cursors[partition] = Cursor(tail, start, self._waiter.wake)
            self._group.hand_over(member, partition)
            self._assigned.append(Assigned(partition=partition, state=state))

    async def _collect(self, maximum: int) -> None:
        cursors = list(self._cursors.values())
        if not cursors:
            return
        # Another partition comes first each time, so that a busy one does not starve the others.
        self._turn = (self._turn + 1) % len(cursors)
        for cursor in cursors[self._turn :] + cursors[: self._turn]:
            if len(self._arrived) >= maximum:
                return
            if not cursor.paused:
                self._arrived += await cursor.take(maximum - len(self._arrived), self._log.read_stored)

    def _drop_cursors(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            cursor = self._cursors.pop(partition, None)
            if cursor is not None:
                cursor.close()


class EmbeddedReader(Reader):
    """Reads partitions of an embedded log without a group; built by `EmbeddedLog.reader`."""

    def __init__(self, log: EmbeddedLog, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._waiter = Waiter()
        self._cursors: dict[int, Cursor] = {}
        self._arrived: list[Record] = []
        self._turn = 0
        self._closed = False

    async def poll(self, *, maximum: int, timeout: timedelta) -> Sequence[Record]:
        """See `Reader.poll`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        while True:
            self._require_open()
            self._waiter.rearm()
            # Gathered in a list of this object: if the caller is cancelled, the next poll has it.
            await self._collect(maximum)
            if self._arrived:
                records, self._arrived = self._arrived[:maximum], self._arrived[maximum:]
                return records
            remaining = deadline - loop.time()
            await self._waiter.sleep(remaining)
            if remaining <= 0:
                return []

    async def assign(self, starts: Mapping[int, int | StartAt]) -> None:
        """See `Reader.assign`."""
        self._require_open()
        tails = self._log.tails(self._topic)
        for number in starts:
            if not 0 <= number < len(tails):
                raise ValueError(f"{self._topic} has {len(tails)} partitions, there is no number {number}")
        for number in [number for number in self._cursors if number not in starts]:
            self._cursors.pop(number).close()
        self._arrived = [record for record in self._arrived if record.partition in starts]
        for number, start in starts.items():
            if number not in self._cursors:
                tail = tails[number]
                if start == "beginning":
                    start = tail.first
                elif start == "end":
                    start = tail.end
                self._cursors[number] = Cursor(tail, start, self._waiter.wake)
        self._waiter.wake()

    async def at_end(self) -> bool:
        """See `Reader.at_end`."""
        self._require_open()
        return not self._arrived and all(cursor.next >= cursor.tail.end for cursor in self._cursors.values())

    def reached(self) -> Mapping[int, int]:
        """See `Reader.reached`."""
        reached = {number: cursor.next for number, cursor in self._cursors.items()}
        for record in self._arrived:
            reached[record.partition] = min(reached[record.partition], record.offset)
        return reached

    async def close(self) -> None:
        """Stop reading.  A second call does nothing."""
        self.stop()

    def stop(self) -> None:
        """Stop reading."""
        self._closed = True
        for cursor in self._cursors.values():
            cursor.close()
        self._cursors.clear()
        self._waiter.wake()
        self._log.forget(self)

    async def _collect(self, maximum: int) -> None:
        cursors = list(self._cursors.values())
        if not cursors:
            return
        self._turn = (self._turn + 1) % len(cursors)
        for cursor in cursors[self._turn :] + cursors[: self._turn]:
            if len(self._arrived) >= maximum:
                return
            self._arrived += await cursor.take(maximum - len(self._arrived), self._log.read_stored)

    def _require_open(self) -> None:
        self._log.require_open()
        if self._closed:
            raise LogUnavailable(f"this reader of {self._topic} is closed")
