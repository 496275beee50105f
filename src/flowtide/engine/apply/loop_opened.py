"""LoopOpened: a loop knows its values."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import LoopOpened


def apply(execution: Execution, event: LoopOpened) -> None:
    run = execution.runs[event.run_id]
    run.entered = "tasks"
    run.iterations = len(event.values)
    run.iterations_done = 0
    execution.forget_gathering(run.run_id)
    execution.open_loop(run.run_id, event.values)
    execution.touch(run)
