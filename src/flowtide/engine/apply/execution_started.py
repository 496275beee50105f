"""ExecutionStarted: the execution runs."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionStarted
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionStarted) -> None:
    execution.progress.state = State.RUNNING
    execution.progress.started = event.at
    execution.clear_timer("schedule:")
