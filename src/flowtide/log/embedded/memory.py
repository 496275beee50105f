"""A store that forgets: records in dictionaries, for the simulator, unit tests and `--memory` servers."""

from __future__ import annotations

from collections.abc import Sequence

from flowtide.log.embedded.store import Contents, StoredPartition, StoredTopic, Write
from flowtide.log.port import Record
from flowtide.log.topics import Topic


class MemoryStore:
    """Keeps everything in this process; see `Store` for the contract."""

    def __init__(self) -> None:
        self._topics: dict[str, StoredTopic] = {}
        self._compacted: set[int] = set()
        self._records: dict[int, dict[int, Record]] = {}  # partition id -> offset -> record, in order
        self._latest: dict[int, dict[str, int]] = {}  # of compacted partitions: key -> offset
        self._ends: dict[int, int] = {}
        self._positions: dict[str, dict[int, int]] = {}
        self._state: dict[tuple[str, int], dict[str, bytes]] = {}

    def open(self) -> None:
        """Nothing to open."""

    def contents(self) -> Contents:
        """See `Store`."""
        return Contents(
            topics=list(self._topics.values()),
            partitions=[
                StoredPartition(
                    id=number, first=next(iter(records), self._ends[number]), end=self._ends[number]
                )
                for number, records in self._records.items()
            ],
            positions={group: dict(offsets) for group, offsets in self._positions.items()},
        )

    def create_topics(self, topics: Sequence[tuple[Topic, int]]) -> None:
        """See `Store`."""
        for topic, partitions in topics:
            if topic.name in self._topics:
                continue
            first = len(self._ends)
            ids = tuple(range(first, first + partitions))
            compacted = topic.cleanup == "compact"
            self._topics[topic.name] = StoredTopic(
                name=topic.name,
                compacted=compacted,
                partition_ids=ids,
            )
            for partition_id in ids:
                self._records[partition_id] = {}
                self._ends[partition_id] = 0
            if compacted:
                self._compacted.update(ids)
                self._latest.update((partition_id, {}) for partition_id in ids)

    def write(self, writes: Sequence[Write]) -> None:
        """See `Store`."""
        for unit in writes:
            for partition_id, record in unit.records:
                records = self._records[partition_id]
                records[record.offset] = record
                self._ends[partition_id] = record.offset + 1
                if partition_id in self._compacted:
                    latest = self._latest[partition_id]
                    older = latest.get(record.key)
                    if older is not None:
                        del records[older]
                    latest[record.key] = record.offset
            if unit.positions:
                self._positions.setdefault(unit.group, {}).update(unit.positions)
            for partition_id, key, value in unit.changes:
                state = self._state.setdefault((unit.group, partition_id), {})
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value

    def read(self, topic: StoredTopic, number: int, start: int, stop: int, maximum: int) -> list[Record]:
        """See `Store`."""
        records = self._records[topic.partition_ids[number]]
        start = max(start, next(iter(records), stop))
        found: list[Record] = []
        for offset in range(start, stop):
            record = records.get(offset)
            if record is not None:
                found.append(record)
                if len(found) == maximum:
                    break
        return found

    def state(self, group: str, partition_id: int) -> dict[str, bytes]:
        """See `Store`."""
        return dict(self._state.get((group, partition_id), {}))

    def expire(
        self, topic: StoredTopic, number: int, below: int, before_ms: int, maximum: int
    ) -> tuple[int, int]:
        """See `Store`."""
        partition_id = topic.partition_ids[number]
        records = self._records[partition_id]
        old: list[int] = []
        for offset, record in records.items():
            if offset >= below or len(old) == maximum:
                break
            if record.timestamp_ms >= before_ms:
                if topic.compacted:
                    continue
                break
            if not topic.compacted or record.value is None:
                old.append(offset)
        for offset in old:
            record = records.pop(offset)
            if topic.compacted:
                del self._latest[partition_id][record.key]
        return len(old), next(iter(records), self._ends[partition_id])

    def tidy(self) -> None:
        """Nothing to tidy."""

    def close(self) -> None:
        """Nothing to close: what was written stays as long as this object."""
