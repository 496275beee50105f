"""What every log must do: inherit `LogContract` and give it a fixture `log`, a started log with `TOPICS` ensured.

The tests use no real time of their own; what a log on a network needs until a rebalance is over is bounded by
`PATIENCE`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from flowtide.errors import Fenced, GroupBusy, LogUnavailable, MessageTooLarge, UnknownTopic
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Assigned, Consumer, Log, Message, Partition, Polled, Reader, Record, StateChange
from flowtide.log.topics import Topic

PARTITIONS = 2  # of every topic of the suite
MESSAGE_LIMIT_BYTES = 100_000  # that the log under test was built with
PATIENCE = timedelta(seconds=30)
_STEP = timedelta(milliseconds=200)
_INSTANT = timedelta(0)


def _topic(name: str, cleanup: str) -> Topic:
    compacted = cleanup == "compact"
    return Topic(
        name=name,
        description="of the contract suite",
        key="{tenant}/{thing}",
        partitions=PARTITIONS,
        cleanup="compact" if compacted else "delete",
        retention=None if compacted else timedelta(days=1),
        schema="none",
    )


TOPICS = (
    _topic("input", "delete"),
    _topic("output", "delete"),
    _topic("state", "compact"),
    _topic("table", "compact"),
)


class LogContract:
    """The promises of the port `flowtide.log.port.Log`."""

    async def test_a_partition_keeps_the_order_of_its_appends(self, log: Log) -> None:
        """Records of one key arrive in the order in which they were appended, with growing offsets."""
        for first in range(0, 60, 20):
            await log.append([_message("input", "t/a", b"%d" % n) for n in range(first, first + 20)])
        consumer = await log.consumer(group="order", topics=["input"], instance="one")

        records = await _records(consumer, 60)

        assert [record.value for record in records] == [b"%d" % n for n in range(60)]
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        assert {record.partition for record in records} == {partition_of("t/a", PARTITIONS)}

    async def test_a_record_arrives_as_it_was_written(self, log: Log) -> None:
        """Bytes that are no text, emptiness, tombstones, keys of any language and headers pass unharmed."""
        garbage = bytes(range(256)) * 3
        headers = {"traceparent": "00-ab", "reply-to": "3", "name": "ÅÄÖ"}
        messages = [
            Message(topic="input", key="t/a", value=garbage, partition=0, headers=headers),
            Message(topic="input", key="t/é漢字/🙂", value=b"", partition=0),
            Message(topic="input", key="t/gone", value=None, partition=0),
        ]
        await log.append(messages)
        reader = await log.reader("input", "beginning")

        records = await _read(reader, 3)

        assert [(found.topic, found.key, found.value, found.headers) for found in records] == [
            (sent.topic, sent.key, sent.value, sent.headers) for sent in messages
        ]
        assert all(record.timestamp_ms > 0 for record in records)

    async def test_a_message_goes_to_the_partition_that_it_names_or_that_its_key_gives(
        self, log: Log
    ) -> None:
        """`partition` wins; without it murmur2 of the key decides."""
        keys = [f"t/{n}" for n in range(20)]
        await log.append([_message("input", key, b"x") for key in keys])
        await log.append([Message(topic="input", key=key, value=b"y", partition=1) for key in keys])
        reader = await log.reader("input", "beginning")

        found = {(record.key, record.value): record.partition for record in await _read(reader, 40)}

        assert found == {(key, b"x"): partition_of(key, PARTITIONS) for key in keys} | {
            (key, b"y"): 1 for key in keys
        }

    async def test_an_append_of_what_cannot_be_written_writes_nothing(self, log: Log) -> None:
        """A message that is too large, an unknown topic or partition refuse the whole call."""
        fine = _message("input", "t/a", b"fine")
        with pytest.raises(MessageTooLarge) as raised:
            await log.append([fine, _message("input", "t/a", b"x" * (MESSAGE_LIMIT_BYTES + 1))])
        assert raised.value.size_bytes == MESSAGE_LIMIT_BYTES + 1
        with pytest.raises(UnknownTopic):
            await log.append([fine, _message("nowhere", "t/a", b"x")])
        with pytest.raises(ValueError, match="partitions"):
            await log.append([fine, Message(topic="input", key="t/a", value=b"x", partition=PARTITIONS)])
        await log.append([_message("input", "t/a", b"y" * MESSAGE_LIMIT_BYTES)])
        reader = await log.reader("input", "beginning")

        assert [len(record.value or b"") for record in await _read_to_end(reader)] == [MESSAGE_LIMIT_BYTES]

    async def test_ensuring_topics_again_changes_nothing(self, log: Log) -> None:
        """Topics that exist keep their partitions and records."""
        await log.append([_message("input", "t/a", b"x")])
        await asyncio.gather(log.ensure_topics(TOPICS), log.ensure_topics(TOPICS))
        assert log.partitions("input") == PARTITIONS
        reader = await log.reader("input", "beginning")
        assert len(await _read_to_end(reader)) == 1
        with pytest.raises(UnknownTopic):
            log.partitions("nowhere")

    async def test_a_group_goes_on_behind_what_it_committed(self, log: Log) -> None:
        """A new group starts at the beginning; later members start at the position, whatever was polled before."""
        await log.append([Message(topic="input", key="t/a", value=b"%d" % n, partition=0) for n in range(10)])
        first = await log.consumer(group="goes-on", topics=["input"], instance="one")
        records = await _records(first, 10)
        await first.commit(positions={Partition("input", 0): records[3].offset + 1})
        await first.close()
        second = await log.consumer(group="goes-on", topics=["input"], instance="two")

        again = await _records(second, 6)

        assert [record.value for record in again] == [b"%d" % n for n in range(4, 10)]
        other = await log.consumer(group="another", topics=["input"], instance="one")
        assert len(await _records(other, 10)) == 10

    async def test_a_poll_gives_at_most_its_maximum_and_never_waits_for_more(self, log: Log) -> None:
        """`maximum` bounds a batch; an empty partition answers when the time is over."""
        await log.append([_message("input", f"t/{n}", b"x") for n in range(25)])
        consumer = await log.consumer(group="bounded", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        sizes: list[int] = []
        while sum(sizes) < 25:
            sizes.append(len((await consumer.poll(maximum=7, timeout=_STEP)).records))
        assert max(sizes) <= 7
        assert await consumer.poll(maximum=7, timeout=_INSTANT) == Polled()
        one = await log.reader("input", "beginning")
        assert len(await _read(one, 1, maximum=1)) == 1

    async def test_records_that_come_while_waiting_wake_the_poll(self, log: Log) -> None:
        """A poll that waits answers with what is appended meanwhile."""
        consumer = await log.consumer(group="woken", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        waiting = asyncio.create_task(_records(consumer, 1))
        await asyncio.sleep(0)
        await log.append([_message("input", "t/a", b"now")])
        assert [record.value for record in await waiting] == [b"now"]

    async def test_a_cancelled_poll_loses_nothing(self, log: Log) -> None:
        """What arrives for a poll whose caller went away is given to the next one."""
        consumer = await log.consumer(group="cancelled", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        polling = asyncio.create_task(consumer.poll(maximum=10, timeout=PATIENCE))
        await asyncio.sleep(0)
        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling
        await log.append([_message("input", "t/a", b"x")])
        assert len(await _records(consumer, 1)) == 1

    async def test_a_commit_writes_messages_state_and_positions(self, log: Log) -> None:
        """After a commit all three are there, on the partitions that were named."""
        await log.append([Message(topic="input", key="t/a", value=b"1", partition=1)])
        consumer = await log.consumer(group="all", topics=["input"], instance="one", state_topic="state")
        (record,) = await _records(consumer, 1)
        await consumer.commit(
            positions={Partition("input", 1): record.offset + 1},
            messages=[
                Message(topic="output", key="t/a", value=b"out", partition=1, headers={"a": "b"}),
                Message(topic="output", key="t/a", value=None, partition=1),
            ],
            changes=[
                StateChange(partition=1, key="t/a", value=b"state"),
                StateChange(partition=1, key="t/b", value=b"\x00\xff"),
            ],
        )
        await consumer.commit(
            positions={Partition("input", 1): record.offset + 1},
            changes=[
                StateChange(partition=1, key="t/a", value=b"newer"),
                StateChange(partition=1, key="t/b", value=None),
            ],
        )
        reader = await log.reader("output", "beginning")
        written = await _read(reader, 2)
        assert [(found.value, found.partition) for found in written] == [(b"out", 1), (None, 1)]
        assert await log.positions("all", "input") == {1: record.offset + 1}
        await consumer.close()

        successor = await log.consumer(group="all", topics=["input"], instance="two", state_topic="state")

        owned = await _owning(successor, PARTITIONS)
        assert {found.partition.number: dict(found.state) for found in owned} == {0: {}, 1: {"t/a": b"newer"}}
        assert await successor.poll(maximum=1, timeout=_STEP) == Polled()

    async def test_a_refused_commit_writes_nothing(self, log: Log) -> None:
        """A message that is too large, an unknown topic, or state outside the positions: no part of it happens."""
        await log.append([Message(topic="input", key="t/a", value=b"1", partition=0)])
        consumer = await log.consumer(group="refused", topics=["input"], instance="one", state_topic="state")
        (record,) = await _records(consumer, 1)
        positions = {Partition("input", 0): record.offset + 1}
        fine = _message("output", "t/a", b"fine")
        change = StateChange(partition=0, key="t/a", value=b"state")
        with pytest.raises(MessageTooLarge):
            await consumer.commit(
                positions=positions,
                messages=[fine, _message("output", "t/a", b"x" * (MESSAGE_LIMIT_BYTES + 1))],
                changes=[change],
            )
        with pytest.raises(UnknownTopic):
            await consumer.commit(positions=positions, messages=[fine, _message("nowhere", "t/a", b"")])
        with pytest.raises(ValueError, match="positions"):
            await consumer.commit(
                positions=positions,
                messages=[fine],
                changes=[change, StateChange(partition=1, key="k", value=b"")],
            )

        assert await log.positions("refused", "input") == {}
        assert await _read_to_end(await log.reader("output", "beginning")) == []
        await consumer.commit(positions=positions, messages=[fine], changes=[change])
        assert len(await _read(await log.reader("output", "beginning"), 1)) == 1

    async def test_changes_need_a_state_topic(self, log: Log) -> None:
        """A consumer without state refuses changes; one with state has exactly one topic."""
        consumer = await log.consumer(group="stateless", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        with pytest.raises(ValueError, match="state topic"):
            await consumer.commit(
                positions={Partition("input", 0): 0}, changes=[StateChange(partition=0, key="k", value=b"v")]
            )
        with pytest.raises(ValueError, match="one topic"):
            await log.consumer(group="x", topics=["input", "output"], instance="one", state_topic="state")

    async def test_a_member_without_the_partition_is_fenced(self, log: Log) -> None:
        """Commits for a partition that went to another member are refused and write nothing."""
        first = await log.consumer(group="fenced", topics=["input"], instance="one", state_topic="state")
        await _owning(first, PARTITIONS)
        second = await log.consumer(group="fenced", topics=["input"], instance="two", state_topic="state")
        (lost,), (gained,) = await _rebalanced(first, second)
        assert lost == gained.partition

        with pytest.raises(Fenced):
            await first.commit(
                positions={lost: 0},
                messages=[_message("output", "t/a", b"zombie")],
                changes=[StateChange(partition=lost.number, key="zombie", value=b"")],
            )

        assert await _read_to_end(await log.reader("output", "beginning")) == []
        await second.commit(positions={lost: 0}, messages=[_message("output", "t/a", b"owner")])
        kept = Partition("input", 1 - lost.number)
        await first.commit(positions={kept: 0}, messages=[_message("output", "t/a", b"keeper")])
        values = {record.value for record in await _read(await log.reader("output", "beginning"), 2)}
        assert values == {b"owner", b"keeper"}

    async def test_a_second_life_of_an_instance_fences_the_first(self, log: Log) -> None:
        """When an instance comes back while its former self still runs, only the new one can commit."""
        former = await log.consumer(group="lives", topics=["input"], instance="one", state_topic="state")
        await _owning(former, PARTITIONS)
        await log.consumer(group="lives", topics=["input"], instance="one", state_topic="state")
        with pytest.raises(Fenced):
            await former.commit(
                positions={Partition("input", 0): 0, Partition("input", 1): 0},
                messages=[_message("output", "t/a", b"zombie")],
            )
        assert await _read_to_end(await log.reader("output", "beginning")) == []

    async def test_a_member_that_leaves_hands_over_at_once(self, log: Log) -> None:
        """Closing gives the partitions and their state to the others, with what was not committed."""
        await log.append([Message(topic="input", key=f"t/{n}", value=b"x", partition=n) for n in range(2)])
        first = await log.consumer(group="leaving", topics=["input"], instance="one", state_topic="state")
        for record in await _records(first, 2):
            if record.partition == 0:
                await first.commit(
                    positions={Partition("input", 0): record.offset + 1},
                    changes=[StateChange(partition=0, key=record.key, value=b"seen")],
                )
        second = await log.consumer(group="leaving", topics=["input"], instance="two", state_topic="state")
        await first.close()
        with pytest.raises(LogUnavailable):
            await first.poll(maximum=1, timeout=_INSTANT)
        with pytest.raises(LogUnavailable):
            await first.commit(positions={})

        owned = await _owning(second, PARTITIONS)

        assert {found.partition.number: dict(found.state) for found in owned} == {0: {"t/0": b"seen"}, 1: {}}
        assert [record.key for record in await _records(second, 1)] == ["t/1"]

    async def test_two_members_handle_every_record_once(self, log: Log) -> None:
        """While members come and go, each record is in exactly one commit, and the state has counted it once."""
        total = 300
        await log.append([_message("input", f"t/{n}", b"x") for n in range(total // 2)])
        first = asyncio.create_task(_fold(log, "one", until=total))
        output = await log.reader("output", "beginning")
        assert await output.poll(maximum=1, timeout=PATIENCE)  # the first one is at work
        second = asyncio.create_task(_fold(log, "two", until=total))
        for start in range(total // 2, total, 10):
            await log.append([_message("input", f"t/{n}", b"x") for n in range(start, start + 10)])
            await asyncio.sleep(0)
        await asyncio.gather(first, second)

        outputs = await _read_to_end(await log.reader("output", "beginning"))

        assert Counter(record.key for record in outputs) == Counter({f"t/{n}": 1 for n in range(total)})
        last = await log.consumer(group="fold", topics=["input"], instance="three", state_topic="state")
        states = await _owning(last, PARTITIONS)
        assert sum(int(found.state.get("count", b"0")) for found in states) == total
        assert set((await log.lag("fold", ["input"])).values()) == {0}

    async def test_a_paused_partition_is_silent_until_resumed(self, log: Log) -> None:
        """Pausing holds one partition back and leaves the others; nothing is lost."""
        consumer = await log.consumer(group="paused", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        consumer.pause([Partition("input", 0)])
        consumer.pause([Partition("input", 0)])
        await log.append([Message(topic="input", key=f"t/{n}", value=b"x", partition=n) for n in range(2)])
        assert [record.partition for record in await _records(consumer, 1)] == [1]
        assert await consumer.poll(maximum=10, timeout=_STEP) == Polled()
        consumer.resume([Partition("input", 0)])
        assert [record.partition for record in await _records(consumer, 1)] == [0]

    async def test_readers_start_where_they_are_told(self, log: Log) -> None:
        """From the beginning, from the end, or from an offset, per partition; no group is involved."""
        await log.append([Message(topic="input", key="t/a", value=b"%d" % n, partition=0) for n in range(5)])
        beginning = await log.reader("input", "beginning")
        records = await _read(beginning, 5)
        end = await log.reader("input", "end")
        middle = await log.reader("input", {0: records[3].offset})
        assert [record.value for record in await _read(middle, 2)] == [b"3", b"4"]
        assert await end.poll(maximum=10, timeout=_INSTANT) == []
        await log.append([Message(topic="input", key="t/a", value=b"later", partition=n) for n in range(2)])
        assert len(await _read(end, 2)) == 2
        assert len(await _read(beginning, 2)) == 2
        assert [record.partition for record in await _read(middle, 1)] == [0]
        assert await middle.poll(maximum=10, timeout=_INSTANT) == []

    async def test_a_reader_can_be_given_other_partitions(self, log: Log) -> None:
        """Partitions that stay go on where they are; new ones start where they are told; others fall silent."""
        await log.append([Message(topic="input", key="t/a", value=b"old", partition=n) for n in range(2)])
        reader = await log.reader("input", {0: "beginning"})
        await _read(reader, 1)
        await reader.assign({0: "beginning", 1: "beginning"})
        assert [record.partition for record in await _read(reader, 1)] == [1]
        await reader.assign({1: "beginning"})
        await log.append([Message(topic="input", key="t/a", value=b"new", partition=n) for n in range(2)])
        assert [(record.partition, record.value) for record in await _read(reader, 1)] == [(1, b"new")]
        assert await reader.poll(maximum=10, timeout=_STEP) == []
        with pytest.raises(ValueError, match="partitions"):
            await reader.assign({PARTITIONS: "end"})

    async def test_a_reader_knows_when_it_has_given_everything(self, log: Log) -> None:
        """`at_end` is true once all that was committed before was given, transactions included."""
        reader = await log.reader("output", "beginning")
        assert await reader.at_end()
        consumer = await log.consumer(group="end", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        for n in range(5):
            await consumer.commit(
                positions={Partition("input", 0): 0}, messages=[_message("output", "t/a", b"%d" % n)]
            )
            assert not await reader.at_end()
            assert [record.value for record in await _read_to_end(reader)] == [b"%d" % n]
        await reader.close()
        with pytest.raises(LogUnavailable):
            await reader.poll(maximum=1, timeout=_INSTANT)

    async def test_a_compacted_topic_keeps_the_last_record_of_each_key(self, log: Log) -> None:
        """Whoever reads it from the beginning ends up with the newest value of every key; a tombstone removes one."""
        for n in range(4):
            await log.append([_message("table", key, b"%d" % n) for key in ("t/a", "t/b", "t/c")])
        await log.append([_message("table", "t/b", None)])
        table = {
            record.key: record.value for record in await _read_to_end(await log.reader("table", "beginning"))
        }
        assert table == {"t/a": b"3", "t/b": None, "t/c": b"3"}

    async def test_lag_counts_what_is_not_committed(self, log: Log) -> None:
        """Lag goes up with appends and down with commits, to nothing."""
        await log.append([Message(topic="input", key="t/a", value=b"x", partition=0) for _ in range(5)])
        assert await log.lag("lagging", ["input"]) == {Partition("input", 0): 5, Partition("input", 1): 0}
        consumer = await log.consumer(group="lagging", topics=["input"], instance="one")
        records = await _records(consumer, 5)
        await consumer.commit(positions={Partition("input", 0): records[2].offset + 1})
        assert await log.lag("lagging", ["input"]) == {Partition("input", 0): 2, Partition("input", 1): 0}
        await consumer.commit(
            positions={Partition("input", 0): records[4].offset + 1},
            messages=[Message(topic="output", key="t/a", value=b"x", partition=1)],
        )
        assert set((await log.lag("lagging", ["input"])).values()) == {0}
        ends = await log.end_offsets("input")
        assert ends[0] >= records[4].offset + 1
        assert ends[1] == 0

    async def test_a_group_without_members_can_be_moved(self, log: Log) -> None:
        """`seek_group` starts a group over, or takes it to the end; one with members is left alone."""
        await log.append([_message("input", f"t/{n}", b"x") for n in range(6)])
        await log.seek_group("moved", ["input"], "end")
        assert set((await log.lag("moved", ["input"])).values()) == {0}
        consumer = await log.consumer(group="moved", topics=["input"], instance="one")
        await _owning(consumer, PARTITIONS)
        assert await consumer.poll(maximum=10, timeout=_STEP) == Polled()
        with pytest.raises(GroupBusy):
            await log.seek_group("moved", ["input"], "beginning")
        await consumer.close()
        await log.seek_group("moved", ["input"], "beginning")
        again = await log.consumer(group="moved", topics=["input"], instance="two")
        assert len(await _records(again, 6)) == 6

    async def test_a_closed_log_says_so(self, log: Log) -> None:
        """Closing ends consumers and readers; closing twice is harmless."""
        consumer = await log.consumer(group="closing", topics=["input"], instance="one")
        reader = await log.reader("input", "end")
        await log.close()
        await log.close()
        with pytest.raises(LogUnavailable):
            await consumer.poll(maximum=1, timeout=_INSTANT)
        with pytest.raises(LogUnavailable):
            await reader.poll(maximum=1, timeout=_INSTANT)
        with pytest.raises(LogUnavailable):
            await log.append([_message("input", "t/a", b"x")])


def _message(topic: str, key: str, value: bytes | None) -> Message:
    return Message(topic=topic, key=key, value=value)


async def _records(consumer: Consumer, count: int) -> list[Record]:
    """Poll until so many records came."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while len(records) < count:
            records += (await consumer.poll(maximum=1000, timeout=_STEP)).records
    assert len(records) == count, f"{len(records)} records instead of {count}"
    return records


async def _owning(consumer: Consumer, count: int) -> list[Assigned]:
    """Poll until the consumer has so many partitions; records must not come yet, or they would be lost here."""
    owned: dict[Partition, Assigned] = {}
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while len(owned) < count:
            polled = await consumer.poll(maximum=1, timeout=_STEP)
            for partition in polled.revoked:
                owned.pop(partition, None)
            owned.update((found.partition, found) for found in polled.assigned)
            assert len(owned) >= count or not polled.records, "records came before all partitions"
    return list(owned.values())


async def _rebalanced(giving: Consumer, taking: Consumer) -> tuple[Sequence[Partition], Sequence[Assigned]]:
    """Poll both members of a group until one partition went from the one to the other."""
    revoked: list[Partition] = []
    assigned: list[Assigned] = []
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not assigned:
            revoked += (await giving.poll(maximum=1, timeout=_STEP / 4)).revoked
            assigned += (await taking.poll(maximum=1, timeout=_STEP / 4)).assigned
    return revoked, assigned


async def _fold(log: Log, instance: str, *, until: int) -> None:
    """Answer each record of "input" with one on "output" and count it, until the group has counted `until`."""
    consumer = await log.consumer(group="fold", topics=["input"], instance=instance, state_topic="state")
    counts: dict[int, int] = {}
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while True:
            polled = await consumer.poll(maximum=7, timeout=_STEP)
            for revoked in polled.revoked:
                del counts[revoked.number]
            for assigned in polled.assigned:
                counts[assigned.partition.number] = int(assigned.state.get("count", b"0"))
            positions: dict[Partition, int] = {}
            for record in polled.records:
                counts[record.partition] += 1
                positions[Partition("input", record.partition)] = record.offset + 1
            if positions:
                await consumer.commit(
                    positions=positions,
                    messages=[_message("output", record.key, b"seen") for record in polled.records],
                    changes=[
                        StateChange(partition=found.number, key="count", value=b"%d" % counts[found.number])
                        for found in positions
                    ],
                )
            elif await _is_done(log, until):
                break
    await consumer.close()


async def _is_done(log: Log, until: int) -> bool:
    ends = await log.end_offsets("input")
    if sum(ends.values()) < until:
        return False
    return set((await log.lag("fold", ["input"])).values()) == {0}


async def _read(reader: Reader, count: int, *, maximum: int = 1000) -> list[Record]:
    """Poll a reader until so many records came."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while len(records) < count:
            records += await reader.poll(maximum=maximum, timeout=_STEP)
    assert len(records) == count, f"{len(records)} records instead of {count}"
    return records


async def _read_to_end(reader: Reader) -> list[Record]:
    """Poll a reader until it has given all there is."""
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not await reader.at_end():
            records += await reader.poll(maximum=1000, timeout=_STEP)
    return records
