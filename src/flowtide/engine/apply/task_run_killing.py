"""TaskRunKilling: the task run's worker was told to end it."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunKilling
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunKilling) -> None:
    run = execution.runs[event.run_id]
    run.state = State.KILLING
    execution.touch(run)
