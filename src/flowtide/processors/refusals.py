"""Executions of flows that do not exist: the command that asks for one in, the events that show it FAILED out."""

from __future__ import annotations

from datetime import datetime

from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import CreateExecution
from flowtide.model.events import ExecutionCreated, ExecutionEnded
from flowtide.model.records import Cause
from flowtide.model.states import State


def events_of_refusal(
    key: ExecutionKey, command: CreateExecution, now: datetime, place: str | None
) -> tuple[ExecutionCreated, ExecutionEnded]:
    """Its creation and its end; `place` is where the command stands on the log."""
    error = f"there is no flow {command.namespace}.{command.flow_id}"
    if command.flow_revision is not None:
        error += f" with revision {command.flow_revision}"
    cause = Cause(command=type(command).__name__, record=place, by=command.by)
    created = ExecutionCreated(
        tenant_id=key.tenant,
        execution_id=key.execution_id,
        number=0,
        at=now,
        cause=cause,
        namespace=command.namespace,
        flow_id=command.flow_id,
        flow_revision=command.flow_revision or 0,
        inputs=command.inputs,
        labels=command.labels,
        trigger=command.trigger,
        parent=command.parent,
        original_id=command.original_id,
        kind=command.kind,
        trace_parent=command.trace_parent,
    )
    ended = ExecutionEnded(
        tenant_id=key.tenant,
        execution_id=key.execution_id,
        number=1,
        at=now,
        cause=Cause(event=0),
        state=State.FAILED,
        error=error,
    )
    return created, ended
