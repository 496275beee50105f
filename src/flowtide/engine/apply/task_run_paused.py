"""TaskRunPaused: the task run waits for a person or a date."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunPaused
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunPaused) -> None:
    run = execution.runs[event.run_id]
    run.state = State.PAUSED
    execution.progress.paused_runs += 1
    if event.due is not None:
        execution.set_timer(f"pause:{run.run_id}", event.due)
    execution.touch(run)
