"""BreakpointReached: a task run waits, and nothing else of the execution is started meanwhile."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import BreakpointReached
from flowtide.model.states import State


def apply(execution: Execution, event: BreakpointReached) -> None:
    run = execution.runs[event.run_id]
    run.state = State.BREAKPOINT
    execution.progress.state = State.BREAKPOINT
    execution.progress.held = True
    execution.touch(run)
