"""ExecutionClosed: nothing more will happen."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionClosed


def apply(execution: Execution, event: ExecutionClosed) -> None:
    execution.progress.closed = True
