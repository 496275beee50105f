"""The fold from events to documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from flowtide.index import documents
from flowtide.index.documents import BaseMissing, Document, fold_execution, fold_task_run
from flowtide.index.flow_documents import flow_document
from flowtide.index.history import ExecutionView
from flowtide.index.kinds import KINDS, values_of
from flowtide.model import events as e
from flowtide.model.entries import Level, LogEntry, MetricEntry
from flowtide.model.records import ENCODER, Cause, Label, ParentRun, TriggerInfo, format_date
from flowtide.model.resources import Resource
from flowtide.model.states import State
from flowtide.testing.contracts.index_samples import START, history

CAUSE = Cause(command="CreateExecution")


def moment(number: int) -> str:
    """The date of event `number` of a story, as documents carry it."""
    return f"2026-03-01T12:00:{number:02d}.123456Z"


def story(*changes: tuple[type[e.Event], dict[str, Any]]) -> ExecutionView:
    """Create an execution and fold these events of its task run `r`, a second apart."""
    view = ExecutionView()
    view.add(history()[0])
    for number, (event, fields) in enumerate(changes, start=1):
        if event.__name__.startswith(("TaskRun", "Loop", "Child")):
            fields = {"run_id": "r", **fields}
        view.add(
            event(
                tenant_id="main",
                execution_id="execution000",
                number=number,
                at=START + timedelta(seconds=number),
                cause=CAUSE,
                **fields,
            )
        )
    return view


def states(state: Document) -> str:
    """The histories of a state as one line."""
    return " ".join(one["state"] for one in state["histories"])


WORKER: dict[str, Any] = {"task_id": "t", "state": State.SUBMITTED}
FLOWABLE: dict[str, Any] = {"task_id": "t", "state": State.RUNNING}


def test_a_new_execution() -> None:
    """Everything that the API's Execution has from its first moment."""
    event = e.ExecutionCreated(
        tenant_id="main",
        execution_id="x",
        number=0,
        at=START,
        cause=CAUSE,
        namespace="n",
        flow_id="f",
        flow_revision=3,
        inputs={"a": 1},
        labels=[Label(key="k", value="v")],
        variables={"b": 2},
        trigger=TriggerInfo(id="daily", type="Schedule", variables={"date": "d"}),
        parent=ParentRun(execution_id="p", run_id="pr", namespace="n", flow_id="pf", flow_revision=1),
        kind="TEST",
        schedule_date=START,
        trace_parent="00-1",
    )
    assert fold_execution(None, event) == {
        "id": "x",
        "tenantId": "main",
        "namespace": "n",
        "flowId": "f",
        "flowRevision": 3,
        "inputs": {"a": 1},
        "labels": [{"key": "k", "value": "v"}, {"key": "system.correlationId", "value": "x"}],
        "variables": {"b": 2},
        "state": {
            "current": "CREATED",
            "histories": [{"state": "CREATED", "date": moment(0)}],
            "startDate": moment(0),
        },
        "originalId": "x",
        "parentId": "p",
        "trigger": {"id": "daily", "type": "Schedule", "variables": {"date": "d"}},
        "kind": "TEST",
        "scheduleDate": moment(0),
        "traceParent": "00-1",
        "deleted": False,
        "metadata": {"attemptNumber": 1, "originalCreatedDate": moment(0)},
        "lastEvent": 0,
        "taskRunCount": {"total": 0},
    }


def test_an_inherited_correlation_stays() -> None:
    """A correlation that the event brings is not replaced."""
    event = msgspec.structs.replace(history()[0], labels=[Label(key="system.correlationId", value="root")])
    assert fold_execution(None, event)["labels"] == [{"key": "system.correlationId", "value": "root"}]


def test_an_execution_to_its_end() -> None:
    """States, dates and the duration as ISO-8601; counts of its task runs; its outputs."""
    view = ExecutionView()
    for event in history():
        view.add(event)
    assert view.execution is not None
    assert view.execution["state"] == {
        "current": "SUCCESS",
        "histories": [
            {"state": "CREATED", "date": moment(0)},
            {"state": "RUNNING", "date": moment(1)},
            {"state": "SUCCESS", "date": moment(5)},
        ],
        "startDate": moment(0),
        "endDate": moment(5),
        "duration": "PT5S",
    }
    assert view.execution["durationSeconds"] == 5.0
    assert view.execution["taskRunCount"] == {"total": 1, "SUCCESS": 1}
    assert view.execution["outputs"] == {"y": 2}
    assert view.execution["lastEvent"] == 6


def test_a_task_run_of_a_worker() -> None:
    """CREATED and SUBMITTED at once, an attempt from its start to its end, outputs {} until there are some."""
    view = ExecutionView()
    for event in history():
        view.add(event)
    [run] = view.task_runs.values()
    assert run == {
        "id": "execution000-a",
        "tenantId": "main",
        "executionId": "execution000",
        "namespace": "company.team",
        "flowId": "hello",
        "taskId": "a",
        "attempts": [
            {
                "workerId": "w1",
                "state": {
                    "current": "SUCCESS",
                    "histories": [
                        {"state": "CREATED", "date": moment(3)},
                        {"state": "RUNNING", "date": moment(3)},
                        {"state": "SUCCESS", "date": moment(4)},
                    ],
                    "startDate": moment(3),
                    "endDate": moment(4),
                    "duration": "PT1S",
                },
            }
        ],
        "outputs": {"x": 1},
        "state": {
            "current": "SUCCESS",
            "histories": [
                {"state": "CREATED", "date": moment(2)},
                {"state": "SUBMITTED", "date": moment(2)},
                {"state": "RUNNING", "date": moment(3)},
                {"state": "SUCCESS", "date": moment(4)},
            ],
            "startDate": moment(2),
            "endDate": moment(4),
            "duration": "PT2S",
        },
        "durationSeconds": 2.0,
        "order": 2,
        "branch": "tasks",
        "index": 0,
        "lastEvent": 4,
    }


@pytest.mark.parametrize(
    ("changes", "run_states", "attempts"),
    [
        ([(e.TaskRunCreated, WORKER)], "CREATED SUBMITTED", []),
        ([(e.TaskRunCreated, {"task_id": "t", "state": State.SKIPPED})], "CREATED SKIPPED", []),
        (
            [(e.TaskRunCreated, {"task_id": "t", "state": State.FAILED, "error": "why"})],
            "CREATED FAILED",
            ["CREATED FAILED"],
        ),
        (
            [
                (e.TaskRunCreated, {"task_id": "t", "state": State.CREATED}),
                (e.TaskRunSubmitted, {"attempt": 0}),
            ],
            "CREATED SUBMITTED",
            [],
        ),
        (
            [(e.TaskRunCreated, FLOWABLE), (e.TaskRunEnded, {"state": State.WARNING})],
            "CREATED RUNNING WARNING",
            ["CREATED RUNNING WARNING"],
        ),
        (
            [
                (e.TaskRunCreated, FLOWABLE),
                (e.TaskRunPaused, {}),
                (e.TaskRunResumed, {}),
                (e.TaskRunEnded, {"state": State.SUCCESS}),
            ],
            "CREATED RUNNING PAUSED RUNNING SUCCESS",
            ["CREATED RUNNING PAUSED RUNNING SUCCESS"],
        ),
        (
            [
                (e.TaskRunCreated, WORKER),
                (e.TaskRunStarted, {"attempt": 0, "worker_id": "w"}),
                (e.TaskRunRetrying, {"attempt": 0, "due": START, "error": "no"}),
                (e.TaskRunSubmitted, {"attempt": 1}),
                (e.TaskRunStarted, {"attempt": 1, "worker_id": "w"}),
                (e.TaskRunEnded, {"state": State.SUCCESS}),
            ],
            "CREATED SUBMITTED RUNNING RETRYING SUBMITTED RUNNING SUCCESS",
            ["CREATED RUNNING FAILED", "CREATED RUNNING SUCCESS"],
        ),
        (
            [
                (e.TaskRunCreated, FLOWABLE),
                (e.TaskRunRetrying, {"attempt": 0, "due": START}),
                (e.TaskRunSubmitted, {"attempt": 1, "flowable": True}),
            ],
            "CREATED RUNNING RETRYING RUNNING",
            ["CREATED RUNNING FAILED", "CREATED RUNNING"],
        ),
        (
            [
                (e.TaskRunCreated, WORKER),
                (e.TaskRunStarted, {"attempt": 0, "worker_id": "w"}),
                (e.TaskRunResubmitted, {"attempt": 0, "worker_id": "w"}),
                (e.TaskRunStarted, {"attempt": 1, "worker_id": "v"}),
            ],
            "CREATED SUBMITTED RUNNING SUBMITTED RUNNING",
            ["CREATED RUNNING RESUBMITTED", "CREATED RUNNING"],
        ),
        (
            [
                (e.TaskRunCreated, WORKER),
                (e.TaskRunStarted, {"attempt": 0, "worker_id": "w"}),
                (e.TaskRunKilling, {}),
                (e.TaskRunEnded, {"state": State.KILLED}),
            ],
            "CREATED SUBMITTED RUNNING KILLING KILLED",
            ["CREATED RUNNING KILLED"],
        ),
        (
            [(e.TaskRunCreated, WORKER), (e.TaskRunKilling, {}), (e.TaskRunEnded, {"state": State.KILLED})],
            "CREATED SUBMITTED KILLING KILLED",
            [],
        ),
    ],
)
def test_states_of_task_runs_and_attempts(
    changes: list[tuple[type[e.Event], dict[str, Any]]], run_states: str, attempts: list[str]
) -> None:
    """Each way of a task run shows in its histories and in those of its attempts."""
    [run] = story(*changes).task_runs.values()
    assert states(run["state"]) == run_states
    assert [states(attempt["state"]) for attempt in run["attempts"]] == attempts


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(e.ExecutionQueued, {}), (e.ExecutionStarted, {})], "CREATED QUEUED RUNNING"),
        (
            [(e.ExecutionStarted, {}), (e.ExecutionPaused, {}), (e.ExecutionResumed, {})],
            "CREATED RUNNING PAUSED RUNNING",
        ),
        (
            [(e.ExecutionKilling, {"outcome": State.KILLED}), (e.ExecutionEnded, {"state": State.KILLED})],
            "CREATED KILLING KILLED",
        ),
        (
            [(e.ExecutionEnded, {"state": State.FAILED, "error": "why"}), (e.ExecutionClosed, {})],
            "CREATED FAILED",
        ),
    ],
)
def test_states_of_executions(changes: list[tuple[type[e.Event], dict[str, Any]]], expected: str) -> None:
    """Each way of an execution shows in its histories."""
    view = story(*changes)
    assert view.execution is not None
    assert states(view.execution["state"]) == expected


def test_what_a_loop_and_a_child_leave_behind() -> None:
    """A loop's number of iterations, a subflow's execution and its outputs."""
    [run] = story(
        (e.TaskRunCreated, {**FLOWABLE, "value": "b", "iteration": 1, "parent_id": "p", "outputs": {"a": 1}}),
        (e.LoopOpened, {"values": ["x", "y"]}),
        (
            e.ChildExecutionStarted,
            {"child_id": "c", "namespace": "n", "flow_id": "f", "outputs": {"executionId": "c"}},
        ),
    ).task_runs.values()
    assert (run["value"], run["iteration"], run["parentTaskRunId"]) == ("b", 1, "p")
    assert (run["iterations"], run["childId"], run["outputs"]) == (2, "c", {"a": 1, "executionId": "c"})


def test_folding_again_changes_nothing() -> None:
    """Every event that was seen already, in whatever order it comes again, leaves both documents as they are."""
    view = ExecutionView()
    for event in history():
        view.add(event)
    before = ENCODER.encode([view.execution, view.task_runs])
    for event in [*reversed(history()), *history()]:
        view.add(event)
    assert ENCODER.encode([view.execution, view.task_runs]) == before


def test_an_event_without_its_base_is_refused() -> None:
    """A document is never begun in its middle."""
    with pytest.raises(BaseMissing, match="event 1 of execution execution000"):
        fold_execution(None, history()[1])
    header = fold_execution(None, history()[0])
    with pytest.raises(BaseMissing, match="event 3 of execution execution000"):
        fold_task_run(None, history()[3], header)
    assert fold_task_run(None, history()[5], header) is None


def test_dates_are_utc_with_six_digits() -> None:
    """Whatever the zone and the fraction, a date has the same width."""
    assert format_date(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    east = timezone(timedelta(hours=2))
    assert format_date(datetime(2026, 1, 2, 1, 4, 5, 60, tzinfo=east)) == "2026-01-01T23:04:05.000060Z"


def test_writes_made_by_hand_agree_with_the_table_of_kinds() -> None:
    """Events, lines and metrics give the fields that reading their records by path gives."""
    ended = next(event for event in history() if isinstance(event, e.TaskRunEnded))
    ended = msgspec.structs.replace(ended, cause=Cause(event=3))
    line = LogEntry(
        tenant_id="main",
        namespace="n",
        flow_id="f",
        timestamp=START,
        level=Level.WARN,
        message="m",
        execution_id="x",
        task_id="t",
        task_run_id="r",
        attempt_number=1,
        trigger_id="g",
        thread="th",
        execution_kind="TEST",
    )
    metric = MetricEntry(
        tenant_id="main",
        namespace="n",
        flow_id="f",
        execution_id="x",
        task_id="t",
        task_run_id="r",
        name="rows",
        type="counter",
        value=2.5,
        timestamp=START,
        execution_kind="TEST",
    )
    for write in (
        documents.event_write(ended, ENCODER.encode(ended), 1),
        documents.log_write(line, ENCODER.encode(line), 1, 2),
        documents.metric_write(metric, ENCODER.encode(metric), 1, 2),
    ):
        assert write.values == values_of(write.kind, msgspec.json.decode(write.body))
        assert len(write.values) == len(KINDS[write.kind].fields)
        assert None not in write.values


def test_writes_of_executions_and_task_runs_agree_with_the_table_of_kinds() -> None:
    """Their fields are those that reading the documents by path gives, from their first to their last event."""
    view = ExecutionView()
    first = msgspec.structs.replace(
        history()[0], schedule_date=START, trigger=TriggerInfo(id="t", type="Schedule"), kind="TEST"
    )
    for event in [first, *history()[1:]]:
        view.add(event)
        assert view.execution is not None
        assert documents.execution_write(view.execution, 1).values == values_of("executions", view.execution)
        for run in view.task_runs.values():
            assert documents.task_run_write(run, 1).values == values_of("task_runs", run)


@pytest.mark.parametrize(
    "source", ["", "- a", "a: [", "\x00", "&a [*a]", "labels: 3", "tasks: {}", "1", "!!python/x y"]
)
def test_any_text_of_a_flow_gives_a_document(source: str) -> None:
    """What cannot be read as a flow is listed under its key, and never raises."""
    body = msgspec.Raw(ENCODER.encode({"source": source}))
    document = flow_document(
        Resource(revision=1, updated=START, body=body), tenant="main", namespace="n", flow_id="f"
    )
    assert (document["id"], document["namespace"], document["labels"]) == ("f", "n", [])
