"""ExecutionEnded: the state of the execution is final."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionEnded


def apply(execution: Execution, event: ExecutionEnded) -> None:
    progress = execution.progress
    progress.state = event.state
    progress.error = event.error
    progress.killing = None
    progress.held = False  # what runs afterwards is not held back
    progress.closed = event.closed
    execution.clear_timer("schedule:")
