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
    if event.outputs is not None:
        run.outputs = event.outputs
    execution.touch(run)
