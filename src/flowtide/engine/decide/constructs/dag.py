"""Dag: each task when all that it depends on are over, at most `concurrent` at the same time (FLO-27).

After a failure nothing more is started, and what runs is waited for, as in Parallel.
"""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.events import BranchEntered
from flowtide.model.flowables import Dag
from flowtide.model.states import STOPPING

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Open the tasks that depend on none."""
    cause = turn.emit(BranchEntered, run_id=run.run_id, branch="tasks", unordered=True)
    before, turn.cause = turn.cause, cause
    _open_more(turn, run, task)
    turn.cause = before


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """Open what waited for it; when all tasks are over, the list is."""
    _open_more(turn, run, task)


def _open_more(turn: Turn, run: Run, task: TaskPlan) -> None:
    definition = task.task
    assert isinstance(definition, Dag)
    assert run.taken is not None
    assert run.done is not None
    tasks = task.branches["tasks"]
    limit = definition.concurrent or len(tasks)
    # A task that is skipped is over at once, and others may follow it; `settle` comes back here for each.
    taken = set(run.taken)
    over = {tasks[index].id for index in run.done}
    for index, each in enumerate(tasks):
        if run.open >= limit or run.worst in STOPPING:
            break
        if index not in taken and definition.dependencies[each.id] <= over:
            turn.open_task(each, run, "tasks", index)
    if run.open == 0 and (run.worst in STOPPING or len(run.done) == len(tasks)):
        turn.complete(run, task)
