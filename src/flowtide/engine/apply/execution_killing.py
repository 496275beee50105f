"""ExecutionKilling: nothing more is started; what runs is being ended."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionKilling
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionKilling) -> None:
    execution.progress.state = State.KILLING
    execution.progress.killing = event.outcome
    execution.progress.held = False
    execution.progress.reopening = False
    execution.clear_timer("flow:")
    execution.clear_timer("reuse:")
    execution.clear_timer("schedule:")
