"""ExecutionResumed: the execution goes on."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionResumed
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionResumed) -> None:
    execution.progress.state = State.RUNNING
    execution.progress.held = False
    execution.progress.reopening = False
    execution.progress.restarted = False
