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
    progress.reopening = False
    progress.restarted = False
    execution.clear_timer("schedule:")
    execution.clear_timer("flow:")
    execution.clear_timer("reuse:")
    for timer_id in [timer_id for timer_id in execution.timers if timer_id.startswith("sla:")]:
        execution.clear_timer(timer_id)
