"""Followers of single keys: only what is watched is read, each record reaches its watchers, lines come once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from flowtide.errors import LogUnavailable
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Message, Record
from flowtide.log.topics import load_topics
from flowtide.model.entries import Level, LogEntry
from flowtide.model.records import encode
from flowtide.services.log_lines import FollowedLines
from flowtide.services.log_tail import LogTail

TOPICS = list(load_topics().values())


@pytest.fixture
async def log() -> AsyncIterator[EmbeddedLog]:
    """An empty log of eight partitions."""
    started = EmbeddedLog(None, clock=lambda: 0.0, partitions=8)
    await started.start()
    await started.ensure_topics(TOPICS)
    yield started
    await started.close()


async def test_only_partitions_of_watched_keys_are_read(log: EmbeddedLog) -> None:
    """Nothing is read before somebody watches; then the partitions of what is watched, and no others."""
    tail = LogTail(log, "logs")
    await tail.start()
    assert tail.watched_partitions == frozenset()
    keys = ["main/a", "main/b", "main/c"]
    for key in keys:
        await tail.watch(key, lambda record: None)
    assert tail.watched_partitions == {partition_of(key, 8) for key in keys}
    assert tail.watched_keys == 3
    await tail.close()
    with pytest.raises(LogUnavailable):
        await tail.watch("main/a", lambda record: None)


async def test_a_watcher_that_fails_does_not_end_the_reading(log: EmbeddedLog) -> None:
    """Whatever a record does to one watcher, the others and the records after it are served."""
    tail = LogTail(log, "logs")
    await tail.start()
    seen: list[bytes | None] = []
    done = asyncio.Event()

    def fail(record: Record) -> None:
        raise RecursionError("made up")

    def note(record: Record) -> None:
        seen.append(record.value)
        if record.value == b"2":
            done.set()

    await tail.watch("main/a", fail)
    await tail.watch("main/a", note)
    with capture_logs() as lines:
        for value in (b"1", b"2"):
            await log.append([Message(topic="logs", key="main/a", value=value)])
        async with asyncio.timeout(3):
            await done.wait()
    assert (seen, len(lines)) == ([b"1", b"2"], 2)
    await tail.close()


async def test_each_watcher_is_told_of_its_key_only(log: EmbeddedLog) -> None:
    """Two watchers of one key both see its records, in order; who stopped watching sees no more."""
    tail = LogTail(log, "logs")
    await tail.start()
    seen: dict[str, list[bytes | None]] = {"first": [], "second": [], "other": []}
    both, more = asyncio.Event(), asyncio.Event()

    def second(value: bytes | None) -> None:
        seen["second"].append(value)
        (both if value == b"2" else more).set()

    await tail.watch("main/a", first := lambda record: seen["first"].append(record.value))
    await tail.watch("main/a", lambda record: second(record.value))
    await tail.watch("main/b", lambda record: seen["other"].append(record.value))
    await log.append([Message(topic="logs", key="main/a", value=value) for value in (b"1", b"2")])
    await both.wait()
    tail.unwatch("main/a", first)
    tail.unwatch("main/a", first)
    more.clear()
    await log.append([Message(topic="logs", key="main/a", value=b"3")])
    await more.wait()
    assert seen == {"first": [b"1", b"2"], "second": [b"1", b"2", b"3"], "other": []}
    await tail.close()


async def test_a_line_is_given_once_and_above_its_level() -> None:
    """The same line from the index and from the log comes once; lines below the level do not come."""
    lines = FollowedLines(Level.WARN)
    entry = LogEntry(
        tenant_id="main",
        namespace="a",
        flow_id="f",
        timestamp=datetime(2026, 1, 5, tzinfo=UTC),
        level=Level.ERROR,
        message="boom",
    )
    for _ in range(3):
        lines.offer(encode(entry), Level.ERROR)
    lines.offer(b"quiet", Level.INFO)
    assert await lines.next(timedelta(0)) == encode(entry)
    assert await lines.next(timedelta(0)) is None
