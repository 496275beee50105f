"""Attempts that are not inline: slots, kills, timeouts, stops, and what must not break a worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from flowtide.errors import Fenced, LogUnavailable, TaskFailed, TaskWarning, UnknownTopic
from flowtide.expressions import Limits
from flowtide.log.embedded.log import EmbeddedConsumer, EmbeddedReader
from flowtide.log.port import Message, Reader, StartAt
from flowtide.model.commands import ReportEvaluation, ReportRunEnded, ReportRunStarted
from flowtide.model.dead_letters import DEAD_LETTER_DECODER
from flowtide.model.entries import Level
from flowtide.model.jobs import Evaluate, FlowRef, KillRun, RunTask
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.model.task import RunContext, RunnableTask
from tests.unit.services.worker_harness import REGISTRY, WorkerHarness


class Gate(RunnableTask):
    """Waits until the test opens it; says when it began and how it ended."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    opened: ClassVar[asyncio.Event]
    begun: ClassVar[list[str]]
    cancelled: ClassVar[list[str]]

    async def run(self, context: RunContext) -> dict[str, Any]:
        Gate.begun.append(context.task_run_id)
        try:
            await Gate.opened.wait()
        except asyncio.CancelledError:
            Gate.cancelled.append(context.task_run_id)
            raise
        return {"run": context.task_run_id}


class Stubborn(RunnableTask):
    """Blocks a thread until the test lets it go."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    release: ClassVar[threading.Event]
    begun: ClassVar[threading.Event]
    told: ClassVar[list[str]]

    def run(self, context: RunContext) -> dict[str, Any]:
        Stubborn.begun.set()
        context.on_kill(lambda: Stubborn.told.append(context.task_run_id))
        Stubborn.release.wait(30)
        context.logger.info("too late")
        return {}


class Misbehaving(RunnableTask):
    """Does what a task should not do."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    how: str

    def run(self, context: RunContext) -> Any:
        match self.how:
            case "exit":
                raise SystemExit(3)
            case "list":
                return [1]
            case "set":
                return {"value": {1, 2}}
            case "deep":
                nested: list[Any] = []
                for _ in range(100_000):
                    nested = [nested]
                return {"value": nested}
            case "crash":
                raise ZeroDivisionError("made up")
            case "warning":
                raise TaskWarning("so so", outputs={"kept": 1})
            case "kept":
                raise TaskFailed("no", outputs={"kept": 1})
            case "reserved":
                return {"$offloaded": {"uri": "x"}}
            case "half a character":
                context.logger.info("\ud800")
                return {}
            case "file":
                uri = context.call(context.put_bytes(b"content", "a/b.txt"))
                return {"uri": uri, "back": context.call(context.get_bytes(uri)).decode()}
        raise AssertionError(self.how)


_MADE_UP = {"Gate": Gate, "Stubborn": Stubborn, "Misbehaving": Misbehaving}


@pytest.fixture
def registry() -> Registry:
    Gate.opened = asyncio.Event()
    Gate.begun, Gate.cancelled = [], []
    Stubborn.release, Stubborn.begun, Stubborn.told = threading.Event(), threading.Event(), []
    plugins: dict[Any, Any] = {
        ("task", f"io.kestra.plugin.test.{name}"): made for name, made in _MADE_UP.items()
    }
    plugins |= {(kind, name): found for kind, name, found in REGISTRY}
    return Registry(plugins)


@pytest.fixture
async def harness(tmp_path: Path, registry: Registry) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path, registry=registry, threads=2) as harness:
        harness.start()
        yield harness
        Stubborn.release.set()


async def test_jobs_beyond_the_slots_wait_in_the_log(harness: WorkerHarness) -> None:
    """With two slots a third job is neither started nor committed, and is shown as pending; then it runs."""
    jobs = [harness.job("test.Gate") for _ in range(3)]
    await harness.send(*jobs)
    await harness.until(lambda: len(Gate.begun) == 2 and harness.worker.pending == 1)
    assert sum(isinstance(report, ReportRunStarted) for report in harness.reports) == 2
    assert await harness.log.positions("worker", "worker_jobs") == {0: 2}
    assert harness.metrics.gauge("worker.job.pending", "").read() == 1
    Gate.opened.set()
    for job in jobs:
        assert (await harness.end_of(job)).outputs == {"run": job.run_id}
    assert await harness.log.positions("worker", "worker_jobs") == {0: 3}


async def test_an_inline_job_needs_no_slot(tmp_path: Path, registry: Registry) -> None:
    """On another partition than the one that waits, a Log runs while all slots are taken."""
    async with WorkerHarness(tmp_path, registry=registry, threads=1) as harness:
        harness.start()
        await harness.send(harness.job("test.Gate"))
        await harness.until(lambda: Gate.begun)
        assert (await harness.run("core.log.Log", message="x")).state is State.SUCCESS


async def test_a_kill_ends_a_running_task(harness: WorkerHarness) -> None:
    """KillRun cancels the coroutine; KILLED is reported."""
    job = harness.job("test.Gate")
    await harness.send(job)
    await harness.until(lambda: Gate.begun)
    await harness.kill(job.run_id)
    assert (await harness.end_of(job)).state is State.KILLED
    assert Gate.cancelled == [job.run_id]


async def test_a_kill_keeps_a_waiting_job_from_starting(harness: WorkerHarness) -> None:
    """A kill that arrives before its turn: the run is reported KILLED and never begins."""
    first, second, third = (harness.job("test.Gate") for _ in range(3))
    await harness.send(first, second, third)
    await harness.until(lambda: harness.worker.pending == 1)
    await harness.kill(third.run_id)
    await asyncio.sleep(0.05)
    Gate.opened.set()
    assert (await harness.end_of(third)).state is State.KILLED
    assert third.run_id not in Gate.begun


async def test_a_kill_of_an_earlier_run_does_not_touch_a_later_one(harness: WorkerHarness) -> None:
    """A run that was handed out after the kill, for example by a restart, runs."""
    await harness.kill("r1")
    await asyncio.sleep(0.05)
    harness.clock.advance(timedelta(seconds=1))
    assert (await harness.run("core.log.Log", message="again")).state is State.SUCCESS


async def test_a_kill_of_one_attempt_leaves_another_one_alone(harness: WorkerHarness) -> None:
    """A late start of attempt 0 is stopped while attempt 1, handed out before that, waits: attempt 1 runs."""
    job = msgspec.structs.replace(harness.job("core.log.Log", message="again"), attempt=1)
    late = KillRun(
        tenant_id="main",
        execution_id="e1",
        run_id=job.run_id,
        at=harness.clock.now() + timedelta(seconds=1),
        attempt=0,
    )
    controls = [encode(late), b"a mark by which this test knows that the kill was read"]
    await harness.log.append(
        [Message(topic="worker_controls", key="main/e1", value=value) for value in controls]
    )
    await harness.until(lambda: harness.problems)
    await harness.send(job)
    assert (await harness.end_of(job)).state is State.SUCCESS


async def test_a_kill_during_an_interruption_is_not_lost(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controls are read on from where they were read last."""
    readers: list[Reader] = []
    async with WorkerHarness(tmp_path, registry=registry) as harness:
        opened = harness.log.reader

        async def open_reader(topic: str, starts: Mapping[int, int | StartAt] | StartAt) -> EmbeddedReader:
            reader = await opened(topic, starts)
            if topic == "worker_controls":
                readers.append(reader)
            return reader

        monkeypatch.setattr(harness.log, "reader", open_reader)
        harness.start()
        job = harness.job("test.Gate")
        await harness.send(job)
        await harness.until(lambda: Gate.begun and readers)
        await readers[0].close()
        await harness.until(lambda: harness.problems)
        await harness.kill(job.run_id)
        harness.clock.advance(timedelta(seconds=1))
        assert (await harness.end_of(job)).state is State.KILLED


async def test_garbage_among_the_kills_does_not_end_their_reading(harness: WorkerHarness) -> None:
    """Neither what is no text nor what is nested beyond all bounds."""
    for garbage in (b'{"run_id":"\xff"}', b'{"more":' + b"[" * 9_000 + b"]" * 9_000 + b"}"):
        await harness.log.append([Message(topic="worker_controls", key="main/e1", value=garbage)])
    job = harness.job("test.Gate")
    await harness.send(job)
    await harness.until(lambda: Gate.begun)
    await harness.kill(job.run_id)
    assert (await harness.end_of(job)).state is State.KILLED


async def test_a_worker_that_cannot_report_any_more_ends_with_the_reason(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not stay a member of its group, taking jobs whose ends nobody will ever hear of."""

    async def refuse(messages: Sequence[Message]) -> None:
        raise UnknownTopic(messages[0].topic)

    async with WorkerHarness(tmp_path, registry=registry) as harness:
        running = harness.start()
        job = harness.job("test.Gate")
        await harness.send(job)
        await harness.until(lambda: Gate.begun)
        monkeypatch.setattr(harness.log, "append", refuse)
        Gate.opened.set()
        with pytest.raises(UnknownTopic):
            await running
        assert not harness.worker.is_consuming


async def test_a_thread_that_ignores_its_kill_is_reported_and_keeps_its_slot(harness: WorkerHarness) -> None:
    """A thread cannot be ended: KILLED is reported, its slot stays taken, what it writes later is dropped."""
    job = harness.job("test.Stubborn")
    await harness.send(job)
    await harness.until(Stubborn.begun.is_set)
    await harness.kill(job.run_id)
    assert (await harness.end_of(job)).state is State.KILLED
    await harness.until(lambda: Stubborn.told)
    assert set(Stubborn.told) == {job.run_id}
    assert harness.worker.running == 1
    Stubborn.release.set()
    await harness.until(lambda: harness.worker.running == 0)
    assert "too late" not in harness.messages()


async def test_a_timeout_fails_the_attempt(harness: WorkerHarness) -> None:
    """TMO-01: over its time the attempt is stopped and FAILED; the timeout may be a template."""
    job = harness.job("test.Gate", timeout="PT{{ inputs.n }}S", variables={"inputs": {"n": 5}})
    await harness.send(job)
    await harness.until(lambda: Gate.begun and harness.clock.sleeping)
    harness.clock.advance(timedelta(seconds=5))
    ended = await harness.end_of(job)
    assert (ended.state, ended.error) == (State.FAILED, "the attempt took longer than its timeout of PT5S")
    assert Gate.cancelled == [job.run_id]


async def test_a_timeout_that_is_none_names_the_property(harness: WorkerHarness) -> None:
    """A template that gives no duration fails the attempt before it begins."""
    ended = await harness.run("test.Gate", timeout="{{ 'soon' }}")
    assert ended.error is not None
    assert ended.error.startswith("property `timeout`: 'soon' is not an ISO-8601 duration")
    assert Gate.begun == []


@pytest.mark.parametrize(
    ("how", "state", "error", "outputs"),
    [
        ("exit", State.FAILED, "the task tried to end the worker: SystemExit", {}),
        ("list", State.FAILED, "the task gave list as outputs; they must be a mapping", {}),
        ("deep", State.FAILED, "the outputs cannot be written as JSON", {}),
        ("crash", State.FAILED, "ZeroDivisionError: made up", {}),
        ("kept", State.FAILED, "no", {"kept": 1}),
        ("warning", State.WARNING, None, {"kept": 1}),
        ("reserved", State.FAILED, "an output cannot have the name `$offloaded`, which is reserved", {}),
        ("half a character", State.SUCCESS, None, {}),
    ],
)
async def test_what_a_task_does_wrong_ends_its_run_only(
    harness: WorkerHarness, how: str, state: State, error: str | None, outputs: dict[str, Any]
) -> None:
    """Whatever a task does, its run is reported with a sentence and the worker goes on."""
    ended = await harness.run("test.Misbehaving", how=how)
    assert (ended.state, ended.outputs) == (state, outputs)
    assert (ended.error or "").startswith(error or "")
    if error is not None:
        await harness.until(lambda: any(error in line for line in harness.messages("ERROR")))
    assert not any("Traceback" in line.message for line in harness.lines if line.level is not Level.TRACE)
    assert (await harness.run("core.log.Log", message="still here")).state is State.SUCCESS


async def test_a_thread_reaches_files_through_call(harness: WorkerHarness) -> None:
    """Files of a task run are stored under its own folder and read back."""
    ended = await harness.run("test.Misbehaving", how="file")
    assert ended.outputs == {
        "uri": "kestra:///company/team/f/executions/e1/tasks/t/r1/a/b.txt",
        "back": "content",
    }


async def test_garbage_goes_to_the_dead_letters(harness: WorkerHarness) -> None:
    """Bytes that are no job are put aside with the reason; the next job runs."""
    await harness.send(b"\xff\x00garbage", b'{"type":"Unknown"}', b"")
    assert (await harness.run("core.log.Log", message="x")).state is State.SUCCESS
    await harness.until(lambda: len(harness.dead_letters) == 3)
    letter = DEAD_LETTER_DECODER.decode(harness.dead_letters[0].value or b"")
    assert (letter.topic, letter.offset, letter.group) == ("worker_jobs", 0, "worker")
    assert letter.reason.startswith("not a job: ")


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ({"id": "t", "type": "no.such.Type"}, "this worker has no task of type `no.such.Type`"),
        (
            {"id": "t", "type": "io.kestra.plugin.core.flow.Sequential", "tasks": []},
            "not one that a worker runs",
        ),
        ({"id": "t", "type": "io.kestra.plugin.core.log.Log", "nonsense": 1}, "nonsense"),
        ([1], "no JSON object"),
    ],
)
async def test_a_job_that_cannot_run_here_fails_with_the_reason(
    harness: WorkerHarness, task: Any, error: str
) -> None:
    """An unknown type or property fails the run, with a line that says so."""
    job = msgspec.structs.replace(harness.job("core.log.Log"), task=msgspec.Raw(encode(task)))
    await harness.send(job)
    ended = await harness.end_of(job)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert error in ended.error
    await harness.until(lambda: harness.lines)
    assert error in harness.messages("ERROR")[0]


async def test_a_redelivered_job_that_runs_is_not_started_twice(harness: WorkerHarness) -> None:
    """The same attempt again, as after a commit of unknown outcome, changes nothing."""
    job = harness.job("test.Gate")
    await harness.send(job, job)
    await harness.until(lambda: Gate.begun)
    Gate.opened.set()
    await harness.end_of(job)
    assert Gate.begun == [job.run_id]


async def test_a_graceful_stop_waits_for_what_runs(harness: WorkerHarness) -> None:
    """Within the grace a running attempt ends and is reported; no further job is taken."""
    job, later = harness.job("test.Gate"), harness.job("test.Gate")
    await harness.send(job)
    await harness.until(lambda: Gate.begun)
    stopping = asyncio.create_task(harness.worker.stop(timedelta(minutes=5)))
    await harness.until(lambda: not harness.worker.is_consuming)
    await harness.send(later)
    Gate.opened.set()
    await stopping
    assert (await harness.end_of(job)).state is State.SUCCESS
    assert Gate.begun == [job.run_id]


async def test_after_the_grace_a_run_ends_unreported(harness: WorkerHarness) -> None:
    """What does not end in time is cancelled and not reported, so that it is handed out again."""
    job = harness.job("test.Gate")
    await harness.send(job)
    await harness.until(lambda: Gate.begun)
    stopping = asyncio.create_task(harness.worker.stop(timedelta(minutes=5)))
    await harness.until(lambda: harness.clock.sleeping)
    harness.clock.advance(timedelta(minutes=5))
    await stopping
    assert Gate.cancelled == [job.run_id]
    assert harness.ended(job.run_id) is None


async def test_a_worker_that_was_declared_dead_ends_at_once(harness: WorkerHarness) -> None:
    """Its runs are handed out again, so it neither waits nor reports."""
    job = harness.job("test.Gate")
    await harness.send(job)
    await harness.until(lambda: Gate.begun)
    harness.worker.on_declared_dead()
    await harness.worker.stop(timedelta(minutes=5))
    assert Gate.cancelled == [job.run_id]
    assert harness.ended(job.run_id) is None


async def test_a_report_beyond_the_limit_of_the_log_is_replaced(tmp_path: Path, registry: Registry) -> None:
    """When the log takes only small records, the run fails with a sentence instead of never ending."""
    async with WorkerHarness(tmp_path, registry=registry, message_limit_bytes=4_000) as harness:
        harness.start()
        large = "{{ inputs.a }}{{ inputs.a }}"
        ended = await harness.run(
            "core.output.OutputValues", values={"a": large}, variables={"inputs": {"a": "x" * 2_500}}
        )
        assert ended.state is State.FAILED
        assert ended.error is not None
        assert ended.error.startswith("the outputs are larger than the limit of a record")


async def test_a_template_that_never_ends_fails_its_run_only(tmp_path: Path, registry: Registry) -> None:
    """Loops without end hit a limit; meanwhile other jobs go on."""
    limits = Limits(time_budget=timedelta(milliseconds=300))
    async with WorkerHarness(tmp_path, registry=registry, limits=limits) as harness:
        harness.start()
        await _endless(harness)


async def _endless(harness: WorkerHarness) -> None:
    loop = "{% for a in range(1, 900000) %}{% for b in range(1, 900000) %}{% endfor %}{% endfor %}"
    endless = harness.job("core.log.Log", message=loop)
    await harness.send(endless)
    assert (await harness.run("core.log.Log", message="quick")).state is State.SUCCESS
    assert harness.ended(endless.run_id) is None
    ended = await harness.end_of(endless)
    assert ended.state is State.FAILED
    assert (ended.error or "").startswith("property `message`: ")


async def test_secrets_are_masked_wherever_people_look(tmp_path: Path, registry: Registry) -> None:
    """SEC-02: six stars in log lines and errors; the value itself is given to the task."""
    async with WorkerHarness(tmp_path, registry=registry, secrets={"SECRET_KEY": "aHVudGVyMg=="}) as harness:
        harness.start()
        await harness.run("core.log.Log", message="key {{ secret('KEY') }}")
        await harness.until(lambda: harness.lines)
        assert harness.messages() == ["key ******"]
        ended = await harness.run("core.execution.Fail", errorMessage="bad {{ secret('KEY') }}")
        assert ended.error == "bad ******"
        missing = await harness.run("core.log.Log", message="{{ secret('OTHER') }}")
        assert "there is no secret `OTHER`" in (missing.error or "")


async def test_the_log_of_a_task_may_go_to_a_file(harness: WorkerHarness) -> None:
    """TSK-10: with `logToFile` the lines are in a stored file, and one line says where."""
    ended = await harness.run("core.log.Log", message="kept", logToFile=True)
    assert ended.state is State.SUCCESS
    await harness.until(lambda: harness.lines)
    uri = "kestra:///company/team/f/executions/e1/tasks/t/r1/t-0.log"
    assert harness.messages() == [f"The log of this task run is in {uri}"]
    assert b"INFO kept\n" in await harness.storage.get("main", uri)


def _evaluation(harness: WorkerHarness, **expressions: Any) -> Evaluate:
    return Evaluate(
        tenant_id="main",
        execution_id="e1",
        run_id="r9",
        task_id="t",
        flow=FlowRef(namespace="company.team", id="f", revision=1),
        expressions=expressions,
        variables=msgspec.Raw(encode({"inputs": {"n": 3}})),
        at=harness.clock.now(),
    )


async def test_expressions_are_evaluated_for_flowable_tasks(tmp_path: Path, registry: Registry) -> None:
    """An Evaluate job is answered with typed values, or with the property that failed."""
    async with WorkerHarness(tmp_path, registry=registry, secrets={"SECRET_A": "eA=="}) as harness:
        harness.start()
        await harness.send(
            _evaluation(harness, condition="{{ secret('A') == 'x' }}", values=["{{ inputs.n }}"])
        )
        await harness.until(lambda: harness.reports)
        report = harness.reports[0]
        assert isinstance(report, ReportEvaluation)
        assert (report.values, report.error) == ({"condition": True, "values": [3]}, None)
        await harness.send(_evaluation(harness, condition="{{ kv('a') }}"))
        await harness.until(lambda: len(harness.reports) == 2)
        failed = harness.reports[1]
        assert isinstance(failed, ReportEvaluation)
        assert (failed.error or "").startswith("property `condition`: ")


async def test_two_workers_share_the_jobs(tmp_path: Path, registry: Registry) -> None:
    """Each job is run by one of them, also those that one left behind when it stopped."""
    async with WorkerHarness(tmp_path, registry=registry, partitions=4, threads=50) as harness:
        harness.start()
        second = harness.another_worker("worker-2")
        running = asyncio.create_task(second.run())
        await harness.until(lambda: second.is_consuming and harness.worker.is_consuming)
        jobs: list[RunTask] = [harness.job("core.log.Log", message="x") for _ in range(40)]
        await harness.send(*jobs)
        await harness.worker.stop(timedelta(0))
        for job in jobs:
            await harness.end_of(job)
        ends = [report.run_id for report in harness.reports if isinstance(report, ReportRunEnded)]
        assert sorted(ends) == sorted(job.run_id for job in jobs)
        await second.stop(timedelta(0))
        await running


async def test_lines_stand_before_the_end(harness: WorkerHarness) -> None:
    """When an end is reported, all lines of the run are on the log."""
    ended = await harness.run("scripts.shell.Commands", commands=["seq 1 500"], taskRunner=_PROCESS)
    assert ended.state is State.SUCCESS
    end = await harness.log.end_offsets("logs")
    assert sum(end.values()) == 500


_PROCESS = {"type": "io.kestra.plugin.core.runner.Process"}


async def test_a_log_that_is_away_for_a_while_loses_no_report(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports wait in order until the log takes them again."""
    job = harness.job("test.Gate")
    await harness.send(job)
    await harness.until(lambda: Gate.begun)
    refused: list[int] = []
    append = harness.log.append

    async def refuse(messages: Sequence[Message]) -> None:
        refused.append(len(messages))
        if len(refused) == 3:
            monkeypatch.setattr(harness.log, "append", append)
        raise LogUnavailable("made up")

    monkeypatch.setattr(harness.log, "append", refuse)
    Gate.opened.set()
    assert (await harness.end_of(job)).state is State.SUCCESS
    assert refused == [1, 1, 1]


async def test_a_worker_that_was_thrown_out_of_its_group_joins_again(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fenced at a commit: nothing of that batch starts, and it is taken again after joining anew."""
    commit = EmbeddedConsumer.commit
    fenced: list[int] = []

    async def fence(self: EmbeddedConsumer, **arguments: Any) -> None:
        if not fenced:
            fenced.append(1)
            raise Fenced("worker", "worker-1")
        await commit(self, **arguments)

    monkeypatch.setattr(EmbeddedConsumer, "commit", fence)
    job, line = harness.job("test.Gate"), harness.job("core.log.Log", message="once")
    await harness.send(job, line)
    await harness.until(lambda: harness.clock.sleeping)
    assert (Gate.begun, harness.worker.running, harness.reports) == ([], 0, [])
    harness.clock.advance(timedelta(seconds=1))
    await harness.end_of(line)
    Gate.opened.set()
    assert (await harness.end_of(job)).state is State.SUCCESS
    assert (harness.messages(), Gate.begun) == (["once"], [job.run_id])
    assert harness.problems[0].startswith("jobs cannot be read: worker-1 ")
