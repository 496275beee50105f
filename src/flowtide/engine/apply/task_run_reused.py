"""TaskRunReused: a task run of the execution that is replayed stands in this one; nothing is counted for its parent."""

from __future__ import annotations

from flowtide.engine.execution import ROOT, Execution, Run
from flowtide.model.events import TaskRunReused
from flowtide.model.states import TERMINAL


def apply(execution: Execution, event: TaskRunReused) -> None:
    progress = execution.progress
    progress.reused += 1
    run = Run(
        run_id=event.run_id,
        task_id=event.task_id,
        state=event.state,
        created=event.at,
        parent_id=event.parent_id or ROOT,
        branch=event.branch,
        index=event.index,
        last=event.last,
        value=event.value,
        iteration=event.iteration,
        items=event.items,
        path=event.path,
        number=event.number,
        attempt=event.attempt,
        first_attempt=event.attempt,
        outputs=event.outputs,
        entered=event.entered,
        worst=event.worst,
        opened=event.opened,
        iterations_done=event.iterations_done,
        taken=list(event.taken) if event.taken is not None else None,
        done=list(event.done) if event.done is not None else None,
    )
    if event.state in TERMINAL:
        run.ended = event.number
        if event.values is not None:
            run.iterations = len(event.values)
            execution.open_loop(run.run_id, event.values)
        if run.items is not None and run.iteration is not None:
            gave = execution.gathering(run.parent_id).batch_ended(run.iteration, run.state, run.outputs)
            run.outputs = gave
        elif run.parent_id in execution.gatherings:
            execution.gatherings[run.parent_id].written(run.run_id, event.number, run.outputs)
        execution.finish(run)
        return
    if event.values is not None:
        run.iterations = len(event.values)
        execution.open_loop(run.run_id, event.values)
        if run.outputs:
            execution.show(run)
    if run.items is not None:
        execution.gathering(run.parent_id)
    execution.runs[run.run_id] = run
    execution.touch(run)
    parent = execution.runs[run.parent_id]
    parent.open += 1
    execution.touch(parent)
