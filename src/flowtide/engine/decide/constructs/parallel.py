"""Parallel: its tasks at the same time, at most `concurrent` of them (FLO-11)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.events import BranchEntered
from flowtide.model.flowables import Parallel
from flowtide.model.states import STOPPING

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Open as many tasks as may run at once."""
    cause = turn.emit(BranchEntered, run_id=run.run_id, branch="tasks")
    before, turn.cause = turn.cause, cause
    _open_more(turn, run, task)
    turn.cause = before


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """Open the next task in its place; after the last one, the list is over."""
    _open_more(turn, run, task)


def _open_more(turn: Turn, run: Run, task: TaskPlan) -> None:
    definition = task.task
    assert isinstance(definition, Parallel)
    tasks = task.branches["tasks"]
    limit = definition.concurrent or len(tasks)
    while run.opened < len(tasks) and run.open < limit and run.worst not in STOPPING:
        turn.open_task(tasks[run.opened], run, "tasks", run.opened)
    if run.open == 0 and (run.opened == len(tasks) or run.worst in STOPPING):
        turn.complete(run, task)
