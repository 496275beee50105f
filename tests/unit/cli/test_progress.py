"""What a terminal shows of executions, from recorded events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from flowtide.cli.progress import Runs, log_line, run_line
from flowtide.model.entries import Level, LogEntry
from flowtide.model.events import ExecutionCreated, TaskRunCreated, TaskRunEnded, TaskRunStarted
from flowtide.model.records import Cause
from flowtide.model.states import State

BEGAN = datetime(2026, 1, 2, 12, tzinfo=UTC)
CAUSE = Cause(command="CreateExecution")


def _runs(value: str | None = None, flow_id: str = "main") -> Runs:
    runs = Runs(main="main")
    common = {"tenant_id": "main", "execution_id": "e", "cause": CAUSE}
    runs.take(
        ExecutionCreated(**common, number=0, at=BEGAN, namespace="n", flow_id=flow_id, flow_revision=1)  # type: ignore[arg-type]  # the common fields of events
    )
    runs.take(
        TaskRunCreated(
            **common,  # type: ignore[arg-type]  # as above
            number=1,
            at=BEGAN,
            run_id="r",
            task_id="say",
            state=State.SUBMITTED,
            value=value,
        )
    )
    return runs


def test_a_run_follows_its_events() -> None:
    """Started, then ended: the state, the outputs and the end are those of the last event."""
    runs = _runs()
    common = {"tenant_id": "main", "execution_id": "e", "cause": CAUSE, "run_id": "r"}
    started = runs.take(TaskRunStarted(**common, number=2, at=BEGAN, attempt=0, worker_id="w"))  # type: ignore[arg-type]  # as above
    assert started is not None
    assert started.state is State.RUNNING
    assert started.ended is None

    ended = runs.take(
        TaskRunEnded(
            **common,  # type: ignore[arg-type]  # as above
            number=3,
            at=BEGAN + timedelta(seconds=2),
            state=State.FAILED,
            outputs={"a": 1},
            error="no",
        )
    )

    assert ended is not None
    assert (ended.state, ended.outputs, ended.error) == (State.FAILED, {"a": 1}, "no")
    assert click.unstyle(run_line(runs, ended)).endswith("FAILED   say (2.00 s)  no")


def test_iterations_and_other_flows_carry_their_names() -> None:
    """A loop's value stands behind the task; a run of a subflow has its flow before it."""
    assert _runs(value="Porto").all["e", "r"].name("main") == "say[Porto]"
    assert _runs(flow_id="child").all["e", "r"].name("main") == "child.say"


def test_a_log_line_names_its_task_run() -> None:
    """Level, task and message."""
    entry = LogEntry(
        tenant_id="main",
        namespace="n",
        flow_id="main",
        timestamp=BEGAN,
        level=Level.WARN,
        message="careful",
        execution_id="e",
        task_id="say",
        task_run_id="r",
    )

    assert click.unstyle(log_line(_runs(), entry)).endswith("WARN     say careful")
