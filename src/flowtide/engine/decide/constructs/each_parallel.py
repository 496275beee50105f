"""EachParallel, deprecated: all tasks for all values at the same time, as far as `concurrent` allows (FLO-16).

In Kestra the limit is on task runs.  Here a value's tasks start together, as soon as the limit has room for them;
with one task a value, which is how it is used, both are the same.
"""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import finish, kill
from flowtide.engine.decide.constructs.for_each import PORTION, opened_loop
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.flowables import Loop
from flowtide.model.states import STOPPING

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Evaluate the values, once, and open the first tasks."""
    cause = opened_loop(turn, run, task)
    if cause is not None:
        before, turn.cause = turn.cause, cause
        _open_more(turn, run, task)
        turn.cause = before


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """Open the tasks for the next value, when there is room for them."""
    _open_more(turn, run, task)


def resume(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Open the next portion."""
    if run.entered == "tasks":
        _open_more(turn, run, task)


def _open_more(turn: Turn, run: Run, task: TaskPlan) -> None:
    definition = task.task
    assert isinstance(definition, Loop)
    tasks = task.branches["tasks"]
    values = turn.execution.loops[run.run_id] if tasks else []
    limit = max(definition.at_once(), len(tasks)) if definition.at_once() else len(tasks) * len(values)
    while run.opened < len(values) and run.open + len(tasks) <= limit and run.worst not in STOPPING:
        if turn.iterations_opened >= PORTION:
            turn.continue_later(run)
            return
        turn.iterations_opened += 1
        number = run.opened
        for index, each in enumerate(tasks):
            turn.open_task(each, run, "tasks", index, value=values[number], iteration=number)
    if run.open == 0 and (run.worst in STOPPING or run.opened >= len(values)):
        turn.complete(run, task)
