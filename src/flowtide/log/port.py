"""The port of the log: topics with keyed partitions, consumer groups, and the atomic "consume, change state,
produce".

Everything that moves between the parts of Flowtide is a record on a topic.  Two adapters implement this port,
`flowtide.log.embedded` (SQLite) and `flowtide.log.kafka`; both are held to `flowtide.testing.contracts.log`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from flowtide.log.topics import Topic

StartAt = Literal["beginning", "end"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A record to be written.  `value=None` is a tombstone: on a compacted topic it removes the key."""

    topic: str  # the topic's name as in `topics/`, without the configured prefix
    key: str  # names the thing; made by `flowtide.log.keys`, so that it carries the tenant
    value: bytes | None  # JSON, at most the configured message limit
    partition: int | None = None  # None: murmur2 of the key, as Java clients do
    headers: Mapping[str, str] | None = None  # "traceparent", "reply-to", ...


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it was read."""

    topic: str  # without the configured prefix
    partition: int
    offset: int  # grows by at least one within the partition
    key: str
    value: bytes | None
    timestamp_ms: int  # milliseconds since 1970-01-01T00:00Z, given by the log when the record was written
    headers: Mapping[str, str] | None = None


class Partition(msgspec.Struct, frozen=True, order=True):
    """One partition of one topic."""

    topic: str
    number: int


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that this member owns from now on, with the state that its predecessor left."""

    partition: Partition
    state: Mapping[str, bytes]  # state key -> value; empty for consumers without state


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """What one `Consumer.poll` brought.  Handle `revoked` first, then `assigned`, then `records`."""

    records: Sequence[Record] = ()
    assigned: Sequence[Assigned] = ()
    revoked: Sequence[Partition] = ()


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a partition's state as it is from this commit on; `value=None` removes it."""

    partition: int
    key: str
    value: bytes | None


class Consumer(ABC):
    """A member of a consumer group.  Not safe for concurrent calls; one task owns it.

    Records of a partition arrive in order of their offsets, each once per assignment, starting at the group's
    committed position.  Only committed messages are ever delivered.
    """

    @abstractmethod
    async def poll(self, *, maximum: int, timeout: timedelta) -> Polled:
        """Wait until something arrived, at most `timeout`; give at most `maximum` records, without lingering.

        Assignments and revocations come as part of the answer, never behind the caller's back.  For a
        consumer with state, an assignment is handed over only after the state was read to its end.
        Raises LogUnavailable when the log cannot be reached (call again later), Fenced when this member was
        thrown out of its group (throw everything away, close, and start again).
        """

    @abstractmethod
    async def commit(
        self,
        *,
        positions: Mapping[Partition, int],
        messages: Sequence[Message] = (),
        changes: Sequence[StateChange] = (),
    ) -> None:
        """Atomically write `messages`, change the state, and move the group's positions (offset to read
        next).

        Every partition that `changes` touch, or on whose behalf messages are written (a timer), must be in
        `positions`, also when its position did not move: that is what fences a member which lost the
        partition. Raises Fenced (nothing was written), LogUnavailable (nothing was written, or the outcome is
        unknown: close and start again), MessageTooLarge (nothing was written).
        """

    @abstractmethod
    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop delivering records of these partitions; the membership stays.  Calling twice is harmless."""

    @abstractmethod
    def resume(self, partitions: Sequence[Partition]) -> None:
        """Deliver records of these partitions again."""

    @abstractmethod
    async def close(self) -> None:
        """Leave the group, so that others take over at once.  Uncommitted work is forgotten."""


class Reader(ABC):
    """Reads partitions without a group: followers, caches, restores.  Sees only committed messages."""

    @abstractmethod
    async def poll(self, *, maximum: int, timeout: timedelta) -> Sequence[Record]:
        """Wait until something arrived, at most `timeout`; give at most `maximum` records."""

    @abstractmethod
    async def assign(self, starts: Mapping[int, int | StartAt]) -> None:
        """Read exactly these partitions from now on; those already being read go on where they are."""

    @abstractmethod
    async def at_end(self) -> bool:
        """Whether everything that was committed before this call has been given by `poll`."""

    @abstractmethod
    def reached(self) -> Mapping[int, int]:
        """For each partition the offset before which nothing is left to be given; to be called between polls."""

    @abstractmethod
    async def close(self) -> None:
        """Stop reading."""


class Traffic:
    """What was handed to a log since it was built, by topic: messages to write, and those refused for their size.

    Plain counters, because they are on the way of every message; whoever shows them reads them now and then.
    """

    __slots__ = ("produced", "refused")

    def __init__(self) -> None:
        self.produced: dict[str, int] = {}
        self.refused: dict[str, int] = {}

    def refuse(self, topic: str) -> None:
        """A message is too large."""
        self.refused[topic] = self.refused.get(topic, 0) + 1


class Log(ABC):
    """The log itself.  Start it before use; `close` ends all that was opened from it."""

    traffic: Traffic
    is_shared = False
    """Whether other processes may write to the same log; of one that is not, this process knows every write."""

    @abstractmethod
    async def start(self) -> None:
        """Connect or open.  Raises LogUnavailable with what to do."""

    @abstractmethod
    async def close(self) -> None:
        """Flush and release everything.  A second call does nothing."""

    @abstractmethod
    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Create the topics that are missing, with the configured partitions, replication and properties."""

    @abstractmethod
    async def missing_topics(self, topics: Sequence[Topic]) -> list[str]:
        """The names of those that `ensure_topics` would create."""

    @abstractmethod
    def partitions(self, topic: str) -> int:
        """The number of partitions of a topic that `ensure_topics` has seen."""

    @abstractmethod
    async def append(self, messages: Sequence[Message]) -> None:
        """Write messages durably, in order per partition, and return when they are.

        Messages of one call may become visible one after the other.  Raises LogUnavailable (some may have
        been written), MessageTooLarge (none was written).
        """

    @abstractmethod
    async def consumer(
        self, *, group: str, topics: Sequence[str], instance: str, state_topic: str | None = None
    ) -> Consumer:
        """Join `group` as member `instance` (stable over restarts of the same server, unique among the
        living).

        A group starts at the beginning of its topics.  With `state_topic` the consumer has state, one map of
        keys to bytes per partition of its one topic, and `changes` may be committed.
        """

    @abstractmethod
    async def reader(self, topic: str, starts: Mapping[int, int | StartAt] | StartAt) -> Reader:
        """Read a topic without a group: all partitions from one end, or the partitions that are named."""

    @abstractmethod
    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """For each partition the offset that the next committed record will have at least."""

    async def written_offsets(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The ends of topics, with what transactions wrote whose end is still on its way.

        What somebody was told is committed lies before them, on whichever partition the news came first.
        """
        return {
            Partition(topic, number): offset
            for topic in topics
            for number, offset in (await self.end_offsets(topic)).items()
        }

    @abstractmethod
    async def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """The group's committed positions; partitions without one are left out."""

    @abstractmethod
    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """How many records of each partition the group has not committed yet."""

    @abstractmethod
    async def seek_group(self, group: str, topics: Sequence[str], to: StartAt) -> None:
        """Move the positions of a group without members, for re-indexing.  Raises GroupBusy when it has
        members.
        """
