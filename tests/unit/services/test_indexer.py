"""The indexer on the embedded log and index, both in memory: what it writes, and what it survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flowtide.errors import GroupBusy, IndexUnavailable
from flowtide.index.embedded import EmbeddedIndex
from flowtide.index.kinds import KINDS
from flowtide.index.port import Delete, Write
from flowtide.index.queries import Query, Sort
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model import events as e
from flowtide.model.dead_letters import DEAD_LETTER_DECODER
from flowtide.model.entries import Level, LogEntry
from flowtide.model.records import ENCODER
from flowtide.model.resources import FlowBody, Resource
from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.model.states import State
from flowtide.model.trigger_records import TriggerState
from flowtide.services.indexer import GROUP, TOPICS, Indexer, reindex
from flowtide.testing.contracts.index_samples import START, history

ALL_TOPICS = list(load_topics().values())


class Moody(EmbeddedIndex):
    """An embedded index that can be down."""

    def __init__(self) -> None:
        super().__init__(None)
        self.is_down = False
        self.tries = 0
        self.trial = asyncio.Event()
        self.reads = 0

    async def write(self, batch: Sequence[Write | Delete]) -> Mapping[int, str]:
        self.tries += 1
        self.trial.set()
        if self.is_down:
            raise IndexUnavailable("down")
        return await super().write(batch)

    async def tried(self, times: int) -> None:
        """Wait until it was written to so often."""
        async with asyncio.timeout(20):
            while self.tries < times:
                self.trial.clear()
                await self.trial.wait()

    async def get_many(self, kind: str, keys: Sequence[tuple[str, str]]) -> Any:
        self.reads += 1
        return await super().get_many(kind, keys)


@pytest.fixture
async def log() -> AsyncIterator[EmbeddedLog]:
    opened = EmbeddedLog(None, clock=START.timestamp)
    await opened.start()
    await opened.ensure_topics(ALL_TOPICS)
    yield opened
    await opened.close()


@pytest.fixture
async def index() -> AsyncIterator[Moody]:
    opened = Moody()
    await opened.start()
    yield opened
    await opened.close()


def indexer_of(log: EmbeddedLog, index: EmbeddedIndex, **options: Any) -> Indexer:
    return Indexer(log, index, clock=lambda: datetime(2026, 3, 2, tzinfo=UTC), **options)


def messages(events: Sequence[e.Event]) -> list[Message]:
    return [
        Message(
            topic="execution_events",
            key=f"{event.tenant_id}/{event.execution_id}",
            value=ENCODER.encode(event),
        )
        for event in events
    ]


async def drain(indexer: Indexer) -> int:
    """Index all that is there; the first step only joins the group."""
    total = await indexer.step()
    while count := await indexer.step():
        total += count
    return total


async def until_indexed(log: EmbeddedLog) -> None:
    """Wait until the group has committed all that is there."""
    async with asyncio.timeout(20):
        while True:
            if not sum((await log.lag(GROUP, TOPICS)).values()):
                return
            await asyncio.sleep(0)


async def found(index: EmbeddedIndex, kind: str, tenant: str = "main") -> list[dict[str, Any]]:
    return [one.document for one in (await index.search(tenant, Query(kind=kind))).results]


async def letters(log: EmbeddedLog) -> list[tuple[str, str]]:
    reader = await log.reader("dead_letters", "beginning")
    records = await reader.poll(maximum=100, timeout=timedelta(0))
    await reader.close()
    read = [DEAD_LETTER_DECODER.decode(record.value or b"") for record in records]
    return sorted((letter.key, letter.reason) for letter in read)


async def test_an_execution_becomes_documents(log: EmbeddedLog, index: Moody) -> None:
    """Seven events give one execution, one task run and seven events, without a read of the index."""
    await log.append(messages(history()))
    indexer = indexer_of(log, index)
    assert await drain(indexer) == 7
    [execution] = await found(index, "executions")
    assert (execution["state"]["current"], execution["lastEvent"]) == ("SUCCESS", 6)
    [run] = await found(index, "task_runs")
    assert (run["state"]["current"], run["outputs"]) == ("SUCCESS", {"x": 1})
    assert len(await found(index, "events")) == 7
    assert index.reads == 0
    await indexer.close()


@pytest.mark.parametrize("cut", range(8))
async def test_a_restart_at_any_record_gives_the_same(log: EmbeddedLog, index: Moody, cut: int) -> None:
    """Another indexer goes on from the index's documents where the first one stopped."""
    events = history()
    await log.append(messages(events[:cut]))
    first = indexer_of(log, index)
    await drain(first)
    await first.close()
    await log.append(messages(events[cut:]))
    second = indexer_of(log, index, batch_size=1)
    await drain(second)
    await second.close()
    whole = EmbeddedIndex(None)
    await whole.start()
    await log.seek_group(GROUP, TOPICS, "beginning")
    third = indexer_of(log, whole)
    await drain(third)
    await third.close()
    for kind in ("executions", "task_runs", "events"):
        assert await found(index, kind) == await found(whole, kind)
    await whole.close()


async def test_a_batch_writes_each_document_once(log: EmbeddedLog, index: Moody) -> None:
    """Several events of one document cost one write of it."""
    written: list[Write | Delete] = []
    original = index.write

    async def spy(batch: Sequence[Write | Delete]) -> Mapping[int, str]:
        written.extend(batch)
        return await original(batch)

    index.write = spy  # type: ignore[method-assign]  # a spy for this test only
    await log.append(messages(history()))
    indexer = indexer_of(log, index)
    await drain(indexer)
    await indexer.close()
    kinds = [write.kind for write in written]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"executions": 1, "task_runs": 1, "events": 7}


async def test_bad_records_go_to_dead_letters_and_the_rest_goes_on(log: EmbeddedLog, index: Moody) -> None:
    """Garbage on every topic is put aside with the reason; good records beside it are indexed."""
    for topic in TOPICS:
        await log.append([Message(topic=topic, key="main/garbage", value=b"\xff\x00 garbage")])
        await log.append([Message(topic=topic, key="main/unheard", value=b'{"type": "Unheard"}')])
    await log.append(messages(history()))
    orphan = messages(history("orphan")[3:4])
    await log.append(orphan)
    indexer = indexer_of(log, index)
    await drain(indexer)
    await indexer.close()
    reasons = await letters(log)
    assert len(reasons) == 2 * len(TOPICS) + 1
    assert [reason for key, reason in reasons if key == "main/orphan"] == [
        "BaseMissing: event 3 of execution orphan came without those before it"
    ]
    assert len(await found(index, "executions")) == 1
    assert sum((await log.lag(GROUP, TOPICS)).values()) == 0


async def test_a_document_that_the_index_refuses_is_put_aside(log: EmbeddedLog, index: Moody) -> None:
    """A line that does not fit the index is put aside with its record, and the others stay."""
    good = LogEntry(
        tenant_id="main", namespace="n", flow_id="f", timestamp=START, level=Level.INFO, message="good"
    )
    wide = msgspec.structs.replace(good, attempt_number=1 << 80)
    for entry in (wide, good):
        await log.append([Message(topic="logs", key="main/x", value=ENCODER.encode(entry))])
    indexer = indexer_of(log, index)
    await drain(indexer)
    await indexer.close()
    assert [line["message"] for line in await found(index, "logs")] == ["good"]
    assert len(await letters(log)) == 1


async def test_saved_flows_triggers_and_servers(log: EmbeddedLog, index: Moody) -> None:
    """The last record of each key stands; a deletion removes it; a flow that is no YAML is still listed."""

    def flow(source: str, revision: int, deleted: bool = False) -> bytes:
        body = msgspec.Raw(ENCODER.encode(FlowBody(source=source)))
        return ENCODER.encode(Resource(revision=revision, updated=START, body=body, deleted=deleted))

    source = "id: a\nnamespace: n.m\ndescription: It works\ndisabled: true\nlabels: {team: red}\ntasks: [{type: t.Log}]"
    trigger = TriggerState(
        tenant_id="main", namespace="n", flow_id="a", trigger_id="t", flow_revision=1, type="s", updated=START
    )
    server = ServiceInstance(
        id="w1",
        type=ServiceType.WORKER,
        state=ServiceState.RUNNING,
        host="h",
        version="1",
        started=START,
        heartbeat=START,
    )
    await log.append(
        [
            Message(topic="resources", key="main/flow/n.m/a", value=flow("id: a", 1)),
            Message(topic="resources", key="main/flow/n.m/a", value=flow(source, 2)),
            Message(topic="resources", key="main/flow/n.m/b", value=flow("a: [", 1)),
            Message(topic="resources", key="main/flow/n.m/c", value=flow("id: c", 1)),
            Message(topic="resources", key="main/flow/n.m/c", value=flow("id: c", 2, deleted=True)),
            Message(topic="resources", key="main/setting/x", value=b"anything"),
            Message(topic="trigger_events", key="main/n/a/t", value=ENCODER.encode(trigger)),
            Message(topic="services", key="w1", value=ENCODER.encode(server)),
        ]
    )
    indexer = indexer_of(log, index)
    await drain(indexer)
    page = await index.search("main", Query(kind="flows", sort=(Sort("id"),)))
    first, second = [one.document for one in page.results]
    assert (first["id"], first["revision"], first["description"]) == ("a", 2, "It works")
    assert first["disabled"] is True
    assert first["labels"] == [{"key": "team", "value": "red"}]
    assert first["taskTypes"] == ["t.Log"]
    assert first["source"] == source
    assert (second["id"], "error" in second) == ("b", True)
    assert [one["triggerId"] for one in await found(index, "triggers")] == ["t"]
    assert [one["id"] for one in await found(index, "services", "_system")] == ["w1"]
    removed = msgspec.structs.replace(trigger, removed=True)
    await log.append(
        [
            Message(topic="trigger_events", key="main/n/a/t", value=ENCODER.encode(removed)),
            Message(topic="services", key="w1", value=None),
        ]
    )
    await drain(indexer)
    await indexer.close()
    assert await found(index, "triggers") == []
    assert await found(index, "services", "_system") == []
    assert await letters(log) == []


async def test_nothing_is_lost_while_the_index_is_down(log: EmbeddedLog, index: Moody) -> None:
    """The indexer tries again until the index is back; the positions do not move before."""
    indexer = indexer_of(log, index, batch_duration=timedelta(0))
    running = asyncio.create_task(indexer.run())
    index.is_down = True
    await log.append(messages(history()))
    await index.tried(2)
    assert sum((await log.lag(GROUP, TOPICS)).values()) == 7
    index.is_down = False
    await until_indexed(log)
    assert [one["state"]["current"] for one in await found(index, "executions")] == ["SUCCESS"]
    indexer.stop()
    await running


async def test_it_stops_while_the_index_is_down(log: EmbeddedLog, index: Moody) -> None:
    """`stop` does not wait for the index; what was not written comes again."""
    indexer = indexer_of(log, index, batch_duration=timedelta(0))
    index.is_down = True
    await log.append(messages(history()))
    running = asyncio.create_task(indexer.run())
    await index.tried(1)
    indexer.stop()
    await running
    assert sum((await log.lag(GROUP, TOPICS)).values()) == 7
    index.is_down = False
    again = indexer_of(log, index)
    assert await drain(again) == 7
    await again.close()


async def test_a_replaced_member_starts_again(log: EmbeddedLog, index: Moody) -> None:
    """When the group throws the indexer out, it joins anew and nothing is missing."""
    indexer = indexer_of(log, index, batch_duration=timedelta(0))
    running = asyncio.create_task(indexer.run())
    await log.append(messages(history()[:3]))
    await until_indexed(log)
    log.expel("indexer")
    await log.append(messages(history()[3:]))
    await until_indexed(log)
    indexer.stop()
    await running
    assert [one["lastEvent"] for one in await found(index, "executions")] == [6]


async def test_indexing_anew_gives_the_same_documents(log: EmbeddedLog, index: Moody) -> None:
    """`reindex` empties the index and the log fills it again; not while an indexer runs."""
    await log.append(messages(history()))
    indexer = indexer_of(log, index)
    await drain(indexer)
    before = {kind: await found(index, kind) for kind in KINDS}
    with pytest.raises(GroupBusy):
        await reindex(log, index)
    assert len(await found(index, "executions")) == 1
    await indexer.close()
    await reindex(log, index)
    assert await found(index, "executions") == []
    again = indexer_of(log, index)
    assert await drain(again) == 7
    await again.close()
    assert {kind: await found(index, kind) for kind in KINDS} == before


async def test_metrics_tell_records_documents_and_batches(log: EmbeddedLog, index: Moody) -> None:
    """What MET-6 names is counted by topic and by kind."""
    counted: dict[tuple[str, str], int] = {}

    class Counting:
        def received(self, type: str, count: int) -> None:  # noqa: A002 - the protocol's word
            counted["in", type] = counted.get(("in", type), 0) + count

        def written(self, type: str, count: int) -> None:  # noqa: A002 - the protocol's word
            counted["out", type] = counted.get(("out", type), 0) + count

        def requested(self, duration: timedelta) -> None:
            counted["batch", ""] = counted.get(("batch", ""), 0) + 1

    await log.append(messages(history()))
    indexer = indexer_of(log, index, metrics=Counting())
    await drain(indexer)
    await indexer.close()
    assert counted == {
        ("in", "execution_events"): 7,
        ("out", "events"): 7,
        ("out", "executions"): 1,
        ("out", "task_runs"): 1,
        ("batch", ""): 1,
    }


async def test_a_long_loop_keeps_little_in_memory(log: EmbeddedLog, index: Moody) -> None:
    """Finished task runs and closed executions leave the cache."""
    [first, *_] = history()
    common: dict[str, Any] = {
        "tenant_id": "main",
        "execution_id": "execution000",
        "at": START,
        "cause": first.cause,
    }
    runs: list[e.Event] = []
    for number in range(200):
        runs.append(
            e.TaskRunCreated(
                **common, number=2 * number + 1, run_id=f"r{number}", task_id="t", state=State.SUBMITTED
            )
        )
        runs.append(e.TaskRunEnded(**common, number=2 * number + 2, run_id=f"r{number}", state=State.SUCCESS))
    await log.append(messages([first, *runs]))
    indexer = indexer_of(log, index, batch_size=50)
    await drain(indexer)
    [execution] = await found(index, "executions")
    assert execution["taskRunCount"] == {"total": 200, "SUCCESS": 200}
    assert len(indexer._task_runs._entries) == 0
    assert len(indexer._executions._entries) == 1
    await log.append(messages([e.ExecutionClosed(**common, number=401)]))
    await drain(indexer)
    assert len(indexer._executions._entries) == 0
    await indexer.close()
