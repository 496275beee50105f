"""What the embedded log asks of the place where records rest; `sqlite` and `memory` answer it.

A store is used by one writer at a time; reads may come from another thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from flowtide.log.port import Record
from flowtide.log.topics import Topic

READ_LIMIT_BYTES = 8 * 1024 * 1024  # one read gives at most this much, and at least one record


class StoredTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the store knows it."""

    name: str
    compacted: bool
    partition_ids: tuple[int, ...]  # by partition number


class StoredPartition(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one partition."""

    id: int
    first: int  # the lowest offset that is still there; equals `end` when nothing was ever written
    end: int  # the offset of the next record


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the log keeps in memory about its store."""

    topics: Sequence[StoredTopic]
    partitions: Sequence[StoredPartition]
    positions: Mapping[str, Mapping[int, int]]  # group -> partition id -> offset to read next


class Write(msgspec.Struct, kw_only=True):
    """One unit of writing: all of it is stored, or nothing."""

    records: list[tuple[int, Record]]  # partition id and record
    group: str = ""
    positions: Sequence[tuple[int, int]] = ()  # partition id, offset to read next
    changes: Sequence[tuple[int, str, bytes | None]] = ()  # partition id, key, value


class Store(Protocol):
    """Where records rest.  Every method may raise LogUnavailable; a failed write leaves nothing behind."""

    def open(self) -> None:
        """Open, and lock out other processes."""

    def contents(self) -> Contents:
        """Read what the log keeps in memory."""

    def create_topics(self, topics: Sequence[tuple[Topic, int]]) -> None:
        """Create topics with so many partitions each; those that exist stay as they are."""

    def write(self, writes: Sequence[Write]) -> None:
        """Store all of these at once, durably."""

    def read(self, topic: StoredTopic, number: int, start: int, stop: int, maximum: int) -> list[Record]:
        """The first records of a partition in `start <= offset < stop`, at most `maximum` and
        READ_LIMIT_BYTES.
        """

    def state(self, group: str, partition_id: int) -> dict[str, bytes]:
        """The state of a group in one partition."""

    def expire(
        self, topic: StoredTopic, number: int, below: int, before_ms: int, maximum: int
    ) -> tuple[int, int]:
        """Delete a little of what is too old, below an offset; give how many and the lowest offset that is
        left.

        Of compacted topics only tombstones are deleted.
        """

    def tidy(self) -> None:
        """Do what makes later writes cheaper, beside the writer."""

    def close(self) -> None:
        """Release everything.  A second call does nothing."""
