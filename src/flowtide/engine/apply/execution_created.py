"""ExecutionCreated: a new state, with the root open and nothing in it."""

from __future__ import annotations

from datetime import timedelta

from flowtide.engine.execution import ROOT, Execution, Head, Progress, Run
from flowtide.model.events import ExecutionCreated
from flowtide.model.states import State

REUSE_PATIENCE = timedelta(minutes=5)
"""How long an execution waits for the task runs that it goes on from."""


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
        attempt_number=event.attempt_number,
        original_created=event.original_created,
        flow_retries=event.flow_retries,
        sources=event.sources,
        breakpoints=event.breakpoints,
    )
    root = Run(run_id=ROOT, task_id=ROOT, state=State.CREATED, created=head.created, entered="tasks")
    execution = Execution(head, Progress(state=State.CREATED, root=root))
    if event.reuses:
        # Whoever sends what it goes on from may die; then it must not wait for ever.
        execution.progress.held = True
        execution.set_timer("reuse:", event.at + REUSE_PATIENCE)
    if event.schedule_date is not None:
        execution.set_timer("schedule:", event.schedule_date)
    if event.held:
        execution.set_timer("hold:", event.at)
    for sla_id, due in event.deadlines.items():
        execution.set_timer(f"sla:{sla_id}", due)
    execution.touch_head()
    execution.touch_progress()
    return execution
