"""BreakpointsSet: the execution has other breakpoints from now on."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import BreakpointsSet


def apply(execution: Execution, event: BreakpointsSet) -> None:
    execution.head.breakpoints = event.breakpoints
    execution.touch_head()
