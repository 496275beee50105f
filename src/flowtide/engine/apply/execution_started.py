"""ExecutionStarted: the execution runs."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionStarted
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionStarted) -> None:
    execution.progress.state = State.RUNNING
    if execution.progress.started is None:
        execution.progress.started = event.at
    execution.progress.reopening = False
    execution.progress.restarted = False
    execution.progress.held = False
    execution.clear_timer("schedule:")
