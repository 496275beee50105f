"""The *executions* processor on its own: restores, poison, late duplicates, dead workers, timers, unknown flows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flowtide.engine.plan import Plan
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message, Record
from flowtide.log.topics import load_topics
from flowtide.model.commands import (
    COMMAND_DECODER,
    CreateExecution,
    ExecutionCommand,
    KillExecution,
    ReportChildEnded,
    ReportRunEnded,
    ReportRunStarted,
)
from flowtide.model.events import EVENT_DECODER, ExecutionEnded, ExecutionEvent
from flowtide.model.jobs import CONTROL_DECODER, JOB_DECODER, KillRun, RunTask
from flowtide.model.records import Label, ParentRun, TriggerInfo, encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.model.trigger_records import TRIGGER_COMMAND_DECODER, ReleaseTrigger
from flowtide.processors.executions import MARKER_RETENTION, ExecutionsPartition, executions_runtime
from flowtide.processors.runtime import BadRecord, NotYet
from tests.language import REGISTRY

TOPICS = list(load_topics().values())
START = datetime(2026, 3, 1, tzinfo=UTC)

TWO = """
id: two
namespace: test
tasks:
  - {id: first, type: Say, retry: {type: constant, interval: PT1M, maxAttempts: 3}}
  - {id: wait, type: Pause, pauseDuration: PT1H}
  - {id: last, type: Say}
"""
CALLS = """
id: calls
namespace: test
tasks:
  - {id: first, type: Say}
  - {id: call, type: Subflow, namespace: test, flowId: later}
"""
LATER = """
id: later
namespace: test
tasks: [{id: inner, type: Say}]
"""


def plan_of(source: str) -> Plan:
    return Plan(parse_flow(source, REGISTRY).valid(), tenant="main", revision=1)


PLANS = {"two": plan_of(TWO), "calls": plan_of(CALLS)}


class Box:
    """A partition with its committed state, and everything that came out of it."""

    def __init__(self) -> None:
        self.now = START
        self.state: dict[str, bytes] = {}
        self.messages: list[Message] = []
        self.plans = dict(PLANS)
        self.offset = 0
        self.open()

    def open(self) -> None:
        """Forget everything but the committed state."""
        self.partition = ExecutionsPartition(
            0, self.state, lambda _, __, flow_id, ___: self.plans.get(flow_id)
        )

    def send(self, execution_id: str, command: ExecutionCommand | bytes, *, certain: bool = True) -> None:
        value = command if isinstance(command, bytes) else encode(command)
        record = Record(
            topic="execution_commands",
            partition=0,
            offset=self.offset,
            key=f"main/{execution_id}",
            value=value,
            timestamp_ms=0,
        )
        self.offset += 1
        self.partition.handle(record, self.now, certain=certain)

    def commit(self) -> None:
        messages, changes = self.partition.flush()
        self.messages += messages
        for change in changes:
            if change.value is None:
                self.state.pop(change.key, None)
            else:
                self.state[change.key] = change.value

    def advance(self, duration: timedelta) -> None:
        end = self.now + duration
        while (due := self.partition.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.partition.fire(self.now, 100)
            self.commit()
        self.now = end

    def create(self, execution_id: str, flow_id: str = "two", **fields: Any) -> None:
        self.send(execution_id, CreateExecution(at=self.now, namespace="test", flow_id=flow_id, **fields))
        self.commit()

    def report(self, execution_id: str, job: RunTask, state: State = State.SUCCESS) -> None:
        self.send(
            execution_id,
            ReportRunEnded(at=self.now, run_id=job.run_id, attempt=job.attempt, worker_id="w", state=state),
        )
        self.commit()

    def started(self, execution_id: str, job: RunTask, worker_id: str = "w") -> None:
        self.send(
            execution_id,
            ReportRunStarted(at=self.now, run_id=job.run_id, attempt=job.attempt, worker_id=worker_id),
        )
        self.commit()

    def of_topic(self, topic: str) -> list[bytes]:
        return [message.value or b"" for message in self.messages if message.topic == topic]

    def events(self) -> list[ExecutionEvent]:
        return [EVENT_DECODER.decode(value) for value in self.of_topic("execution_events")]

    def jobs(self) -> list[RunTask]:
        found = [JOB_DECODER.decode(value) for value in self.of_topic("worker_jobs")]
        return [job for job in found if isinstance(job, RunTask)]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events()]


def play(box: Box, restart: Callable[[], None]) -> list[tuple[str, int]]:
    """One execution with a retry and a pause, with `restart` between every two steps."""
    box.create("e1")
    restart()
    box.started("e1", box.jobs()[-1])
    restart()
    box.report("e1", box.jobs()[-1], State.FAILED)
    restart()
    box.advance(timedelta(minutes=1))
    restart()
    box.started("e1", box.jobs()[-1])
    box.report("e1", box.jobs()[-1])
    restart()
    box.advance(timedelta(minutes=59))
    restart()
    box.advance(timedelta(minutes=1))
    restart()
    box.report("e1", box.jobs()[-1])
    return [(type(event).__name__, event.number) for event in box.events()]


def test_a_restore_between_any_two_commands_changes_nothing() -> None:
    """Opened anew from its committed state after every step, a partition decides what it would have decided."""
    live, restored = Box(), Box()
    assert play(live, lambda: None) == play(restored, restored.open)
    assert live.names()[-1] == "ExecutionEnded"
    assert live.state.keys() == restored.state.keys() == {"main/e1|x"}


def test_timers_are_due_after_a_restore() -> None:
    """A timer that came due while nobody owned the partition fires at once, others at their time."""
    box = Box()
    box.create("e1")
    box.report("e1", box.jobs()[-1], State.FAILED)
    box.open()
    assert box.partition.next_due() == START + timedelta(minutes=1)
    box.now += timedelta(hours=5)
    box.partition.fire(box.now, 100)
    box.commit()
    assert [job.attempt for job in box.jobs()] == [0, 1]
    assert box.partition.next_due() is None


def test_a_timer_that_was_cleared_means_nothing() -> None:
    """After a kill no timer of the execution does anything."""
    box = Box()
    box.create("e1")
    box.report("e1", box.jobs()[-1], State.FAILED)
    box.send("e1", KillExecution(at=box.now))
    box.commit()
    before = box.names()
    box.advance(timedelta(minutes=1, seconds=30))
    assert box.names() == before
    assert box.names()[-1] == "ExecutionEnded"


def test_a_marker_stands_against_late_duplicates_for_a_while() -> None:
    """The command that created an execution may come again after its end, also after a restore."""
    box = Box()
    box.create("e1")
    box.send("e1", KillExecution(at=box.now))
    box.commit()
    count = len(box.events())
    box.create("e1")
    box.open()
    box.advance(MARKER_RETENTION - timedelta(seconds=1))
    box.create("e1")
    assert len(box.events()) == count
    box.advance(timedelta(seconds=1))
    assert box.state, "a partition that was just opened may have duplicates before it"
    box.create("e1")
    assert len(box.events()) == count
    box.advance(2 * MARKER_RETENTION)
    assert box.state == {}


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe", b"[]", b'{"type": "Nonsense"}', b"null"])
def test_garbage_is_refused_without_a_change(garbage: bytes) -> None:
    """What is no command is a bad record, and nothing comes of it."""
    box = Box()
    box.create("e1")
    with pytest.raises(BadRecord):
        box.send("e1", garbage)
    count = len(box.messages)
    box.commit()
    assert len(box.messages) == count


def test_a_key_that_is_none_is_refused() -> None:
    """A command with a key that names no execution is a bad record."""
    box = Box()
    with pytest.raises(BadRecord):
        box.send("a/b", CreateExecution(at=START, namespace="test", flow_id="two"))


def test_runs_of_dead_workers_are_handed_out_again() -> None:
    """Only what that worker runs gets a further attempt, also in executions that were just restored."""
    box = Box()
    for name, worker in (("e1", "dead"), ("e2", "alive"), ("e3", "dead")):
        box.create(name)
        box.started(name, box.jobs()[-1], worker)
    box.open()
    box.partition.lose_workers({"dead"}, box.now)
    box.commit()
    again = [(job.execution_id, job.attempt) for job in box.jobs()[3:]]
    assert sorted(again) == [("e1", 1), ("e3", 1)]
    assert box.names().count("TaskRunResubmitted") == 2
    box.partition.lose_workers({"dead"}, box.now)
    box.commit()
    assert len(box.jobs()) == 5


def test_a_worker_that_starts_what_is_over_is_told_to_stop() -> None:
    """Also when the whole execution is over, or another attempt was handed out meanwhile."""
    box = Box()
    box.create("e1")
    job = box.jobs()[0]
    box.started("e1", job, "dead")
    box.partition.lose_workers({"dead"}, box.now)
    box.commit()
    box.started("e1", job, "zombie")
    box.send("e1", KillExecution(at=box.now))
    box.commit()
    box.started("e1", box.jobs()[1])
    controls = [CONTROL_DECODER.decode(value) for value in box.of_topic("worker_controls")]
    assert [control.attempt for control in controls if isinstance(control, KillRun)] == [0, None, 1]


def test_an_unknown_flow_is_asked_for_once_and_then_refused() -> None:
    """The execution is visible as FAILED; its parent and its trigger are told, so that neither waits for ever."""
    box = Box()
    command = CreateExecution(
        at=START,
        namespace="test",
        flow_id="nobody",
        labels=[Label(key="a", value="b")],
        trigger=TriggerInfo(id="daily", type="Schedule"),
        release_trigger=True,
        parent=ParentRun(execution_id="p", run_id="r", namespace="test", flow_id="two", flow_revision=1),
    )
    with pytest.raises(NotYet):
        box.send("e1", command, certain=False)
    box.send("e1", command)
    box.commit()
    assert box.names() == ["ExecutionCreated", "ExecutionEnded"]
    (told,) = [COMMAND_DECODER.decode(value) for value in box.of_topic("execution_commands")]
    assert isinstance(told, ReportChildEnded)
    assert told.state is State.FAILED
    (release,) = [TRIGGER_COMMAND_DECODER.decode(value) for value in box.of_topic("trigger_commands")]
    assert isinstance(release, ReleaseTrigger)
    box.send("e1", command)
    box.commit()
    assert len(box.events()) == 2


def test_a_start_that_is_read_after_its_worker_died_is_handed_out_again() -> None:
    """Unless the attempt's end stands right behind it, a report of a dead worker leaves nothing running for ever."""
    box = Box()
    box.create("e1")
    box.create("e2")
    box.partition.lose_workers({"dead"}, box.now)
    first, second = box.jobs()
    box.started("e1", first, "dead")
    box.started("e2", second, "dead")
    box.report("e2", second)
    box.advance(timedelta(seconds=10))
    assert [(job.execution_id, job.attempt) for job in box.jobs()[2:]] == [("e1", 1)]


def test_an_execution_whose_flow_is_gone_does_not_keep_others_from_a_further_attempt() -> None:
    """Neither when the worker is found dead, nor when the partition is opened later."""
    box = Box()
    for name, flow in (("e1", "two"), ("e2", "calls"), ("e3", "two")):
        box.create(name, flow)
        box.started(name, box.jobs()[-1], "dead")
    del box.plans["two"]
    box.partition.lose_workers({"dead"}, box.now)
    assert [(job.execution_id, job.attempt) for job in box.jobs()[3:]] == []
    box.commit()
    assert [(job.execution_id, job.attempt) for job in box.jobs()[3:]] == [("e2", 1)]
    box.partition = ExecutionsPartition(
        0, box.state, lambda _, __, flow_id, ___: box.plans.get(flow_id), dead_workers={"dead"}
    )
    box.advance(timedelta(seconds=1))
    box.plans |= PLANS
    box.partition.lose_workers({"dead"}, box.now)
    box.commit()
    assert [(job.execution_id, job.attempt) for job in box.jobs()[4:]] == [("e1", 1), ("e3", 1)]


@pytest.mark.parametrize("first", ["kill", "death"])
def test_a_kill_ends_what_stays_with_a_dead_worker(first: str) -> None:
    """LIFE-8: with the strategy NEVER a run stays with its dead worker, which will never confirm a kill."""
    box = Box()
    box.create("e1")
    box.started("e1", box.jobs()[0], "dead")
    if first == "kill":
        box.send("e1", KillExecution(at=box.now))
        box.commit()
        box.open()
    box.partition.leave_to_workers({"dead"}, box.now)
    box.commit()
    if first == "death":
        assert len(box.jobs()) == 1
        assert "TaskRunEnded" not in box.names()
        box.send("e1", KillExecution(at=box.now))
        box.commit()
    ended = box.events()[-1]
    assert isinstance(ended, ExecutionEnded)
    assert (ended.state, len(box.jobs())) == (State.KILLED, 1)


def test_a_timer_that_is_due_while_its_flow_is_unknown_is_not_lost() -> None:
    """It is looked at again every minute, without a restart."""
    box = Box()
    box.create("e1")
    box.report("e1", box.jobs()[0])
    del box.plans["two"]
    box.advance(timedelta(hours=2))
    assert [job.task_id for job in box.jobs()] == ["first"]
    box.plans |= PLANS
    box.advance(timedelta(minutes=1))
    assert [job.task_id for job in box.jobs()] == ["first", "last"]


def test_old_markers_are_forgotten_in_portions() -> None:
    """What a standstill left is never one huge commit."""
    box = Box()
    for number in range(25):
        box.create(f"e{number}", "nobody")
    box.now += timedelta(hours=1)
    removed = []
    while (due := box.partition.next_due()) is not None and due <= box.now:
        box.partition.fire(box.now, 10)
        _, changes = box.partition.flush()
        removed.append(len(changes))
    assert removed == [10, 10, 5]


async def test_a_subflow_that_is_not_known_yet_does_not_lose_the_decision() -> None:
    """A decision that stops halfway for a flow that is not known here is made again as a whole."""
    now = START
    log = EmbeddedLog(None, clock=now.timestamp, partitions=1)
    await log.start()
    await log.ensure_topics(TOPICS)
    plans = dict(PLANS)
    asked = 0

    async def catch_up() -> None:
        nonlocal asked
        asked += 1
        plans["later"] = plan_of(LATER)

    runtime = executions_runtime(
        log,
        instance="executor",
        plans=lambda _, __, flow_id, ___: plans.get(flow_id),
        clock=lambda: now,
        catch_up=catch_up,
    )
    running = asyncio.create_task(runtime.run())
    events = await log.reader("execution_events", "beginning")
    jobs = await log.reader("worker_jobs", "beginning")

    async def append(command: ExecutionCommand) -> None:
        await log.append([Message(topic="execution_commands", key="main/e1", value=encode(command))])

    await append(CreateExecution(at=now, namespace="test", flow_id="calls"))
    first: list[Record] = []
    while not first:
        first += await jobs.poll(maximum=10, timeout=timedelta(seconds=1))
    job = msgspec.json.decode(first[0].value or b"")
    await append(ReportRunEnded(at=now, run_id=job["runId"], attempt=0, worker_id="w", state=State.SUCCESS))
    names: list[str] = []
    while "ChildExecutionStarted" not in names:
        names += [
            type(EVENT_DECODER.decode(record.value or b"")).__name__
            for record in await events.poll(maximum=100, timeout=timedelta(seconds=1))
            if record.key == "main/e1"
        ]
    assert asked == 1
    assert names == [
        "ExecutionCreated",
        "ExecutionStarted",
        "TaskRunCreated",
        "TaskRunEnded",
        "TaskRunCreated",
        "ChildExecutionStarted",
    ]
    runtime.stop()
    await running
    await events.close()
    await jobs.close()
    await log.close()


def test_an_execution_that_never_started_still_ends_in_the_log() -> None:
    """A refused execution has an end with a reason that people can read."""
    box = Box()
    box.create("e1", "nobody", flow_revision=7)
    ended = box.events()[-1]
    assert isinstance(ended, ExecutionEnded)
    assert ended.error == "there is no flow test.nobody with revision 7"


@pytest.mark.parametrize("key", ["main/garbage", "main/garbage|", "main/garbage|p", "garbage", "|", ""])
def test_garbage_among_the_pieces_is_passed_over(key: str) -> None:
    """A partition opens whatever stands in its state, and goes on with the rest."""
    box = Box()
    box.create("e1")
    job = JOB_DECODER.decode(box.of_topic("worker_jobs")[0])
    assert isinstance(job, RunTask)
    box.state[key] = b"garbage"
    box.open()
    box.report("e1", job)
    assert b'"TaskRunPaused"' in b"".join(box.of_topic("execution_events"))
