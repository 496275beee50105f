"""TaskRunReopened: a task run that was over runs again, or stands around one that does."""

from __future__ import annotations

from flowtide.engine.execution import ROOT, Execution, Run
from flowtide.model.events import TaskRunReopened
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunReopened) -> None:
    parent = execution.runs[event.parent_id or ROOT]
    run = Run(
        run_id=event.run_id,
        task_id=event.task_id,
        state=State.RUNNING if event.around else State.RESTARTED,
        created=event.created,
        parent_id=parent.run_id,
        branch=event.branch,
        index=event.index,
        last=event.last,
        value=event.value,
        iteration=event.iteration,
        items=event.items,
        path=parent.path if event.value is None else [*parent.path, event.value],
        number=event.created_number,
        ended=event.number,
        attempt=event.attempt,
        since=event.since,
        first_attempt=event.attempt,
        reopened=event.at,
        resumes=event.resumes,
        becomes=event.becomes,
        outputs=event.outputs,
        entered=event.entered,
        worst=event.worst,
        opened=event.opened,
        iterations_done=event.iterations_done,
        taken=list(event.taken) if event.taken is not None else None,
        done=list(event.done) if event.done is not None else None,
    )
    if event.values is not None:
        run.iterations = len(event.values)
        execution.open_loop(run.run_id, event.values)
    if event.items is not None:
        execution.gathering(parent.run_id).batch_reopened(event.before)
    parent.open += 1
    execution.reopen(run)
    if run.iterations is not None and run.outputs:
        execution.show(run)
    execution.touch(parent)
