"""Sequential: its tasks one after the other (FLO-10)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import child_ended, finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Open the first task."""
    turn.enter(run, task, "tasks")
