"""TaskRunCreated: a task run joins its parent, which counts it."""

from __future__ import annotations

from flowtide.engine.apply.parent import child_ended
from flowtide.engine.execution import ROOT, Execution, Run
from flowtide.model.events import TaskRunCreated
from flowtide.model.states import TERMINAL, State


def apply(execution: Execution, event: TaskRunCreated) -> None:
    parent = execution.runs[event.parent_id or ROOT]
    run = Run(
        run_id=event.run_id,
        task_id=event.task_id,
        state=event.state,
        created=event.at,
        parent_id=parent.run_id,
        branch=event.branch,
        index=event.index,
        last=event.last,
        value=event.value,
        iteration=event.iteration,
        items=event.items,
        path=parent.path if event.value is None else [*parent.path, event.value],
        number=event.number,
        outputs=event.outputs,
        handed_out=event.state is State.SUBMITTED,
        repeats=parent.repeats or parent.iteration_now is not None,
        loop=parent.loop if parent.iteration_now is None else parent.run_id,
    )
    # Loops count iterations, all others count children.
    if event.iteration is not None or parent.iterations is None or parent.entered != "tasks":
        place = event.index if event.iteration is None else event.iteration
        parent.opened = max(parent.opened, place + 1)
    if event.items is not None:
        execution.gathering(parent.run_id)
    elif event.batches is not None:
        execution.gathering(parent.run_id).take(run.run_id, event.batches)
    if parent.taken is not None:
        parent.taken.append(event.index)
    if event.state in TERMINAL:
        run.ended = event.number
        child_ended(parent, run)
        execution.finish(run)
    else:
        parent.open += 1
        execution.runs[run.run_id] = run
        execution.touch(run)
    execution.touch(parent)
