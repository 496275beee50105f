"""What the embedded log promises beyond the contract: files, locks, space, retention, zombies, group commit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from flowtide.errors import Fenced, LogLocked, LogUnavailable
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.embedded.delivery import TAIL_LIMIT_RECORDS
from flowtide.log.embedded.sqlite import SqliteStore
from flowtide.log.port import Message, Partition, StateChange
from flowtide.log.topics import Topic

_INSTANT = timedelta(0)
_WAIT = timedelta(seconds=5)


class _Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def _topic(name: str, *, compacted: bool = False) -> Topic:
    return Topic(
        name=name,
        description="of a test",
        key="{tenant}/{thing}",
        partitions=1,
        cleanup="compact" if compacted else "delete",
        retention=None if compacted else timedelta(days=1),
        schema="none",
    )


_TOPICS = [
    _topic("input"),
    _topic("output"),
    _topic("state", compacted=True),
    _topic("table", compacted=True),
]
_INPUT = Partition("input", 0)


def _message(value: bytes | None, *, topic: str = "input", key: str = "t/a") -> Message:
    return Message(topic=topic, key=key, value=value)


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "log.db"


@pytest.fixture
async def log(path: Path, clock: _Clock) -> AsyncIterator[EmbeddedLog]:
    log = EmbeddedLog(path, clock=clock)
    await log.start()
    await log.ensure_topics(_TOPICS)
    yield log
    await log.close()


async def _values(log: EmbeddedLog, topic: str = "input") -> list[bytes | None]:
    reader = await log.reader(topic, "beginning")
    values: list[bytes | None] = []
    while not await reader.at_end():
        values += [record.value for record in await reader.poll(maximum=1000, timeout=_WAIT)]
    await reader.close()
    return values


async def test_everything_is_there_after_opening_again(log: EmbeddedLog, path: Path, clock: _Clock) -> None:
    """Records, headers, positions, state and the next offset come back from the file."""
    await log.append([Message(topic="input", key="t/a", value=b"1", headers={"a": "b"}), _message(b"2")])
    consumer = await log.consumer(group="g", topics=["input"], instance="one", state_topic="state")
    await consumer.poll(maximum=1, timeout=_WAIT)
    await consumer.commit(positions={_INPUT: 1}, changes=[StateChange(partition=0, key="k", value=b"v")])
    await log.close()

    again = EmbeddedLog(path, clock=clock)
    await again.start()
    assert again.partitions("input") == 1
    assert await again.positions("g", "input") == {0: 1}
    await again.append([_message(b"3")])
    reader = await again.reader("input", "beginning")
    records = await reader.poll(maximum=10, timeout=_WAIT)
    records = [*records, *await reader.poll(maximum=10, timeout=_WAIT)] if len(records) < 3 else records
    assert [(record.offset, record.value) for record in records] == [(0, b"1"), (1, b"2"), (2, b"3")]
    assert records[0].headers == {"a": "b"}
    successor = await again.consumer(group="g", topics=["input"], instance="two", state_topic="state")
    (assigned,) = (await successor.poll(maximum=1, timeout=_WAIT)).assigned
    assert assigned.state == {"k": b"v"}
    await again.close()


async def test_a_second_opening_is_refused_by_name(log: EmbeddedLog, path: Path, clock: _Clock) -> None:
    """Only one log may have the file open; the error names it, and closing frees it."""
    other = EmbeddedLog(path, clock=clock)
    with pytest.raises(LogLocked, match=r"log\.db is in use by process \d+"):
        await other.start()
    await log.close()
    await other.start()
    await other.close()


async def test_a_path_that_cannot_be_opened_says_what_to_do(tmp_path: Path, clock: _Clock) -> None:
    """A folder in the place of the file is an error that names the path."""
    (tmp_path / "log.db").mkdir()
    with pytest.raises(LogUnavailable, match=r"cannot open the log .*log\.db"):
        await EmbeddedLog(tmp_path / "log.db", clock=clock).start()


async def test_a_file_of_a_newer_format_is_refused(path: Path, log: EmbeddedLog, clock: _Clock) -> None:
    """A file that this version cannot read stays untouched."""
    await log.close()
    await asyncio.to_thread(_set_format, path, 99)
    with pytest.raises(LogUnavailable, match="has format 99"):
        await EmbeddedLog(path, clock=clock).start()


def _set_format(path: Path, number: int) -> None:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {number}")
    database.close()


async def test_a_full_disk_refuses_and_recovers(log: EmbeddedLog) -> None:
    """While there is no space, writing is unavailable and nothing of it is kept; afterwards it works again."""
    await log.append([_message(b"before")])
    store = log._store
    assert isinstance(store, SqliteStore)
    await asyncio.to_thread(_limit_pages, store, 1)
    with pytest.raises(LogUnavailable, match="full"):
        await log.append([_message(b"x" * 200_000) for _ in range(20)])
    await asyncio.to_thread(_limit_pages, store, 1_000_000)
    await log.append([_message(b"after")])
    assert await _values(log) == [b"before", b"after"]
    assert await log.end_offsets("input") == {0: 2}


def _limit_pages(store: SqliteStore, pages: int) -> None:
    assert store._writing is not None
    store._writing.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def test_a_unit_that_cannot_be_stored_is_refused_alone(log: EmbeddedLog) -> None:
    """Of units that are written together, one with a key that is no text fails, and the others are written."""
    answers = await asyncio.gather(
        log.append([_message(b"1")]),
        log.append([_message(b"bad", key="t/\ud800")]),
        log.append([_message(b"2"), _message(b"3")]),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [type(None), UnicodeEncodeError, type(None)]
    assert await _values(log) == [b"1", b"2", b"3"]
    assert await log.end_offsets("input") == {0: 3}


async def test_an_expelled_member_is_a_zombie(log: EmbeddedLog) -> None:
    """Whatever it does next is Fenced; its partition and state go to another member at once."""
    first = await log.consumer(group="g", topics=["input"], instance="one", state_topic="state")
    await first.poll(maximum=1, timeout=_WAIT)
    await first.commit(positions={_INPUT: 0}, changes=[StateChange(partition=0, key="k", value=b"v")])
    second = await log.consumer(group="g", topics=["input"], instance="two", state_topic="state")
    log.expel("one")
    with pytest.raises(Fenced):
        await first.commit(positions={_INPUT: 5}, messages=[_message(b"zombie", topic="output")])
    with pytest.raises(Fenced):
        await first.poll(maximum=1, timeout=_INSTANT)
    (assigned,) = (await second.poll(maximum=1, timeout=_WAIT)).assigned
    assert assigned.state == {"k": b"v"}
    assert await _values(log, "output") == []
    assert await log.positions("g", "input") == {0: 0}


async def test_a_successor_sees_what_its_predecessor_had_queued(log: EmbeddedLog) -> None:
    """A commit that was accepted before the expulsion counts, and the takeover waits for it."""
    first = await log.consumer(group="g", topics=["input"], instance="one", state_topic="state")
    await first.poll(maximum=1, timeout=_WAIT)
    commit = asyncio.create_task(
        first.commit(positions={_INPUT: 0}, changes=[StateChange(partition=0, key="k", value=b"last")])
    )
    await asyncio.sleep(0)
    log.expel("one")
    second = await log.consumer(group="g", topics=["input"], instance="two", state_topic="state")
    (assigned,) = (await second.poll(maximum=1, timeout=_WAIT)).assigned
    assert assigned.state == {"k": b"last"}
    await commit


async def test_a_reader_far_behind_gets_what_left_the_memory(log: EmbeddedLog) -> None:
    """A slow reader does not keep records in memory, and misses none."""
    total = 2 * TAIL_LIMIT_RECORDS
    slow = await log.reader("input", "end")
    for first in range(0, total, 1000):
        await log.append([_message(b"%d" % n) for n in range(first, min(first + 1000, total))])
    assert len(log.tails("input")[0]._records) <= TAIL_LIMIT_RECORDS
    values: list[bytes | None] = []
    while not await slow.at_end():
        values += [record.value for record in await slow.poll(maximum=700, timeout=_WAIT)]
    assert values == [b"%d" % n for n in range(total)]


async def _settled(log: EmbeddedLog) -> None:
    """Wait until the background deletions that were asked for have happened."""
    while log._expiring:
        await log.write([])


@pytest.mark.parametrize("in_memory", [False, True])
async def test_old_records_go_once_every_group_has_passed(
    path: Path, clock: _Clock, *, in_memory: bool
) -> None:
    """Deleted is what is older than the retention and below every position; the last record always stays."""
    log = EmbeddedLog(
        None if in_memory else path, clock=clock, retention={"input": timedelta(hours=1), "output": None}
    )
    await log.start()
    await log.ensure_topics(_TOPICS)
    await log.append([_message(b"%d" % n) for n in range(5)] + [_message(b"kept", topic="output")] * 2)
    await log.seek_group("g", ["input"], "beginning")
    clock.now += 7200
    await log.append([_message(b"5")])
    await _settled(log)
    assert len(await _values(log)) == 6
    consumer = await log.consumer(group="g", topics=["input"], instance="one")
    while not (await consumer.poll(maximum=10, timeout=_WAIT)).assigned:
        continue
    await consumer.commit(positions={_INPUT: 3})
    clock.now += 120
    await log.append([_message(b"6")])
    await _settled(log)

    assert await _values(log) == [b"3", b"4", b"5", b"6"]
    assert await _values(log, "output") == [b"kept", b"kept"]
    assert await log.lag("g", ["input"]) == {_INPUT: 4}
    await log.close()


@pytest.mark.parametrize("in_memory", [False, True])
async def test_compacted_topics_keep_the_last_record_and_forget_tombstones(
    path: Path, clock: _Clock, *, in_memory: bool
) -> None:
    """One record per key stays; a tombstone stays for a day, then it goes too."""
    log = EmbeddedLog(None if in_memory else path, clock=clock)
    await log.start()
    await log.ensure_topics(_TOPICS)
    for value in (b"1", b"2", b"3"):
        await log.append([_message(value, topic="table", key=key) for key in ("t/a", "t/b")])
    await log.append([_message(None, topic="table", key="t/a")])
    assert await _values(log, "table") == [b"3", None]
    clock.now += 2 * 86_400
    await log.append([_message(b"4", topic="table", key="t/c"), _message(b"5", topic="table", key="t/c")])
    await _settled(log)
    assert await _values(log, "table") == [b"3", b"5"]
    assert await log.end_offsets("table") == {0: 9}
    await log.close()


async def test_a_cancelled_commit_is_written_all_the_same(log: EmbeddedLog) -> None:
    """Who stops waiting does not take back what was queued; the log goes on."""
    append = asyncio.create_task(log.append([_message(b"1")]))
    await asyncio.sleep(0)
    append.cancel()
    await log.append([_message(b"2")])
    assert await _values(log) == [b"1", b"2"]


async def test_a_broken_clock_fails_commits_instead_of_hanging_them(path: Path, clock: _Clock) -> None:
    """What goes wrong inside the writer is answered, and the writer goes on."""

    class _Broken(Exception):
        pass

    def broken() -> float:
        if broken_now:
            raise _Broken("no time")
        return clock()

    broken_now = False
    log = EmbeddedLog(path, clock=broken)
    await log.start()
    await log.ensure_topics(_TOPICS)
    broken_now = True
    with pytest.raises(LogUnavailable, match="no time"):
        await log.append([_message(b"1")])
    broken_now = False
    await log.append([_message(b"2")])
    assert await _values(log) == [b"2"]
    await log.close()


async def test_what_a_cancelled_poll_took_over_is_given_to_the_next(log: EmbeddedLog) -> None:
    """An assignment whose poll was cancelled while the state was read is not lost."""
    await log.append([_message(b"1")])
    consumer = await log.consumer(group="g", topics=["input"], instance="one", state_topic="state")
    for steps in range(6):
        polling = asyncio.create_task(consumer.poll(maximum=1, timeout=_WAIT))
        for _ in range(steps):
            await asyncio.sleep(0)
        if polling.cancel():
            await asyncio.gather(polling, return_exceptions=True)
        else:
            break
    polled = await consumer.poll(maximum=1, timeout=_WAIT)
    assert [assigned.partition for assigned in polled.assigned] == [_INPUT]
    assert [record.value for record in (await consumer.poll(maximum=1, timeout=_WAIT)).records] == [b"1"]
