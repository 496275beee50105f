"""TaskRunResubmitted: the attempt's worker is gone, the next attempt was handed out."""

from __future__ import annotations

from flowtide.engine.apply.parent import count_anew
from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunResubmitted
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunResubmitted) -> None:
    run = execution.runs[event.run_id]
    run.state = State.SUBMITTED
    run.attempt = event.attempt + 1
    run.worker_id = None
    run.started = None
    if run.entered is not None:
        count_anew(run)
        run.since = event.number
    execution.touch(run)
