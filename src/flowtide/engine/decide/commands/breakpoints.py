"""ResumeFromBreakpoint: what waits at breakpoints goes on, and what was held meanwhile."""

from __future__ import annotations

from flowtide.engine.decide.commands.control import open_held
from flowtide.engine.turn import Turn
from flowtide.model.commands import ResumeFromBreakpoint
from flowtide.model.events import BreakpointsSet, ExecutionPaused, ExecutionResumed
from flowtide.model.states import State


def resume(turn: Turn, command: ResumeFromBreakpoint) -> None:
    """Go on, with other breakpoints if some are given; an execution in another state is left as it is."""
    if turn.execution.progress.state is State.BREAKPOINT:
        if command.breakpoints is not None and command.breakpoints != turn.execution.head.breakpoints:
            turn.cause = turn.emit(BreakpointsSet, breakpoints=command.breakpoints)
        go_on(turn)


def go_on(turn: Turn) -> None:
    """Start what waits; the execution is PAUSED afterwards when one of its task runs is."""
    turn.cause = turn.emit(ExecutionResumed)
    open_held(turn)
    progress = turn.execution.progress
    if progress.paused_runs and progress.state is State.RUNNING:
        turn.emit(ExecutionPaused)
