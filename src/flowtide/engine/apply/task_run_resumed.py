"""TaskRunResumed: the task run goes on after its pause."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunResumed
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunResumed) -> None:
    run = execution.runs[event.run_id]
    run.state = State.RUNNING
    execution.progress.paused_runs -= 1
    if event.outputs is not None:
        run.outputs = {**(run.outputs or {}), **event.outputs}
    if event.outcome is not None:
        run.outcome = event.outcome
    execution.clear_timer(f"pause:{run.run_id}")
    execution.touch(run)
