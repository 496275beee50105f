"""CreateExecution: an execution comes into being, asks for a slot where its flow has a limit, and starts."""

from __future__ import annotations

from typing import Any

from flowtide.engine.checks import failed_check
from flowtide.engine.decide.constructs import CONSTRUCTS
from flowtide.engine.decide.constructs.root import end_execution
from flowtide.engine.execution import ROOT
from flowtide.engine.outgoing import ToFlow
from flowtide.engine.sla import deadlines
from flowtide.engine.support import refusal
from flowtide.engine.turn import Turn
from flowtide.errors import FlowtideError
from flowtide.expressions import Scope, render_value
from flowtide.model.commands import CreateExecution
from flowtide.model.entries import Level
from flowtide.model.events import ExecutionCreated, ExecutionStarted, SlotRequested
from flowtide.model.flow_commands import AcquireSlot
from flowtide.model.input_resolution import input_encryption, resolve_inputs
from flowtide.model.records import Label
from flowtide.model.states import State

CORRELATION = "system.correlationId"


def decide(turn: Turn, command: CreateExecution) -> None:
    """Create the execution; a second command for the same one finds it there and changes nothing."""
    if turn.exists:
        return
    flow = turn.plan.flow
    error = command.error
    inputs = command.inputs
    ignored: list[str] = []  # what is said of values that no input asks for (SUB-07)
    if error is None and flow.disabled:
        error = "Cannot execute a flow which is disabled"
    if error is None and turn.plan.unsupported:
        error = refusal(turn.plan.unsupported)
    if error is None and not command.inputs_resolved:
        try:
            inputs = resolve_inputs(
                flow.inputs,
                command.inputs,
                lambda value, variables: render_value(
                    value, Scope(variables, now=lambda: turn.now), typed=True
                ),
                encrypt=input_encryption(
                    turn.plan.cipher, tenant_id=turn.tenant, execution_id=turn.execution_id
                ),
                decrypt=turn.opened,
                warn=ignored.append,
                variables={"flow": {"id": flow.id, "namespace": flow.namespace, "tenantId": turn.tenant}},
            )
            error = _failed_check(turn, inputs)
        except FlowtideError as failure:
            error = str(failure)
    requested = min(command.at, turn.now)
    turn.cause = turn.emit(
        ExecutionCreated,
        namespace=flow.namespace,
        flow_id=flow.id,
        flow_revision=turn.plan.revision,
        inputs=inputs,
        labels=_labels(turn, command),
        variables=dict(flow.variables),
        trigger=command.trigger,
        parent=command.parent,
        original_id=command.original_id,
        kind=command.kind,
        schedule_date=command.schedule_date
        if command.schedule_date and command.schedule_date > turn.now
        else None,
        trace_parent=command.trace_parent,
        release_trigger=command.release_trigger,
        requested=requested,
        attempt_number=command.attempt_number,
        original_created=command.original_created,
        flow_retries=command.flow_retries,
        sources=command.sources,
        reuses=command.reuses,
        deadlines=deadlines(turn.plan, max(command.schedule_date or requested, requested)),
        breakpoints=command.breakpoints,
        held=command.held and command.stopped is None and error is None,
    )
    for sentence in ignored:
        turn.log(Level.WARN, sentence)
    if error is not None:
        end_execution(turn, State.FAILED, error=error)
    elif command.stopped is not None:
        end_execution(turn, command.stopped)
    elif turn.execution.head.schedule_date is None and not command.held and not command.reuses:
        admit(turn)


def _failed_check(turn: Turn, inputs: dict[str, Any]) -> str | None:
    flow = turn.plan.flow
    if not flow.checks:
        return None
    variables = {
        "flow": {"id": flow.id, "namespace": flow.namespace, "tenantId": turn.tenant},
        "inputs": turn.opened(inputs),
    }
    return failed_check(
        flow.checks, lambda value: render_value(value, Scope(variables, now=lambda: turn.now), typed=False)
    )


def admit(turn: Turn) -> None:
    """Let the execution start, or ask for a slot first (CON-01)."""
    if turn.plan.flow.concurrency is None:
        start(turn)
        return
    turn.emit(SlotRequested)
    head = turn.execution.head
    turn.send(ToFlow(head.namespace, head.flow_id, AcquireSlot(execution_id=turn.execution_id, at=turn.now)))


def start(turn: Turn) -> None:
    """Run: open the first task, or what was opened before."""
    if turn.execution.progress.restarted:
        turn.go_on_held()
        return
    turn.cause = turn.emit(ExecutionStarted)
    CONSTRUCTS["root"].start(turn, turn.execution.runs[ROOT], turn.plan.root)


def _labels(turn: Turn, command: CreateExecution) -> list[Label]:
    """The flow's labels, overridden by the command's, and the correlation of a chain (LAB-01, LAB-06)."""
    labels = {label.key: label.value for label in turn.plan.flow.labels}
    labels.update((label.key, label.value) for label in command.labels)
    labels.setdefault(CORRELATION, turn.execution_id)
    return [Label(key=key, value=value) for key, value in labels.items()]
