"""From documents and records to writes: what the index port takes, with the values that queries look at."""

from __future__ import annotations

import msgspec

from flowtide.index.document_states import Document
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
from flowtide.model.entries import LogEntry, MetricEntry
from flowtide.model.records import ENCODER
from flowtide.model.services import ServiceInstance
from flowtide.model.states import State
from flowtide.model.trigger_records import TriggerState


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
            document.get("value"),
            document.get("iteration"),
            document["lastEvent"],
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
    state: State | None = getattr(event, "state", None)
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
            None if state is None else state.value,
            event.cause.event,
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
