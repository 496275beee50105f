"""BranchEntered: a flowable task run moves on to another of its lists."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import BranchEntered


def apply(execution: Execution, event: BranchEntered) -> None:
    run = execution.runs[event.run_id]
    run.entered = event.branch
    run.outcome = event.outcome
    run.worst = None
    run.opened = 0
    run.open = 0
    run.taken, run.done = ([], []) if event.unordered else (None, None)
    execution.clear_timer(f"loop:{run.run_id}:{run.iteration_now}")
    if event.outputs is not None:
        run.outputs = event.outputs
    execution.touch(run)
