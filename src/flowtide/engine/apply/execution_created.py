"""ExecutionCreated: a new state, with the root open and nothing in it."""

from __future__ import annotations

from flowtide.engine.execution import ROOT, Execution, Head, Progress, Run
from flowtide.model.events import ExecutionCreated
from flowtide.model.states import State


def create(event: ExecutionCreated) -> Execution:
    """Build the state that every later event changes."""
    head = Head(
        tenant=event.tenant_id,
        execution_id=event.execution_id,
        namespace=event.namespace,
        flow_id=event.flow_id,
        flow_revision=event.flow_revision,
        created=event.requested or event.at,
        inputs=event.inputs,
        variables=event.variables,
        labels=event.labels,
        trigger=event.trigger,
        parent=event.parent,
        original_id=event.original_id,
        kind=event.kind,
        schedule_date=event.schedule_date,
        trace_parent=event.trace_parent,
        release_trigger=event.release_trigger,
    )
    root = Run(run_id=ROOT, task_id=ROOT, state=State.CREATED, created=head.created, entered="tasks")
    execution = Execution(head, Progress(state=State.CREATED, root=root))
    if event.schedule_date is not None:
        execution.set_timer("schedule:", event.schedule_date)
    execution.touch_head()
    execution.touch_progress()
    return execution
