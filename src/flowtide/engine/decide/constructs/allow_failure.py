"""AllowFailure: its tasks one after the other; that one of them failed is a warning (FLO-22)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import child_ended, kill, resume
from flowtide.engine.decide.constructs.sequential import start
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with a warning where others fail."""
    turn.end(run, task, State.WARNING if outcome is State.FAILED else outcome)
