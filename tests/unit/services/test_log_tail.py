"""Followers of single keys: only what is watched is read, each record reaches its watchers, lines come once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from flowtide.errors import LogUnavailable
from flowtide.index.document_writes import log_write
from flowtide.index.embedded import EmbeddedIndex
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.keys import ExecutionKey
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log, Message, Partition, Record
from flowtide.log.topics import load_topics
from flowtide.model.entries import LOG_DECODER, Level, LogEntry
from flowtide.model.records import encode
from flowtide.services.log_lines import FollowedLines, LogLines
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


KEY = ExecutionKey("main", "a")


def line(number: int, level: Level = Level.ERROR, execution_id: str = "a") -> LogEntry:
    """A log line of an execution."""
    return LogEntry(
        tenant_id="main",
        namespace="a",
        flow_id="f",
        execution_id=execution_id,
        timestamp=datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=number),
        level=level,
        message=str(number),
    )


async def write(log: Log, lines: Sequence[LogEntry]) -> None:
    """Append lines of executions to the log."""
    await log.append(
        [Message(topic="logs", key=f"main/{each.execution_id}", value=encode(each)) for each in lines]
    )


async def indexed(log: Log, index: EmbeddedIndex, lines: Sequence[LogEntry]) -> None:
    """Have the index know lines, those that stand first on the log, as an indexer would."""
    number = partition_of(str(KEY), log.partitions("logs"))
    await index.write([log_write(each, encode(each), number, offset) for offset, each in enumerate(lines)])
    consumer = await log.consumer(group="indexer", topics=["logs"], instance="test")
    while not (await consumer.poll(maximum=1, timeout=timedelta(seconds=1))).records:
        pass  # it is given its partitions first
    await consumer.commit(positions={Partition("logs", number): len(lines)})
    await consumer.close()


async def messages(lines: FollowedLines) -> list[str]:
    """All that a follower is given without waiting."""
    found = []
    while (body := await lines.next(timedelta(0))) is not None:
        found.append(LOG_DECODER.decode(body).message)
    return found


async def test_a_line_is_given_once_and_above_its_level(log: EmbeddedLog) -> None:
    """Lines of the index, lines that it does not have yet and new ones come once each, from the level on."""
    index = EmbeddedIndex(None)
    await index.start()
    first = [line(1), line(2, Level.INFO), line(3)]
    await write(log, first)
    await indexed(log, index, first)
    await write(log, [line(4), line(5, Level.INFO), line(6, execution_id="another")])
    followed = LogLines(log, index)
    await followed.start()
    async with followed.follow(KEY, Level.WARN) as lines:
        assert await messages(lines) == ["1", "3", "4"]
        await write(log, [line(7), line(8, Level.INFO)])
        body = await lines.next(timedelta(seconds=10))
        assert body is not None
        assert LOG_DECODER.decode(body).message == "7"
        assert await messages(lines) == []
    await followed.close()
    await index.close()


async def test_a_slow_follower_misses_no_line(log: EmbeddedLog) -> None:
    """What comes while too many lines wait is read from the log again: each line once, in order."""
    index = EmbeddedIndex(None)
    await index.start()
    lines = FollowedLines(log, index, KEY, Level.TRACE, most_waiting=10)
    await lines.begin()
    written = [line(number) for number in range(100)]
    await write(log, written)
    number = partition_of(str(KEY), log.partitions("logs"))
    reader = await log.reader("logs", {number: 0})
    for record in await reader.poll(maximum=1_000, timeout=timedelta(seconds=1)):
        lines.take(record)
    assert await messages(lines) == [str(number) for number in range(100)]
    await lines.close()
    await reader.close()
    await index.close()


async def test_lines_that_the_index_has_are_read_as_they_are_taken(log: EmbeddedLog) -> None:
    """More lines than may wait are all given from the index, and following them holds none of them."""
    index = EmbeddedIndex(None)
    await index.start()
    written = [line(number) for number in range(2_500)]
    await write(log, written)
    await indexed(log, index, written)
    lines = FollowedLines(log, index, KEY, Level.TRACE, most_waiting=10)
    await lines.begin()
    assert await messages(lines) == [str(number) for number in range(2_500)]
    await lines.close()
    await index.close()
