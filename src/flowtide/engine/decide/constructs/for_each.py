"""ForEach: its tasks for each value, at most `concurrencyLimit` iterations at a time (FLO-14, FLO-15).

One more iteration costs the same whatever their number: the values are kept apart from the counters, iterations are
opened in portions, and a child's end is counted, never searched for.
"""

from __future__ import annotations

import json
from typing import Any

from flowtide.engine.decide.constructs.basic import finish, kill
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.events import LoopOpened
from flowtide.model.flowables import Loop
from flowtide.model.records import Cause, encode
from flowtide.model.states import STOPPING

__all__ = ["child_ended", "finish", "kill", "resume", "start"]

PORTION = 200
"""Iterations opened by one decision, of all loops together, so that no loop over 100,000 values, nested or with
iterations that are over at once, becomes one huge batch."""


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Evaluate the values, once, and open the first iterations."""
    cause = opened_loop(turn, run, task)
    if cause is not None:
        before, turn.cause = turn.cause, cause
        _open_more(turn, run, task)
        turn.cause = before


def opened_loop(turn: Turn, run: Run, task: TaskPlan) -> Cause | None:
    """Evaluate the values and keep them; None when workers were asked for them.  Raises ExpressionError."""
    definition = task.task
    assert isinstance(definition, Loop)
    found = turn.evaluate(run, task, {"values": definition.listed()})
    return turn.emit(LoopOpened, run_id=run.run_id, values=_texts(found["values"])) if found else None


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """Within an iteration, tasks follow one another; after an iteration, others are opened."""
    if child.state not in STOPPING and not child.last and run.worst not in STOPPING:
        following = child.index + 1
        turn.open_task(
            task.branches["tasks"][following],
            run,
            "tasks",
            following,
            value=child.value,
            iteration=child.iteration,
        )
        return
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
    limit = definition.at_once() or len(values)
    # A parent that is held opens everything as CREATED; the portion bounds that too.
    while run.opened < len(values) and run.opened - run.iterations_done < limit and run.worst not in STOPPING:
        if turn.iterations_opened >= PORTION:
            turn.continue_later(run)
            return
        turn.iterations_opened += 1
        turn.open_task(tasks[0], run, "tasks", 0, value=values[run.opened], iteration=run.opened)
    # Not yet over when an iteration's first task was skipped just now, and its second one follows.
    if run.open == 0 and (run.worst in STOPPING or run.iterations_done == len(values)):
        turn.complete(run, task)


def _texts(values: Any) -> list[str]:
    """The values as text, as `{{ taskrun.value }}` shows them; objects as JSON."""
    if isinstance(values, str):
        try:
            values = json.loads(values)
        except ValueError:
            raise ExpressionError("`values` must be a list or the JSON text of one") from None
    if isinstance(values, dict):
        values = [{"key": key, "value": value} for key, value in values.items()]
    if not isinstance(values, list | tuple | range):
        raise ExpressionError(f"`values` must be a list, not {type(values).__name__}")
    return [value if isinstance(value, str) else encode(value).decode() for value in values]
