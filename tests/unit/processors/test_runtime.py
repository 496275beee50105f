"""The runtime of keyed processors, on a processor that counts, and a log in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from structlog.testing import capture_logs

from flowtide.errors import Fenced
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message, Record, StateChange
from flowtide.log.topics import Topic
from flowtide.model.dead_letters import DeadLetter
from flowtide.processors.runtime import BadRecord, NotYet, Partition, Runtime

START = datetime(2025, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Counting(Partition):
    """Counts the records of each key and tells each new count.

    `bad`, `defect` and `huge` are refused in their ways, `unknown` needs to be caught up, `later` sets a
    timer for ten seconds, which tells `rang`.
    """

    def __init__(self, number: int, state: Mapping[str, bytes], known: set[str]) -> None:
        self.number = number
        self.counts = {key: int(value) for key, value in state.items() if not key.endswith("!timer")}
        self.timers = {
            key: datetime.fromisoformat(value.decode()) for key, value in state.items() if "!" in key
        }
        self.known = known
        self.messages: list[Message] = []
        self.changes: dict[str, bytes | None] = {}

    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        word = (record.value or b"").decode()
        if word.startswith("bad"):
            raise BadRecord("it is bad")
        if word == "unknown" and not certain and word not in self.known:
            raise NotYet("nobody knows it")
        self.count(record.key)
        if word == "defect":
            raise KeyError("halfway")
        if word == "huge":
            self.messages.append(Message(topic="counts", key=record.key, value=b"x" * 5_000))
        if word == "later":
            self.timers[f"{record.key}!timer"] = now + timedelta(seconds=10)
            self.changes[f"{record.key}!timer"] = (now + timedelta(seconds=10)).isoformat().encode()

    def count(self, key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        self.changes[key] = str(self.counts[key]).encode()
        self.messages.append(Message(topic="counts", key=key, value=self.changes[key]))

    def fire(self, now: datetime, maximum: int) -> None:
        for key, due in sorted(self.timers.items())[:maximum]:
            if due <= now:
                del self.timers[key]
                self.changes[key] = None
                self.messages.append(Message(topic="counts", key=key.removesuffix("!timer"), value=b"rang"))

    def next_due(self) -> datetime | None:
        return min(self.timers.values(), default=None)

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        messages, changes = self.messages, self.changes
        self.messages, self.changes = [], {}
        return messages, [StateChange(partition=self.number, key=k, value=v) for k, v in changes.items()]


def topic(name: str, partitions: int = 1) -> Topic:
    return Topic(
        name=name,
        description="for tests",
        key="{key}",
        partitions=partitions,
        cleanup="delete",
        retention=timedelta(days=1),
        schema="text",
    )


class House:
    """A log with counting runtimes on it."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.log = log
        self.clock = Clock()
        self.known: set[str] = set()
        self.caught_up = 0
        self._running: list[tuple[Runtime, asyncio.Task[None]]] = []

    async def catch_up(self) -> None:
        self.caught_up += 1

    def run(self, instance: str = "one", *, catch_up: bool = False) -> tuple[Runtime, asyncio.Task[None]]:
        runtime = Runtime(
            self.log,
            group="counters",
            topic="words",
            state_topic="words_state",
            instance=instance,
            open_partition=lambda number, state: Counting(number, state, self.known),
            clock=self.clock,
            catch_up=self.catch_up if catch_up else None,
        )
        task = asyncio.create_task(runtime.run())
        self._running.append((runtime, task))
        return runtime, task

    async def say(self, key: str, *words: str) -> None:
        await self.log.append([Message(topic="words", key=key, value=word.encode()) for word in words])

    async def read(self, name: str, until: Callable[[list[Record]], bool]) -> list[Record]:
        """All records of a topic, as soon as `until` is content with them."""
        reader = await self.log.reader(name, "beginning")
        records: list[Record] = []
        async with asyncio.timeout(3):
            while not until(records):
                records += await reader.poll(maximum=1_000, timeout=timedelta(seconds=1))
        await reader.close()
        return records

    async def counts(self, number: int) -> list[tuple[str, str]]:
        """The first `number` of what was told, and nothing but that."""
        records = await self.read("counts", lambda found: len(found) >= number)
        assert len(records) == number
        return [(record.key, (record.value or b"").decode()[:10]) for record in records]

    async def letters(self, number: int) -> list[DeadLetter]:
        records = await self.read("dead_letters", lambda found: len(found) >= number)
        return [msgspec.json.decode(record.value or b"", type=DeadLetter) for record in records]

    async def settled(self, records: int) -> None:
        """Wait until so many words were committed."""
        async with asyncio.timeout(3):
            # A commit has no event to wait for.
            while sum((await self.log.positions("counters", "words")).values()) < records:  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def close(self) -> None:
        for runtime, task in self._running:
            runtime.stop()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def house() -> AsyncIterator[House]:
    log = EmbeddedLog(None, clock=START.timestamp, threaded=False, message_limit_bytes=2_000)
    await log.start()
    await log.ensure_topics(
        [topic("words", 2), topic("words_state", 2), topic("counts"), topic("dead_letters")]
    )
    house = House(log)
    yield house
    await house.close()
    await log.close()


async def test_records_change_state_and_lead_to_messages(house: House) -> None:
    """Each record is taken in once, in order of its key, and the position moves with it."""
    house.run()
    await house.say("a", "go", "go", "go")
    assert await house.counts(3) == [("a", "1"), ("a", "2"), ("a", "3")]
    await house.settled(3)


async def test_a_restored_partition_goes_on_where_the_last_one_stopped(house: House) -> None:
    """State survives the member: the next one counts on."""
    runtime, task = house.run()
    await house.say("a", "go", "go")
    await house.settled(2)
    runtime.stop()
    await task
    house.run("two")
    await house.say("a", "go")
    assert await house.counts(3) == [("a", "1"), ("a", "2"), ("a", "3")]


@pytest.mark.parametrize(("word", "reason"), [("bad", "it is bad"), ("defect", "KeyError: 'halfway'")])
async def test_a_record_that_cannot_be_handled_is_put_aside_without_a_trace(
    house: House, word: str, reason: str
) -> None:
    """Its effects are undone, those of its neighbours are not, and the dead letters say why."""
    await house.say("a", "go", word, "go")
    with capture_logs():
        house.run()
        assert await house.counts(2) == [("a", "1"), ("a", "2")]
    (letter,) = await house.letters(1)
    assert (letter.topic, letter.key, letter.reason) == ("words", "a", reason)
    await house.settled(3)


async def test_a_flood_of_bad_records_does_not_rebuild_the_state_for_each(house: House) -> None:
    """What is refused before anything was changed needs nothing undone; a defect does, and each is
    put aside.
    """
    opened: list[int] = []
    original = Counting.__init__

    def counting(self: Counting, number: int, state: Mapping[str, bytes], known: set[str]) -> None:
        opened.append(number)
        original(self, number, state, known)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Counting, "__init__", counting)
        await house.say("a", *["bad"] * 300, "go")
        with capture_logs():
            house.run()
            assert await house.counts(1) == [("a", "1")]
        assert len(await house.letters(300)) == 300
    assert sorted(opened) == [0, 1]


async def test_a_record_whose_outcome_is_too_large_is_put_aside_alone(house: House) -> None:
    """The rest of its batch is handled once."""
    await house.say("a", "go", "huge", "go")
    house.run()
    assert await house.counts(2) == [("a", "1"), ("a", "2")]
    (letter,) = await house.letters(1)
    assert "over the limit" in letter.reason
    await house.settled(3)


async def test_a_bad_record_whose_letter_is_too_large_is_put_aside_without_its_value(house: House) -> None:
    """Base64 makes a record near the log's limit too large for a letter; that must not end the processor."""
    await house.say("a", "go", "bad" + "x" * 1_900, "go")
    with capture_logs():
        house.run()
        assert await house.counts(2) == [("a", "1"), ("a", "2")]
        (letter,) = await house.letters(1)
    assert (letter.offset, letter.value, letter.reason) == (1, "", "it is bad (too large to keep)")


async def test_what_is_not_known_yet_is_caught_up_once_and_then_certain(house: House) -> None:
    """NotYet leads to one catching up, after which the record is handled as it is."""
    house.run(catch_up=True)
    await house.say("a", "unknown", "go")
    assert await house.counts(2) == [("a", "1"), ("a", "2")]
    assert house.caught_up == 1


async def test_without_catching_up_every_record_is_certain(house: House) -> None:
    """A runtime that has nothing to bring up to date never sees NotYet."""
    house.run()
    await house.say("a", "unknown")
    assert await house.counts(1) == [("a", "1")]


async def test_a_timer_fires_when_it_is_due_and_once(house: House) -> None:
    """Not before its time; and its removal is part of the state."""
    runtime, _ = house.run()
    await house.say("a", "later")
    await house.settled(1)
    assert await house.counts(1) == [("a", "1")]
    house.clock.now += timedelta(seconds=10)
    assert await house.counts(2) == [("a", "1"), ("a", "rang")]
    assert all(partition.next_due() is None for partition in runtime.owned.values())


async def test_a_timer_survives_its_member(house: House) -> None:
    """A timer that came due while nobody ran fires with the next member, also before any record."""
    runtime, task = house.run()
    await house.say("a", "later")
    await house.settled(1)
    runtime.stop()
    await task
    house.clock.now += timedelta(minutes=1)
    house.run("two")
    assert await house.counts(2) == [("a", "1"), ("a", "rang")]


async def test_an_expelled_member_starts_again_and_repeats_nothing(house: House) -> None:
    """Fencing throws away what was not committed, and the member comes back."""
    house.run()
    await house.say("a", "go")
    await house.settled(1)
    house.log.expel("one")
    await house.say("a", "go")
    assert await house.counts(2) == [("a", "1"), ("a", "2")]


async def test_two_members_share_the_partitions_and_nothing_is_taken_in_twice(house: House) -> None:
    """A second member takes over partitions with their state, also when the first one is thrown out."""
    house.run("one")
    for round_number in range(1, 6):
        await house.say("a", "go")
        await house.say("b", "go")
        await house.say("c", "go")
        if round_number == 2:
            house.run("two")
        if round_number == 4:
            house.log.expel("one")
    found = await house.counts(15)
    for key in "abc":
        assert [count for found_key, count in found if found_key == key] == ["1", "2", "3", "4", "5"]


async def test_a_request_reaches_every_owned_partition(house: House) -> None:
    """What is requested from outside is committed like a record, with no record in hand."""
    runtime, _ = house.run()
    await house.say("a", "go")
    await house.settled(1)

    def count_partition(partition: Partition, now: datetime) -> None:
        assert isinstance(partition, Counting)
        partition.count(f"p{partition.number}")

    runtime.request(count_partition)
    found = await house.counts(3)
    assert sorted(found) == [("a", "1"), ("p0", "1"), ("p1", "1")]


async def test_a_zombie_cannot_commit(house: House) -> None:
    """A consumer that was thrown out is told so when it commits, and what it wrote is not there."""
    consumer = await house.log.consumer(
        group="counters", topics=["words"], instance="zombie", state_topic="words_state"
    )
    polled = await consumer.poll(maximum=10, timeout=timedelta(seconds=1))
    house.log.expel("zombie")
    with pytest.raises(Fenced):
        await consumer.commit(
            positions={polled.assigned[0].partition: 0},
            messages=[Message(topic="counts", key="a", value=b"ghost")],
        )
    house.run()
    await house.say("a", "go")
    assert await house.counts(1) == [("a", "1")]
