"""TaskRunStarted: a worker runs the attempt."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunStarted
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunStarted) -> None:
    run = execution.runs[event.run_id]
    run.state = State.RUNNING
    run.worker_id = event.worker_id
    run.started = event.at
    execution.touch(run)
