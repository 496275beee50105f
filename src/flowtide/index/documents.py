"""From events to documents: the fold behind the search index, the live view and "as it was after event N".

Events of one execution come in, in the order of their numbers; out go the execution's document (the API's Execution
without its task runs) and one document a task run (the API's TaskRun), plus a few fields of our own.  No I/O and no
state: a document that is handed in is given up by the caller, may be changed, and is the one that is given back.
The cost of one event does not depend on how many task runs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flowtide.index.document_states import BaseMissing, Document, enter_both, new_state
from flowtide.index.document_writes import (
    audit_write,
    event_write,
    execution_write,
    log_write,
    metric_write,
    service_write,
    task_run_write,
    trigger_write,
    write_of,
)
from flowtide.index.task_run_documents import OWN_TASK_RUN_FIELDS, changed_run, fold_task_run
from flowtide.model import events as e
from flowtide.model.labels import RESTARTED
from flowtide.model.nested import merged, without
from flowtide.model.records import Label, format_date

__all__ = [
    "OWN_EXECUTION_FIELDS",
    "OWN_TASK_RUN_FIELDS",
    "BaseMissing",
    "Document",
    "audit_write",
    "changed_run",
    "event_write",
    "execution_write",
    "fold_execution",
    "fold_task_run",
    "log_write",
    "metric_write",
    "service_write",
    "task_run_write",
    "trigger_write",
    "write_of",
]

CORRELATION = "system.correlationId"

OWN_EXECUTION_FIELDS = frozenset({"lastEvent", "taskRunCount", "durationSeconds", "error"})
"""Fields of an execution's document that the API's Execution does not have."""


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
        "state": new_state("CREATED", date),
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
        enter_both(document, name, format_date(event.at))

    return fold


def _execution_ended(document: Document, event: e.ExecutionEnded) -> None:
    enter_both(document, event.state.value, format_date(event.at))
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
        enter_both(document, "RESTARTED", format_date(event.at))
        labels = [label for label in document["labels"] if label["key"] != RESTARTED]
        document["labels"] = [*labels, {"key": RESTARTED, "value": "true"}]


def _state_changed(document: Document, event: e.ExecutionStateChanged) -> None:
    enter_both(document, event.state.value, format_date(event.at))


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
