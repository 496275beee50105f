"""ChildExecutionStarted: a task run started an execution."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ChildExecutionStarted


def apply(execution: Execution, event: ChildExecutionStarted) -> None:
    run = execution.runs[event.run_id]
    run.child_id = event.child_id
    run.resumes = None
    run.outputs = {**(run.outputs or {}), **event.outputs}
    execution.touch(run)
