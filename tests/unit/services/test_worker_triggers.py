"""Triggers on a worker: jobs in, reports, lines and files out; on an embedded log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from flowtide.log.port import Message
from flowtide.model.conditions.dates import DayWeek
from flowtide.model.conditions.expression import Expression
from flowtide.model.entries import Level
from flowtide.model.jobs import EvaluateTrigger, FlowRef, ListenTrigger, StopTrigger, TriggerJob
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.task import RunContext
from flowtide.model.trigger import PollingTrigger, RealtimeTrigger, TriggerEvent
from flowtide.model.trigger_records import (
    TRIGGER_COMMAND_DECODER,
    HandBackTrigger,
    ReportListeningEnded,
    ReportTriggerEvaluated,
    ReportTriggerEvent,
    ReportTriggerStarted,
    TriggerCommand,
)
from tests.unit.services.worker_harness import WorkerHarness

FOUND: dict[str, Callable[[RunContext], Any]] = {}  # what the triggers of a test find, by their `what`
LISTENED: dict[str, Callable[[RunContext], AsyncIterator[TriggerEvent]]] = {}


class Ask(PollingTrigger):
    """Asks the test."""

    what: str

    async def evaluate(self, context: RunContext) -> Mapping[str, Any] | None:
        """Give what the test says."""
        found = FOUND[await context.evaluate(self.what, typed=False)](context)
        return await found if asyncio.iscoroutine(found) else found  # type: ignore[no-any-return]  # the test's


class Block(PollingTrigger):
    """Asks the test in a thread."""

    mode: ClassVar[Literal["async", "thread"]] = "thread"
    what: str

    def evaluate(self, context: RunContext) -> Any:
        """Give what the test says."""
        return FOUND[self.what](context)


class Hear(RealtimeTrigger):
    """Listens to the test."""

    what: str

    def listen(self, context: RunContext) -> AsyncIterator[TriggerEvent]:
        """Give what the test says."""
        return LISTENED[self.what](context)


REGISTRY = Registry(
    {
        ("trigger", "Ask"): Ask,
        ("trigger", "Block"): Block,
        ("trigger", "Hear"): Hear,
        ("condition", "DayWeek"): DayWeek,
        ("condition", "Expression"): Expression,
    }
)


class Bench:
    """A worker, and what it says about triggers."""

    def __init__(self, harness: WorkerHarness) -> None:
        self.harness = harness
        self.said: list[TriggerCommand] = []

    async def follow(self) -> None:
        reader = await self.harness.log.reader("trigger_commands", "beginning")
        while True:
            for record in await reader.poll(maximum=100, timeout=timedelta(seconds=1)):
                self.said.append(TRIGGER_COMMAND_DECODER.decode(record.value or b""))

    def job(
        self, kind: type[EvaluateTrigger | ListenTrigger], name: str = "j1", **trigger: Any
    ) -> TriggerJob:
        return kind(
            tenant_id="main",
            flow=FlowRef(namespace="company.team", id="f", revision=1),
            trigger_id="watch",
            job_id=name,
            trigger=msgspec.Raw(encode({"id": "watch", **trigger})),
            variables=msgspec.Raw(
                encode({"vars": {"what": "thing"}, "trigger": {"date": "2026-01-05T12:00:00Z"}})
            ),
            at=self.harness.clock.now(),
        )

    async def give(self, job: TriggerJob) -> None:
        await self.harness.log.append(
            [Message(topic="worker_jobs", key="main/company.team/f/watch", value=encode(job))]
        )

    async def poll(self, **trigger: Any) -> ReportTriggerEvaluated:
        """Have a trigger evaluated."""
        asked = {"type": "Ask", **trigger}
        if asked["type"] in ("Ask", "Block"):
            asked.setdefault("what", "thing")
        job = self.job(EvaluateTrigger, f"j{len(self.said)}", **asked)
        await self.give(job)
        await self.harness.until(lambda: self.of(ReportTriggerEvaluated, job.job_id))
        report = self.of(ReportTriggerEvaluated, job.job_id)[0]
        assert isinstance(report, ReportTriggerEvaluated)
        return report

    def of(self, kind: type[Any], job_id: str) -> list[Any]:
        return [each for each in self.said if isinstance(each, kind) and each.job_id == job_id]


@asynccontextmanager
async def bench_in(folder: Path, **settings: Any) -> AsyncIterator[Bench]:
    async with WorkerHarness(folder, **{"registry": REGISTRY, **settings}) as harness:
        bench = Bench(harness)
        following = asyncio.create_task(bench.follow())
        harness.start()
        try:
            yield bench
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path, secrets={"SECRET_KEY": "c2VzYW1l"}) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_left() -> Any:
    yield
    FOUND.clear()
    LISTENED.clear()


# Polling.


async def test_an_evaluation_sees_what_tasks_see(bench: Bench) -> None:
    """NSF-11: variables of the flow and secrets in properties, files of the execution to be, lines of the trigger."""
    seen: dict[str, Any] = {}

    async def look(context: RunContext) -> dict[str, Any]:
        seen["flow"] = context.render("{{ flow.namespace }}.{{ flow.id }} {{ trigger.date }}")
        seen["uri"] = await context.put_bytes(b"found", "found.txt")
        context.logger.log(Level.INFO, "with {}", context.render("{{ secret('KEY') }}"))
        return {"uri": seen["uri"], "rows": [1, 2]}

    FOUND["thing"] = look
    report = await bench.poll(what="{{ vars.what }}", inputs={"n": "{{ trigger.rows | length }}"})
    assert (report.fired, report.error) == (True, None)
    assert report.variables == {"uri": seen["uri"], "rows": [1, 2]}
    assert report.inputs == {"n": 2}
    assert seen["flow"] == "company.team.f 2026-01-05T12:00:00Z"
    assert seen["uri"] == f"kestra:///company/team/f/executions/{report.job_id}/trigger/watch/found.txt"
    assert await bench.harness.storage.get("main", seen["uri"]) == b"found"
    await bench.harness.until(lambda: bench.harness.lines)
    (line,) = bench.harness.lines
    assert (line.message, line.trigger_id, line.execution_id, line.flow_id) == (
        "with ******",
        "watch",
        None,
        "f",
    )


async def test_nothing_found_is_told_too(bench: Bench) -> None:
    """None starts nothing; an empty mapping does."""
    FOUND["thing"] = lambda context: None
    assert not (await bench.poll()).fired
    FOUND["thing"] = lambda context: {}
    assert (await bench.poll()).fired
    FOUND["thing"] = lambda context: {"threads": "too"}
    assert (await bench.poll(type="Block")).variables == {"threads": "too"}


async def test_conditions_on_the_date_are_decided_before_anything_is_taken(bench: Bench) -> None:
    """TRG-06: what is taken from a source is never thrown away because it is Sunday; START is a Monday."""
    asked: list[str] = []

    def look(context: RunContext) -> dict[str, Any]:
        asked.append("")
        return {"price": 100}

    FOUND["thing"] = look
    on = {"type": "DayWeek"}
    assert not (await bench.poll(conditions=[{**on, "dayOfWeek": "SUNDAY"}])).fired
    assert asked == []
    cheap = {"type": "Expression", "expression": "{{ trigger.price < 50 }}"}
    assert not (await bench.poll(conditions=[{**on, "dayOfWeek": "MONDAY"}, cheap])).fired
    assert asked == [""]
    fair = {"type": "Expression", "expression": "{{ trigger.price < 150 }}"}
    assert (await bench.poll(conditions=[{**on, "dayOfWeek": "MONDAY"}, fair])).fired


async def test_what_fails_is_told_with_a_line_and_without_secrets(bench: Bench) -> None:
    """TRG-08: the evaluation, a template, a condition, inputs, and a type that this worker does not have."""

    def fail(context: RunContext) -> None:
        secret = context.render("{{ secret('KEY') }}")
        raise OSError(f"no route with {secret}")

    FOUND["thing"] = fail
    report = await bench.poll()
    assert report.error == "OSError: no route with ******"
    FOUND["thing"] = lambda context: {"n": 1}
    assert "nowhere" in ((await bench.poll(what="{{ nowhere }}")).error or "")
    assert "nowhere" in ((await bench.poll(inputs={"n": "{{ nowhere }}"})).error or "")
    broken = {"type": "Expression", "expression": "{{ nowhere }}"}
    assert "nowhere" in ((await bench.poll(conditions=[broken])).error or "")
    assert "no PollingTrigger of type `Other`" in ((await bench.poll(type="Other")).error or "")
    FOUND["thing"] = lambda context: {"body": "x" * 800_000}
    assert "larger than the limit" in ((await bench.poll()).error or "")
    FOUND["thing"] = lambda context: "text"
    assert "must be a mapping" in ((await bench.poll()).error or "")
    await bench.harness.until(
        lambda: len([each for each in bench.harness.lines if each.level == "ERROR"]) == 7
    )
    assert {line.trigger_id for line in bench.harness.lines} == {"watch"}


async def test_lines_below_the_log_level_are_dropped_and_a_file_takes_all_others(bench: Bench) -> None:
    """TRG-01: `logLevel`, `logToFile`."""

    def look(context: RunContext) -> dict[str, Any]:
        context.logger.log(Level.INFO, "hidden")
        context.logger.log(Level.WARN, "kept")
        return {}

    FOUND["thing"] = look
    report = await bench.poll(type="Block", logLevel="WARN", logToFile=True)
    assert report.log_file is not None, report
    content = (await bench.harness.storage.get("main", report.log_file)).decode()
    assert "kept" in content
    assert "hidden" not in content


async def test_an_evaluation_ends_when_it_is_told_to(bench: Bench) -> None:
    """Without a report, as nobody waits for it; the worker takes the next one."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def hang(context: RunContext) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    FOUND["thing"] = hang
    job = bench.job(EvaluateTrigger, "hung", type="Ask", what="thing")
    await bench.give(job)
    await began.wait()
    assert bench.harness.worker.running == 1
    stop = StopTrigger(tenant_id="main", job_id=job.job_id, at=bench.harness.clock.now())
    await bench.harness.log.append([Message(topic="worker_controls", key="x", value=encode(stop))])
    await ended.wait()
    await bench.harness.until(lambda: bench.harness.worker.running == 0)
    FOUND["thing"] = lambda context: {}
    assert (await bench.poll()).fired
    assert [type(each) for each in bench.said if getattr(each, "job_id", "") == "hung"] == [
        ReportTriggerStarted
    ]


# Realtime.


async def test_events_are_durable_before_the_next_one_is_asked_for(bench: Bench) -> None:
    """RTT-01: a source may forget an event when the next one is asked for; names of events travel on."""
    durable: list[int] = []

    async def listen(context: RunContext) -> AsyncIterator[TriggerEvent]:
        for number in range(3):
            yield TriggerEvent(variables={"value": number}, id=f"0/{number}")
            records = await bench.harness.log.end_offsets("trigger_commands")
            durable.append(sum(records.values()))
        await asyncio.Event().wait()

    LISTENED["thing"] = listen
    job = bench.job(ListenTrigger, type="Hear", what="thing", inputs={"n": "{{ trigger.value + 1 }}"})
    await bench.give(job)
    await bench.harness.until(lambda: len(bench.of(ReportTriggerEvent, "j1")) == 3)
    events = bench.of(ReportTriggerEvent, "j1")
    assert [(each.event_id, each.variables, each.inputs) for each in events] == [
        (f"0/{number}", {"value": number}, {"n": number + 1}) for number in range(3)
    ]
    await bench.harness.until(lambda: len(durable) == 3)
    assert durable == [2, 3, 4]  # after "it runs"


async def test_listeners_do_not_take_slots(tmp_path: Path) -> None:
    """A worker of one slot listens twice and still evaluates."""

    async def listen(context: RunContext) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent()
        await asyncio.Event().wait()

    LISTENED["thing"] = listen
    FOUND["thing"] = lambda context: {}
    async with bench_in(tmp_path, threads=1) as bench:
        for name in ("a", "b"):
            await bench.give(bench.job(ListenTrigger, name, type="Hear", what="thing"))
        assert (await bench.poll()).fired
        await bench.harness.until(
            lambda: bench.of(ReportTriggerEvent, "a") and bench.of(ReportTriggerEvent, "b")
        )
        names = [bench.of(ReportTriggerEvent, name)[0].event_id for name in ("a", "b")]
        assert len(set(names)) == 1  # without a name of their own they are told apart by their trigger


async def test_events_whose_conditions_do_not_hold_are_passed_over(bench: Bench) -> None:
    """TRG-06; one that cannot be decided is told as an error, and listening goes on."""

    async def listen(context: RunContext) -> AsyncIterator[TriggerEvent]:
        for value in (1, "x", 2):
            yield TriggerEvent(variables={"value": value} if value != "x" else {})
        await asyncio.Event().wait()

    LISTENED["thing"] = listen
    big = {"type": "Expression", "expression": "{{ trigger.value > 1 }}"}
    await bench.give(bench.job(ListenTrigger, type="Hear", what="thing", conditions=[big]))
    await bench.harness.until(lambda: len(bench.of(ReportTriggerEvent, "j1")) == 2)
    failed, taken = bench.of(ReportTriggerEvent, "j1")
    assert "value" in (failed.error or "")
    assert taken.variables == {"value": 2}


async def test_a_listening_that_ends_or_fails_is_told(bench: Bench) -> None:
    """The scheduler decides when to listen again."""

    async def end(context: RunContext) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent()

    async def fail(context: RunContext) -> AsyncIterator[TriggerEvent]:
        if LISTENED:
            raise ConnectionError("broker away")
        yield TriggerEvent()

    for name, listen in (("a", end), ("b", fail)):
        LISTENED[name] = listen
        await bench.give(bench.job(ListenTrigger, name, type="Hear", what=name))
        await bench.harness.until(partial(bench.of, ReportListeningEnded, name))
    assert bench.of(ReportListeningEnded, "a")[0].error is None
    assert "broker away" in bench.of(ReportListeningEnded, "b")[0].error


async def test_a_worker_that_stops_hands_back_what_it_listens_to(bench: Bench) -> None:
    """RTT-02: at once, before it waits for what else runs; the source is closed."""
    closed = asyncio.Event()

    async def listen(context: RunContext) -> AsyncIterator[TriggerEvent]:
        try:
            yield TriggerEvent()
            await asyncio.Event().wait()
        finally:
            closed.set()

    LISTENED["thing"] = listen
    await bench.give(bench.job(ListenTrigger, type="Hear", what="thing"))
    await bench.harness.until(lambda: bench.of(ReportTriggerEvent, "j1"))
    await bench.harness.worker.stop(timedelta(0))
    assert closed.is_set()
    await bench.harness.until(lambda: bench.of(HandBackTrigger, "j1"))
    assert bench.of(ReportListeningEnded, "j1") == []
