"""From events to the document of a task run: the API's TaskRun, plus a few fields of our own.

The document of the run that an event names comes in, the changed one goes out; no I/O and no state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flowtide.index.document_states import TERMINAL, BaseMissing, Document, enter, enter_both, new_state
from flowtide.model import events as e
from flowtide.model.records import format_date
from flowtide.model.states import State

OWN_TASK_RUN_FIELDS = frozenset(
    {
        "tenantId",
        "order",
        "branch",
        "index",
        "items",
        "due",
        "childId",
        "iterations",
        "lastEvent",
        "durationSeconds",
        "error",
    }
)
"""Fields of a task run's document that the API's TaskRun does not have."""

_WITHOUT_ATTEMPT = frozenset({State.CREATED, State.SUBMITTED, State.SKIPPED})


def changed_run(event: e.Event) -> str | None:
    """The id of the task run that `fold_task_run` changes by this event; None when it changes none."""
    if type(event) in _TASK_RUN_FOLDS or isinstance(event, e.TaskRunCreated | e.TaskRunReused):
        run_id: str | None = getattr(event, "run_id", None)
        return run_id
    return None


def fold_task_run(document: Document | None, event: e.Event, execution: Document) -> Document | None:
    """The document of the task run that `event` tells of; None when it changes none.

    `execution` is the execution's document; only its namespace and flow are read.  `document` is that of the run
    named by `event.run_id`.  An event that it has seen already gives it back as it is.  Raises BaseMissing when
    there is no document and the event is not the one that creates it.
    """
    if isinstance(event, e.TaskRunCreated):
        return document if document is not None else _run_created(event, execution)
    if isinstance(event, e.TaskRunReused):
        return document if document is not None else _run_reused(event, execution)
    fold = _TASK_RUN_FOLDS.get(type(event))
    if fold is None:
        return None
    if document is None:
        raise BaseMissing(f"event {event.number} of execution {event.execution_id} is of an unknown task run")
    if event.number > document["lastEvent"]:
        document["lastEvent"] = event.number
        fold(document, event)
    return document


def _run_created(event: e.TaskRunCreated, execution: Document) -> Document:
    date = format_date(event.at)
    name = event.state.value
    state = new_state("CREATED", date)
    attempts: list[Document] = []
    if event.state not in _WITHOUT_ATTEMPT:
        attempts.append({"state": new_state("CREATED", date)})
        enter(attempts[0]["state"], name, date)
    document = _new_run(event, execution, state, attempts)
    if event.error is not None:
        document["error"] = event.error
    if event.state is not State.CREATED:
        enter_both(document, name, date)
    return document


def _run_reused(event: e.TaskRunReused, execution: Document) -> Document:
    date = format_date(event.at)
    state = new_state("CREATED", date)
    if event.histories:
        histories = [dict(each) for each in event.histories]
        state = new_state(histories[0]["state"], histories[0]["date"])
        for each in histories[1:]:
            enter(state, each["state"], each["date"])
    document = _new_run(event, execution, state, list(event.attempts))
    if event.values is not None:
        document["iterations"] = len(event.values)
    if event.state is State.RUNNING:
        _begin_attempt(document, date)
    if state["current"] != event.state.value:
        enter_both(document, event.state.value, date)
    elif "endDate" in state:
        lasted = datetime.fromisoformat(state["endDate"]) - datetime.fromisoformat(state["startDate"])
        document["durationSeconds"] = lasted.total_seconds()
    return document


def _new_run(
    event: e.TaskRunCreated | e.TaskRunReused, execution: Document, state: Document, attempts: list[Document]
) -> Document:
    """What a new run and one that was taken over have alike."""
    document: Document = {
        "id": event.run_id,
        "tenantId": event.tenant_id,
        "executionId": event.execution_id,
        "namespace": execution["namespace"],
        "flowId": execution["flowId"],
        "taskId": event.task_id,
        "attempts": attempts,
        "outputs": event.outputs if event.outputs is not None else {},
        "state": state,
        "order": event.number,
        "branch": event.branch,
        "index": event.index,
        "lastEvent": event.number,
    }
    for field, value in (
        ("parentTaskRunId", event.parent_id),
        ("value", event.value),
        ("iteration", event.iteration),
        ("items", event.items),
    ):
        if value is not None:
            document[field] = value
    return document


def _begin_attempt(document: Document, date: str) -> None:
    """Another attempt of a run that the executor itself carries out."""
    attempt = {"state": new_state("CREATED", date)}
    enter(attempt["state"], "RUNNING", date)
    document["attempts"].append(attempt)


def _run_reopened(document: Document, event: e.TaskRunReopened) -> None:
    date = format_date(event.at)
    enter_both(document, "RESTARTED", date)
    document.pop("error", None)
    if event.around:
        _begin_attempt(document, date)
        enter_both(document, "RUNNING", date)
    elif event.becomes is None:
        document["outputs"] = {}
        attempts: list[Document] = document["attempts"]
        while len(attempts) < event.attempt:  # of one that was ended before a worker began it
            attempts.append({"state": new_state("CREATED", date)})
            enter(attempts[-1]["state"], event.before.value, date)


def _own_attempt(document: Document) -> Document | None:
    """The attempt of a run that the executor itself carries out (no worker), which moves along with the run."""
    attempts: list[Document] = document["attempts"]
    return attempts[-1] if attempts and "workerId" not in attempts[-1] else None


def _attempt(document: Document, number: int, date: str) -> Document:
    attempts: list[Document] = document["attempts"]
    while len(attempts) <= number:
        attempts.append({"state": new_state("CREATED", date)})
    attempt: Document = attempts[number]
    return attempt


def _run_submitted(document: Document, event: e.TaskRunSubmitted) -> None:
    date = format_date(event.at)
    document.pop("due", None)
    if event.flowable:
        _begin_attempt(document, date)
        enter_both(document, "RUNNING", date)
    else:
        enter_both(document, "SUBMITTED", date)


def _run_started(document: Document, event: e.TaskRunStarted) -> None:
    date = format_date(event.at)
    attempt = _attempt(document, event.attempt, date)
    attempt["workerId"] = event.worker_id
    enter(attempt["state"], "RUNNING", date)
    enter_both(document, "RUNNING", date)


def _run_retrying(document: Document, event: e.TaskRunRetrying) -> None:
    date = format_date(event.at)
    enter(_attempt(document, event.attempt, date)["state"], "FAILED", date)
    enter_both(document, "RETRYING", date)
    document["due"] = format_date(event.due)
    if event.error is not None:
        document["error"] = event.error


def _run_resubmitted(document: Document, event: e.TaskRunResubmitted) -> None:
    date = format_date(event.at)
    attempt = _attempt(document, event.attempt, date)
    attempt["workerId"] = event.worker_id
    enter(attempt["state"], "RESUBMITTED", date)
    enter_both(document, "SUBMITTED", date)


def _run_moves(document: Document, name: str, date: str) -> None:
    attempt = _own_attempt(document)
    if attempt is not None:
        enter(attempt["state"], name, date)
    enter_both(document, name, date)


def _run_paused(document: Document, event: e.TaskRunPaused) -> None:
    _run_moves(document, "PAUSED", format_date(event.at))
    if event.due is not None:
        document["due"] = format_date(event.due)


def _run_at_breakpoint(document: Document, event: e.BreakpointReached) -> None:
    _run_moves(document, "BREAKPOINT", format_date(event.at))


def _run_resumed(document: Document, event: e.TaskRunResumed) -> None:
    _run_moves(document, "RUNNING", format_date(event.at))
    document.pop("due", None)
    if event.outputs is not None:
        document["outputs"] = event.outputs


def _run_killing(document: Document, event: e.TaskRunKilling) -> None:
    _run_moves(document, "KILLING", format_date(event.at))


def _run_ended(document: Document, event: e.TaskRunEnded) -> None:
    date = format_date(event.at)
    name = event.state.value
    attempts = document["attempts"]
    if attempts and attempts[-1]["state"]["current"] not in TERMINAL:
        enter(attempts[-1]["state"], name, date)
    enter_both(document, name, date)
    document.pop("due", None)
    if event.outputs is not None:
        document["outputs"] = event.outputs
    if event.error is not None:
        document["error"] = event.error
    elif event.state is State.SUCCESS:
        document.pop("error", None)  # that of an attempt before


def _loop_opened(document: Document, event: e.LoopOpened) -> None:
    document["iterations"] = len(event.values)


def _batches_counted(document: Document, event: e.BatchesCounted) -> None:
    document["outputs"] = {"iterations": event.iterations, "numberOfBatches": event.batches}


def _loop_repeated(document: Document, event: e.LoopRepeated) -> None:
    document.pop("due", None)
    document["outputs"] = {**document["outputs"], "iterationCount": event.iteration + 1}


def _loop_delayed(document: Document, event: e.LoopDelayed) -> None:
    document["due"] = format_date(event.due)


def _child_started(document: Document, event: e.ChildExecutionStarted) -> None:
    document["childId"] = event.child_id
    if event.outputs:
        document["outputs"] = {**document["outputs"], **event.outputs}


_TASK_RUN_FOLDS: Mapping[type[e.Event], Callable[[Document, Any], None]] = {
    e.TaskRunSubmitted: _run_submitted,
    e.TaskRunReopened: _run_reopened,
    e.TaskRunStarted: _run_started,
    e.TaskRunRetrying: _run_retrying,
    e.TaskRunResubmitted: _run_resubmitted,
    e.TaskRunPaused: _run_paused,
    e.BreakpointReached: _run_at_breakpoint,
    e.TaskRunResumed: _run_resumed,
    e.TaskRunKilling: _run_killing,
    e.TaskRunEnded: _run_ended,
    e.LoopOpened: _loop_opened,
    e.BatchesCounted: _batches_counted,
    e.LoopRepeated: _loop_repeated,
    e.LoopDelayed: _loop_delayed,
    e.ChildExecutionStarted: _child_started,
}
