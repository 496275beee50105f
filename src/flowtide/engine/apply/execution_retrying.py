"""ExecutionRetrying: the execution waits for the retry of its flow."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionRetrying
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionRetrying) -> None:
    execution.progress.state = State.RETRYING
    execution.set_timer("flow:", event.due)
