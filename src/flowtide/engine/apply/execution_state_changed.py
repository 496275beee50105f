"""ExecutionStateChanged: a person said what an execution ended as."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionStateChanged


def apply(execution: Execution, event: ExecutionStateChanged) -> None:
    execution.progress.state = event.state
