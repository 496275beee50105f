"""ExecutionPaused: the execution waits, held by a person or for a task run."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionPaused
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionPaused) -> None:
    execution.progress.state = State.PAUSED
    if event.held:
        execution.progress.held = True
