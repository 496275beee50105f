"""The live view: events and base documents in, the execution as it is out, without gaps and without leaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowtide.index.documents import execution_write, fold_execution, fold_task_run, task_run_write
from flowtide.index.embedded import EmbeddedIndex
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model.events import (
    Event,
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
)
from flowtide.model.records import Cause, encode
from flowtide.model.states import State
from flowtide.services.live_view import KEPT_AT_MOST, MOST_RUNS, LiveExecution, LiveView

TOPICS = list(load_topics().values())
KEY = ExecutionKey("main", "e1")
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def history(execution_id: str = "e1") -> list[Any]:
    """An execution with one task run, from its creation to its end."""
    common: dict[str, Any] = {"tenant_id": "main", "execution_id": execution_id, "at": NOW}
    cause = Cause(command="CreateExecution")
    return [
        ExecutionCreated(**common, number=0, cause=cause, namespace="a", flow_id="f", flow_revision=1),
        ExecutionStarted(**common, number=1, cause=cause),
        TaskRunCreated(**common, number=2, cause=cause, run_id="r1", task_id="t", state=State.SUBMITTED),
        TaskRunEnded(
            **common, number=3, cause=Cause(command="ReportRunEnded"), run_id="r1", state=State.SUCCESS
        ),
        ExecutionEnded(**common, number=4, cause=cause, state=State.SUCCESS),
        ExecutionClosed(**common, number=5, cause=cause),
    ]


def test_events_are_folded_in_order_and_once() -> None:
    """Repeated events change nothing, early ones wait for those before them."""
    live = LiveExecution(KEY)
    events = history()
    for event in (events[0], events[0], events[3], events[2], events[1]):
        live.take(event)
    assert live.number == 3
    assert live.document is not None
    assert live.document["taskRunList"][0]["state"]["current"] == "SUCCESS"
    assert live.causes["ReportRunEnded"] == 1
    assert live.is_settled
    assert not live.is_over


def test_a_base_fills_the_gap() -> None:
    """With events ahead it is not settled; a base that reaches them makes it so, an older one is ignored."""
    events = history()
    live = LiveExecution(KEY)
    live.take(events[3])
    assert (live.number, live.is_settled) == (-1, False)
    header = None
    for event in events[:3]:
        header = fold_execution(header, event)
    assert header is not None
    run = fold_task_run(None, events[2], header)
    assert run is not None
    live.rebase(header, {"r1": run})
    assert (live.number, live.is_settled) == (3, True)
    live.rebase(fold_execution(None, history()[0]), {})
    assert live.number == 3


def test_the_json_is_encoded_once_per_state() -> None:
    """Everybody who watches gets the same bytes."""
    live = LiveExecution(KEY)
    live.take(history()[0])
    assert live.body is live.body
    before = live.body
    live.take(history()[1])
    assert live.body != before


def test_task_runs_beyond_the_limit_are_counted_only() -> None:
    """A loop of any length costs a bounded amount of memory."""
    live = LiveExecution(KEY)
    live.take(history()[0])
    common: dict[str, Any] = {"tenant_id": "main", "execution_id": "e1", "at": NOW, "cause": Cause(event=0)}
    for number in range(1, MOST_RUNS + 3):
        live.take(
            TaskRunCreated(**common, number=number, run_id=f"r{number}", task_id="t", state=State.SUBMITTED)
        )
    last = MOST_RUNS + 2
    live.take(TaskRunEnded(**common, number=last + 1, run_id=f"r{last}", state=State.SUCCESS))
    assert live.document is not None
    assert len(live.document["taskRunList"]) == MOST_RUNS
    assert live.document["taskRunCount"] == {"total": MOST_RUNS + 2, "SUCCESS": 1}


@dataclass
class Parts:
    """A live view on an empty log and index."""

    log: EmbeddedLog
    index: EmbeddedIndex
    view: LiveView

    async def happen(self, *events: Event) -> None:
        """Put events on the log."""
        await self.log.append(
            [
                Message(topic="execution_events", key=f"main/{event.execution_id}", value=encode(event))
                for event in events
            ]
        )

    async def become_indexed(self, *events: Event) -> None:
        """Put the documents as they are after these events into the index."""
        header: Any = None
        runs: dict[str, Any] = {}
        for event in events:
            header = fold_execution(header, event)
            run_id = getattr(event, "run_id", None)
            if run_id is not None:
                runs[run_id] = fold_task_run(runs.get(run_id), event, header)
        writes = [execution_write(header, 1), *(task_run_write(run, 1) for run in runs.values())]
        await self.index.write(writes)


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    """The parts, started."""
    log = EmbeddedLog(None, clock=lambda: 0.0, partitions=2)
    await log.start()
    await log.ensure_topics(TOPICS)
    index = EmbeddedIndex(None)
    await index.start()
    view = LiveView(log, index)
    await view.start()
    yield Parts(log, index, view)
    await view.close()
    await index.close()
    await log.close()


async def test_a_new_execution_is_watched_from_nothing(parts: Parts) -> None:
    """What is created inside the block is seen from its first event to its last."""
    async with parts.view.watch(KEY, new=True) as live:
        await parts.happen(*history())
        assert await live.until(lambda seen: seen.is_over, timedelta(seconds=10))
        assert live.document is not None
        assert live.document["taskRunList"][0]["taskId"] == "t"
    assert parts.view.size == 0


async def test_watching_begins_with_the_index_and_goes_on_with_the_log(parts: Parts) -> None:
    """The base comes from the index; later events from the log, without a gap between them."""
    events = history()
    await parts.happen(*events[:3])
    await parts.become_indexed(*history()[:3])
    async with parts.view.watch(KEY) as live:
        assert (live.state, live.number) == ("RUNNING", 2)
        await parts.happen(*events[3:])
        assert await live.until(lambda seen: seen.is_closed, timedelta(seconds=10))
        assert live.state == "SUCCESS"


async def test_what_the_index_did_not_have_yet_is_read_from_the_log(parts: Parts) -> None:
    """Events from before the watch that are not indexed yet are not lost, and nobody waits for the index."""
    await parts.happen(*history()[:4], *history("e2"))
    await parts.become_indexed(*history()[:2])
    async with parts.view.watch(KEY) as live, parts.view.watch(ExecutionKey("main", "e2")) as other:
        assert (live.number, live.is_settled) == (3, True)
        assert other.state == "SUCCESS"
    assert parts.view.size == 0


async def test_an_index_that_has_everything_proves_the_base(parts: Parts) -> None:
    """When the indexer's position is the end of the log, the base is known to be the present."""
    await parts.become_indexed(*history()[:2])
    async with parts.view.watch(KEY) as live:
        assert (live.number, live.is_settled) == (1, True)


async def test_followers_of_one_execution_share_it_and_only_its_partition_is_read(parts: Parts) -> None:
    """Five hundred followers cost one fold; when all are gone, nothing is left."""
    await parts.become_indexed(*history()[:2])

    async def follow(ready: asyncio.Semaphore) -> str | None:
        async with parts.view.watch(KEY) as live:
            ready.release()
            await live.until(lambda seen: seen.is_over)
            return live.state

    ready = asyncio.Semaphore(0)
    followers = [asyncio.create_task(follow(ready)) for _ in range(500)]
    for _ in range(500):
        await ready.acquire()
    assert parts.view.size == 1
    await parts.happen(*history()[2:])
    assert set(await asyncio.gather(*followers)) == {"SUCCESS"}
    assert parts.view.size == 0


async def test_a_commanded_execution_is_kept_until_the_index_has_caught_up(parts: Parts) -> None:
    """After the last watcher left, own writes are still seen; the index lets it go, or time does."""
    loop = asyncio.get_running_loop()
    async with parts.view.watch(KEY, new=True) as live:
        parts.view.keep(live)
        await parts.happen(*history()[:2])
        await live.until(lambda seen: seen.number == 1)
    assert parts.view.get(KEY) is live
    await parts.view.sweep(loop.time() + 20)
    assert parts.view.get(KEY) is live  # the index does not know it
    await parts.become_indexed(*history()[:2])
    await parts.view.sweep(loop.time() + 60)
    assert parts.view.size == 0
    async with parts.view.watch(KEY) as live:
        parts.view.keep(live)
        await parts.happen(history()[2])
        await live.until(lambda seen: seen.number == 2)
    await parts.view.sweep(loop.time() + KEPT_AT_MOST.total_seconds() + 1)
    assert parts.view.size == 0


async def test_garbage_on_the_log_disturbs_nobody(parts: Parts) -> None:
    """A record that is no event is passed over."""
    async with parts.view.watch(KEY, new=True) as live:
        for value in (b"\xff", b"{}", None):
            await parts.log.append([Message(topic="execution_events", key=str(KEY), value=value)])
        await parts.happen(history()[0])
        assert await live.until(lambda seen: seen.number == 0, timedelta(seconds=10))


async def test_remembered_creations_are_bounded_by_their_size(parts: Parts) -> None:
    """Many creations with large inputs do not fill the memory; the latest ones are known."""
    keys = [ExecutionKey("main", f"e{number}") for number in range(40)]
    for key in [*keys, keys[-1]]:
        parts.view.remember_created(key, bytes(1_000_000))
    known = [key for key in keys if parts.view.created(key) is not None]
    assert known == keys[8:]
    for key in keys:
        parts.view.forget_created(key)
    parts.view.remember_created(KEY, bytes(32_000_000))
    assert parts.view.created(KEY) is not None


def test_an_end_that_closes_leaves_nothing_to_wait_for() -> None:
    """Without tasks after the execution its end is the last event: what is known is final."""
    live = LiveExecution(KEY)
    for event in history()[:4]:
        live.take(event)
    end = ExecutionEnded(
        tenant_id="main",
        execution_id="e1",
        at=NOW,
        number=4,
        cause=Cause(event=3),
        state=State.SUCCESS,
        closed=True,
    )
    live.take(end)
    assert live.is_closed


async def test_an_unknown_execution_is_nothing(parts: Parts) -> None:
    """Watching what does not exist gives nothing, and leaves nothing."""
    async with parts.view.watch(ExecutionKey("other", "e1")) as live:
        assert live.header is None
        assert live.document is None
    assert parts.view.size == 0
