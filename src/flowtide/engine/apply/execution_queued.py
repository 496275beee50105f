"""ExecutionQueued: the execution waits for a slot."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionQueued
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionQueued) -> None:
    execution.progress.state = State.QUEUED
