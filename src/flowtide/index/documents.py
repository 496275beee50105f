"""From events to documents: the fold behind the search index, the live view and "as it was after event N".

Events of one execution come in, in the order of their numbers; out go the execution's document (the API's Execution
without its task runs) and one document a task run (the API's TaskRun), plus a few fields of our own.  No I/O and no
state: a document that is handed in is given up by the caller, may be changed, and is the one that is given back.
The cost of one event does not depend on how many task runs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from flowtide.index.kinds import (
    SYSTEM_TENANT,
    event_id,
    microseconds,
    numbered_id,
    parse_microseconds,
    values_of,
)
from flowtide.index.port import Write
from flowtide.model import events as e
from flowtide.model.audit import AuditEntry
from flowtide.model.durations import format_duration
from flowtide.model.entries import LogEntry, MetricEntry
from flowtide.model.labels import RESTARTED
from flowtide.model.nested import merged, without
from flowtide.model.records import ENCODER, Label, format_date
from flowtide.model.services import ServiceInstance
from flowtide.model.states import State
from flowtide.model.trigger_records import TriggerState

Document = dict[str, Any]

CORRELATION = "system.correlationId"

OWN_EXECUTION_FIELDS = frozenset({"lastEvent", "taskRunCount", "durationSeconds", "error"})
"""Fields of an execution's document that the API's Execution does not have."""

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
_TERMINAL = frozenset(state.value for state in State if state.is_terminal)


class BaseMissing(ValueError):
    """An event changes a document that is not there: its earlier events were never folded, or are gone."""


def _new_state(first: str, date: str) -> Document:
    return {"current": first, "histories": [{"state": first, "date": date}], "startDate": date}


def _enter(state: Document, name: str, date: str) -> float | None:
    """Move on to the state `name`; gives the seconds from the first state when it is one that nothing follows."""
    state["current"] = name
    state["histories"].append({"state": name, "date": date})
    if name in _TERMINAL:
        state["endDate"] = date
        lasted = datetime.fromisoformat(date) - datetime.fromisoformat(state["startDate"])
        state["duration"] = _format_duration(lasted)
        return lasted.total_seconds()
    if "endDate" in state:
        del state["endDate"], state["duration"]
    return None


def _format_duration(duration: timedelta) -> str:
    """As `format_duration`, faster for what most task runs take: less than a minute."""
    if duration.days or not 0 <= duration.seconds < 60:
        return format_duration(duration)
    if not duration.microseconds:
        return f"PT{duration.seconds}S"
    decimals = f"{duration.microseconds:06d}".rstrip("0")
    return f"PT{duration.seconds}.{decimals}S"


def _enter_both(document: Document, name: str, date: str) -> None:
    """Move the state of the document itself, and keep its duration as a number beside it."""
    seconds = _enter(document["state"], name, date)
    if seconds is not None:
        document["durationSeconds"] = seconds
    elif "durationSeconds" in document:
        del document["durationSeconds"]


# --- the execution ---------------------------------------------------------------------------------------------


def fold_execution(document: Document | None, event: e.Event) -> Document:
    """The execution's document after `event`; an event that it has seen already changes nothing.

    Raises BaseMissing when there is no document and the event is not the one that creates it.
    """
    if document is None:
        if not isinstance(event, e.ExecutionCreated):
            raise BaseMissing(
                f"event {event.number} of execution {event.execution_id} came without those before it"
            )
        return _created(event)
    if event.number <= document["lastEvent"]:
        return document
    document["lastEvent"] = event.number
    fold = _EXECUTION_FOLDS.get(type(event))
    if fold is not None:
        fold(document, event)
    return document


def _created(event: e.ExecutionCreated) -> Document:
    date = format_date(event.requested or event.at)
    labels = [{"key": label.key, "value": label.value} for label in event.labels]
    if not any(label.key == CORRELATION for label in event.labels):
        labels.append({"key": CORRELATION, "value": event.execution_id})
    document: Document = {
        "id": event.execution_id,
        "tenantId": event.tenant_id,
        "namespace": event.namespace,
        "flowId": event.flow_id,
        "flowRevision": event.flow_revision,
        "labels": labels,
        "inputs": event.inputs,
        "variables": event.variables,
        "state": _new_state("CREATED", date),
        "originalId": event.original_id or event.execution_id,
        "deleted": False,
        "metadata": {
            "attemptNumber": event.attempt_number,
            "originalCreatedDate": date
            if event.original_created is None
            else format_date(event.original_created),
        },
        "lastEvent": event.number,
        "taskRunCount": {"total": 0},
    }
    trigger = event.trigger
    if trigger is not None:
        document["trigger"] = {"id": trigger.id, "type": trigger.type, "variables": trigger.variables}
        if trigger.log_file is not None:
            document["trigger"]["logFile"] = trigger.log_file
    if event.parent is not None:
        document["parentId"] = event.parent.execution_id
    if event.kind is not None:
        document["kind"] = event.kind
    if event.schedule_date is not None:
        document["scheduleDate"] = format_date(event.schedule_date)
    if event.trace_parent is not None:
        document["traceParent"] = event.trace_parent
    if event.breakpoints:
        document["breakpoints"] = [msgspec.to_builtins(each) for each in event.breakpoints]
    return document


def _execution_enters(name: str) -> Callable[[Document, Any], None]:
    def fold(document: Document, event: e.Event) -> None:
        _enter_both(document, name, format_date(event.at))

    return fold


def _execution_ended(document: Document, event: e.ExecutionEnded) -> None:
    _enter_both(document, event.state.value, format_date(event.at))
    if event.outputs is not None:
        document["outputs"] = event.outputs
    if event.error is not None:
        document["error"] = event.error


def _labels_set(document: Document, event: e.LabelsSet) -> None:
    _merge_labels(document, event.labels, event.removed)


def _merge_labels(document: Document, added: Sequence[Label], removed: Sequence[str] = ()) -> None:
    labels = {each["key"]: each["value"] for each in document["labels"] if each["key"] not in removed}
    labels.update((label.key, label.value) for label in added)
    document["labels"] = [{"key": key, "value": value} for key, value in labels.items()]


def _variables_set(document: Document, event: e.VariablesSet) -> None:
    variables = document["variables"]
    for path in event.removed:
        variables = without(variables, path)
    document["variables"] = merged(variables, event.variables)


def _sla_breached(document: Document, event: e.SlaBreached) -> None:
    _merge_labels(document, event.labels)
    if event.behavior != "NONE":
        document["error"] = f"SLA `{event.sla_id}` is breached: {event.reason}"


def _breakpoints_set(document: Document, event: e.BreakpointsSet) -> None:
    document["breakpoints"] = [msgspec.to_builtins(each) for each in event.breakpoints]


def _count_created(document: Document, event: e.TaskRunCreated | e.TaskRunReused) -> None:
    counts = document["taskRunCount"]
    counts["total"] += 1
    if event.state.is_terminal:
        counts[event.state.value] = counts.get(event.state.value, 0) + 1


def _count_ended(document: Document, event: e.TaskRunEnded) -> None:
    counts = document["taskRunCount"]
    counts[event.state.value] = counts.get(event.state.value, 0) + 1


def _execution_restarted(document: Document, event: e.ExecutionRestarted) -> None:
    document.pop("error", None)
    document.pop("outputs", None)
    if event.flow_revision is not None:
        document["flowRevision"] = event.flow_revision
    if not event.automatic:
        _enter_both(document, "RESTARTED", format_date(event.at))
        labels = [label for label in document["labels"] if label["key"] != RESTARTED]
        document["labels"] = [*labels, {"key": RESTARTED, "value": "true"}]


def _state_changed(document: Document, event: e.ExecutionStateChanged) -> None:
    _enter_both(document, event.state.value, format_date(event.at))


def _count_reopened(document: Document, event: e.TaskRunReopened) -> None:
    counts = document["taskRunCount"]
    counts[event.before.value] = counts.get(event.before.value, 0) - 1


_EXECUTION_FOLDS: Mapping[type[e.Event], Callable[[Document, Any], None]] = {
    e.ExecutionQueued: _execution_enters("QUEUED"),
    e.ExecutionStarted: _execution_enters("RUNNING"),
    e.ExecutionPaused: _execution_enters("PAUSED"),
    e.ExecutionResumed: _execution_enters("RUNNING"),
    e.ExecutionKilling: _execution_enters("KILLING"),
    e.ExecutionEnded: _execution_ended,
    e.LabelsSet: _labels_set,
    e.VariablesSet: _variables_set,
    e.SlaBreached: _sla_breached,
    e.BreakpointReached: _execution_enters("BREAKPOINT"),
    e.BreakpointsSet: _breakpoints_set,
    e.ExecutionRetrying: _execution_enters("RETRYING"),
    e.ExecutionRestarted: _execution_restarted,
    e.ExecutionStateChanged: _state_changed,
    e.TaskRunReopened: _count_reopened,
    e.TaskRunReused: _count_created,
    e.TaskRunCreated: _count_created,
    e.TaskRunEnded: _count_ended,
}


# --- its task runs ---------------------------------------------------------------------------------------------


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
    state = _new_state("CREATED", date)
    attempts: list[Document] = []
    if event.state not in _WITHOUT_ATTEMPT:
        attempts.append({"state": _new_state("CREATED", date)})
        _enter(attempts[0]["state"], name, date)
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
    if event.parent_id is not None:
        document["parentTaskRunId"] = event.parent_id
    if event.value is not None:
        document["value"] = event.value
    if event.iteration is not None:
        document["iteration"] = event.iteration
    if event.items is not None:
        document["items"] = event.items
    if event.error is not None:
        document["error"] = event.error
    if event.state is not State.CREATED:
        _enter_both(document, name, date)
    return document


def _run_reused(event: e.TaskRunReused, execution: Document) -> Document:
    date = format_date(event.at)
    state = _new_state("CREATED", date)
    if event.histories:
        histories = [dict(each) for each in event.histories]
        state = _new_state(histories[0]["state"], histories[0]["date"])
        for each in histories[1:]:
            _enter(state, each["state"], each["date"])
    document: Document = {
        "id": event.run_id,
        "tenantId": event.tenant_id,
        "executionId": event.execution_id,
        "namespace": execution["namespace"],
        "flowId": execution["flowId"],
        "taskId": event.task_id,
        "attempts": list(event.attempts),
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
    if event.values is not None:
        document["iterations"] = len(event.values)
    if event.state is State.RUNNING:
        _begin_attempt(document, date)
    if state["current"] != event.state.value:
        _enter_both(document, event.state.value, date)
    elif "endDate" in state:
        lasted = datetime.fromisoformat(state["endDate"]) - datetime.fromisoformat(state["startDate"])
        document["durationSeconds"] = lasted.total_seconds()
    return document


def _begin_attempt(document: Document, date: str) -> None:
    """Another attempt of a run that the executor itself carries out."""
    attempt = {"state": _new_state("CREATED", date)}
    _enter(attempt["state"], "RUNNING", date)
    document["attempts"].append(attempt)


def _run_reopened(document: Document, event: e.TaskRunReopened) -> None:
    date = format_date(event.at)
    _enter_both(document, "RESTARTED", date)
    document.pop("error", None)
    if event.around:
        _begin_attempt(document, date)
        _enter_both(document, "RUNNING", date)
    elif event.becomes is None:
        document["outputs"] = {}


def _own_attempt(document: Document) -> Document | None:
    """The attempt of a run that the executor itself carries out (no worker), which moves along with the run."""
    attempts: list[Document] = document["attempts"]
    return attempts[-1] if attempts and "workerId" not in attempts[-1] else None


def _attempt(document: Document, number: int, date: str) -> Document:
    attempts: list[Document] = document["attempts"]
    while len(attempts) <= number:
        attempts.append({"state": _new_state("CREATED", date)})
    attempt: Document = attempts[number]
    return attempt


def _run_submitted(document: Document, event: e.TaskRunSubmitted) -> None:
    date = format_date(event.at)
    document.pop("due", None)
    if event.flowable:
        _begin_attempt(document, date)
        _enter_both(document, "RUNNING", date)
    else:
        _enter_both(document, "SUBMITTED", date)


def _run_started(document: Document, event: e.TaskRunStarted) -> None:
    date = format_date(event.at)
    attempt = _attempt(document, event.attempt, date)
    attempt["workerId"] = event.worker_id
    _enter(attempt["state"], "RUNNING", date)
    _enter_both(document, "RUNNING", date)


def _run_retrying(document: Document, event: e.TaskRunRetrying) -> None:
    date = format_date(event.at)
    _enter(_attempt(document, event.attempt, date)["state"], "FAILED", date)
    _enter_both(document, "RETRYING", date)
    document["due"] = format_date(event.due)
    if event.error is not None:
        document["error"] = event.error


def _run_resubmitted(document: Document, event: e.TaskRunResubmitted) -> None:
    date = format_date(event.at)
    attempt = _attempt(document, event.attempt, date)
    attempt["workerId"] = event.worker_id
    _enter(attempt["state"], "RESUBMITTED", date)
    _enter_both(document, "SUBMITTED", date)


def _run_moves(document: Document, name: str, date: str) -> None:
    attempt = _own_attempt(document)
    if attempt is not None:
        _enter(attempt["state"], name, date)
    _enter_both(document, name, date)


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
    if attempts and attempts[-1]["state"]["current"] not in _TERMINAL:
        _enter(attempts[-1]["state"], name, date)
    _enter_both(document, name, date)
    document.pop("due", None)
    if event.outputs is not None:
        document["outputs"] = event.outputs
    if event.error is not None:
        document["error"] = event.error
    elif event.state is State.SUCCESS:
        document.pop("error", None)  # that of an attempt before


def _loop_opened(document: Document, event: e.LoopOpened) -> None:
    document["iterations"] = len(event.values)


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
    e.LoopRepeated: _loop_repeated,
    e.LoopDelayed: _loop_delayed,
    e.ChildExecutionStarted: _child_started,
}


# --- from documents and records to writes ----------------------------------------------------------------------


def execution_write(document: Document, version: int) -> Write:
    """The write of an execution's document as it is now."""
    return Write(
        kind="executions",
        tenant=document["tenantId"],
        id=document["id"],
        version=version,
        body=ENCODER.encode(document),
        values=(
            document["id"],
            document["namespace"],
            document["flowId"],
            document["flowRevision"],
            *_state_values(document),
            document.get("kind"),
            document.get("parentId"),
            document["originalId"],
            trigger["id"] if (trigger := document.get("trigger")) else None,
            parse_microseconds(scheduled) if (scheduled := document.get("scheduleDate")) else None,
        ),
        labels=tuple([(label["key"], label["value"]) for label in document["labels"]]),
    )


def task_run_write(document: Document, version: int) -> Write:
    """The write of a task run's document as it is now."""
    return Write(
        kind="task_runs",
        tenant=document["tenantId"],
        id=document["id"],
        version=version,
        body=ENCODER.encode(document),
        values=(
            document["id"],
            document["executionId"],
            document["order"],
            document["namespace"],
            document["flowId"],
            document["taskId"],
            document.get("parentTaskRunId"),
            *_state_values(document),
        ),
    )


def _state_values(document: Document) -> tuple[str, int, int | None, float | None]:
    state = document["state"]
    start = state["startDate"]
    end = state.get("endDate")
    return (
        state["current"],
        parse_microseconds(start),
        None if end is None else parse_microseconds(end),
        document.get("durationSeconds"),
    )


def event_write(event: e.Event, body: bytes, version: int) -> Write:
    """The write of an event; `body` is its record as it stands on the log."""
    return Write(
        kind="events",
        tenant=event.tenant_id,
        id=event_id(event.execution_id, event.number),
        version=version,
        body=body,
        values=(
            event.execution_id,
            event.number,
            type(event).__name__,
            microseconds(event.at),
            getattr(event, "run_id", None),
        ),
    )


def log_write(entry: LogEntry, body: bytes, partition: int, offset: int) -> Write:
    """The write of a log line; `body` is its record as it stands on the log."""
    return Write(
        kind="logs",
        tenant=entry.tenant_id,
        id=numbered_id(partition, offset),
        version=offset,
        body=body,
        values=(
            entry.namespace,
            entry.flow_id,
            microseconds(entry.timestamp),
            entry.level.value,
            entry.execution_id,
            entry.task_id,
            entry.task_run_id,
            entry.attempt_number,
            entry.trigger_id,
            entry.execution_kind,
            entry.message,
        ),
    )


def metric_write(entry: MetricEntry, body: bytes, partition: int, offset: int) -> Write:
    """The write of a metric; `body` is its record as it stands on the log."""
    return Write(
        kind="metrics",
        tenant=entry.tenant_id,
        id=numbered_id(partition, offset),
        version=offset,
        body=body,
        values=(
            entry.namespace,
            entry.flow_id,
            entry.execution_id,
            entry.task_id,
            entry.task_run_id,
            entry.name,
            entry.type,
            entry.value,
            microseconds(entry.timestamp),
            entry.execution_kind,
        ),
    )


def write_of(kind: str, *, tenant: str, id: str, version: int, document: Document) -> Write:  # noqa: A002 - the port's word
    """The write of any document; its fields and labels are read from it."""
    return Write(
        kind=kind,
        tenant=tenant,
        id=id,
        version=version,
        body=ENCODER.encode(document),
        values=values_of(kind, document),
        labels=tuple([(label["key"], label["value"]) for label in document.get("labels", ())]),
    )


def trigger_write(state: TriggerState, version: int) -> Write:
    """The write of a trigger as it last was."""
    document: Document = msgspec.to_builtins(state)
    document["disabled"] = state.disabled
    identifier = f"{state.namespace}/{state.flow_id}/{state.trigger_id}"
    return write_of("triggers", tenant=state.tenant_id, id=identifier, version=version, document=document)


def audit_write(entry: AuditEntry, version: int) -> Write:
    """The write of an audit entry; what it is found by (`details`) are its labels."""
    document: Document = msgspec.to_builtins(entry)
    document["actor"].setdefault("type", entry.actor.type)
    document["labels"] = [{"key": key, "value": value} for key, value in entry.details.items()]
    document["detailId"] = entry.details.get("id")
    document["namespace"] = entry.details.get("namespace")
    return write_of("audit_logs", tenant=entry.tenant_id, id=entry.id, version=version, document=document)


def service_write(instance: ServiceInstance, version: int) -> Write:
    """The write of a server as it last was."""
    document: Document = msgspec.to_builtins(instance)
    return write_of("services", tenant=SYSTEM_TENANT, id=instance.id, version=version, document=document)
