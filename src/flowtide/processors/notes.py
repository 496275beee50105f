"""Notes for flows that listen to executions: a decision in, commands to the *flows* processor out; no state.

Each state that an execution reached is told once to each flow that may wait for it (FTR-01).  Executions of tests and
of the playground start nothing.  A note is bounded: outputs that are too large are left out, with their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from flowtide.engine.outgoing import ToFlow
from flowtide.engine.turn import Turn
from flowtide.model.events import ExecutionCreated, ExecutionEnded
from flowtide.model.flow_commands import NoteExecutionState
from flowtide.model.offload import DEFAULT_LIMIT_BYTES
from flowtide.model.records import ENCODER, Label, TriggerInfo
from flowtide.model.states import State


class Listener(NamedTuple):
    """A flow whose triggers may want to know of an execution."""

    namespace: str
    flow_id: str
    revision: int  # since which it listens, or an earlier one


Listeners = Callable[[str, str, str, State], Sequence[Listener]]
"""(tenant, namespace, flow id, state) -> the flows that listen.  Asked for each state that an execution reaches."""

_SILENT = ("TEST", "PLAYGROUND")


def notes_of(turn: Turn, listeners: Listeners) -> Iterator[ToFlow]:
    """What flows are told of a decision."""
    head = turn.execution.head
    if head.kind in _SILENT:
        return
    for number, state in turn.reached:
        found = listeners(turn.tenant, head.namespace, head.flow_id, state)
        if not found:
            continue
        outputs: dict[str, Any] = {}
        for event in turn.events:
            if event.number == number and isinstance(event, ExecutionEnded):
                outputs = event.outputs or {}
        yield from _told(
            found,
            execution_id=turn.execution_id,
            namespace=head.namespace,
            flow_id=head.flow_id,
            flow_revision=head.flow_revision,
            state=state,
            at=turn.now,
            labels=head.labels,
            trigger=head.trigger,
            is_child=head.parent is not None,
            number=number,
            retry_states=turn.execution.progress.retry_states,
            outputs=outputs,
        )


def note_of_refusal(
    created: ExecutionCreated, ended: ExecutionEnded, listeners: Listeners
) -> Iterator[ToFlow]:
    """What flows are told of an execution that failed before anything of it was decided."""
    if created.kind not in _SILENT:
        yield from _told(
            listeners(created.tenant_id, created.namespace, created.flow_id, ended.state),
            execution_id=created.execution_id,
            namespace=created.namespace,
            flow_id=created.flow_id,
            flow_revision=created.flow_revision,
            state=ended.state,
            at=ended.at,
            labels=created.labels,
            trigger=created.trigger,
            is_child=created.parent is not None,
            number=ended.number,
            retry_states=[],
            outputs={},
        )


def _told(
    listeners: Sequence[Listener],
    *,
    execution_id: str,
    namespace: str,
    flow_id: str,
    flow_revision: int,
    state: State,
    at: datetime,
    labels: list[Label],
    trigger: TriggerInfo | None,
    is_child: bool,  # of a subflow task, whose id then stands in place of a trigger's
    number: int,
    retry_states: list[State],
    outputs: dict[str, Any],
) -> Iterator[ToFlow]:
    size = len(ENCODER.encode(outputs)) if outputs else 0
    too_large = size > DEFAULT_LIMIT_BYTES
    for listener in listeners:
        note = NoteExecutionState(
            execution_id=execution_id,
            namespace=namespace,
            flow_id=flow_id,
            flow_revision=flow_revision,
            state=state,
            at=at,
            labels=labels,
            outputs={} if too_large else outputs,
            outputs_bytes=size if too_large else 0,
            number=number,
            retry_states=retry_states,
            trigger_id=trigger.id if trigger is not None and not is_child else None,
            chain=trigger.chain if trigger is not None else 0,
            listener_revision=listener.revision,
        )
        yield ToFlow(listener.namespace, listener.flow_id, note)
