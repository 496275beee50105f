"""TaskRunSubmitted: an attempt was handed to the workers, or a flowable task run starts again."""

from __future__ import annotations

from flowtide.engine.apply.parent import count_anew
from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunSubmitted
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunSubmitted) -> None:
    run = execution.runs[event.run_id]
    if run.state is State.PAUSED:
        execution.progress.paused_runs -= 1
    run.state = State.RUNNING if event.flowable else State.SUBMITTED
    run.attempt = event.attempt
    run.handed_out = not event.flowable
    run.worker_id = None
    run.started = None
    if event.flowable or run.entered is not None:
        count_anew(run)
        run.since = event.number
    execution.clear_timer(f"retry:{run.run_id}")
    execution.touch(run)
