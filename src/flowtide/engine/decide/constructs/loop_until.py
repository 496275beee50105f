"""LoopUntil: its tasks again and again, until the condition holds after one of the runs, or a limit is hit (FLO-21).

Between two iterations a timer waits in the state.  An iteration replaces in the state what the one before left, so
that the thousandth costs what the first one cost.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flowtide.engine.decide.constructs.basic import kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.expressions import truthy
from flowtide.model.durations import parse_duration
from flowtide.model.entries import Level
from flowtide.model.events import LoopDelayed, LoopRepeated
from flowtide.model.flowables import LoopUntil
from flowtide.model.states import STOPPING, State

__all__ = ["child_ended", "expire", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Begin the first iteration; or go on, when workers evaluated the condition after one."""
    if run.entered is None:
        _repeat(turn, run, task, 0)
    else:
        _check(turn, run, task)


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """Within an iteration tasks follow one another; after it, the condition is looked at."""
    if run.worst in STOPPING:
        turn.complete(run, task)
    elif child.last:
        _check(turn, run, task)
    else:
        _open(turn, run, task, child.index + 1)


def expire(turn: Turn, run: Run, task: TaskPlan) -> None:
    """The interval is over: begin the next iteration, unless `maxDuration` is over with it."""
    if run.entered != "tasks" or run.open or run.asked is not None:
        return
    try:
        deadline = _deadline(turn, run, task)
    except ExpressionError as error:
        turn.fail(run, task, f"Task `{task.id}`: {error}")
        return
    if deadline is not None and turn.now >= deadline:
        _give_up(turn, run, task, "maxDuration")
    else:
        _repeat(turn, run, task, _count(run))


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with what the iterations came to, and their number."""
    turn.end(run, task, outcome, outputs=run.outputs)


def _repeat(turn: Turn, run: Run, task: TaskPlan, iteration: int) -> None:
    cause = turn.emit(LoopRepeated, run_id=run.run_id, iteration=iteration)
    before, turn.cause = turn.cause, cause
    if task.branches["tasks"]:
        _open(turn, run, task, 0)
    else:
        _check(turn, run, task)
    turn.cause = before


def _open(turn: Turn, run: Run, task: TaskPlan, index: int) -> None:
    turn.open_task(task.branches["tasks"][index], run, "tasks", index, iteration=run.iteration_now)


def _check(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Look at the condition; unless it holds, wait for the next iteration, or give up."""
    definition = task.task
    assert isinstance(definition, LoopUntil)
    frequency = definition.check_frequency
    # The names tell an answer of workers from one to an earlier iteration.
    condition, interval, most, duration = _names(run)
    values = turn.evaluate(
        run,
        task,
        {
            condition: definition.condition,
            interval: frequency.interval,
            most: frequency.max_iterations,
            duration: frequency.max_duration,
        },
        typed=False,
        protected=(condition,),
    )
    if values is None:
        return
    if truthy(turn.opened(values[condition])):
        turn.complete(run, task)
        return
    limit = _number(values[most])
    longest = _duration("maxDuration", values[duration])
    deadline = _begun(run) + longest if longest is not None else None
    if limit is not None and _count(run) >= limit:
        _give_up(turn, run, task, "maxIterations")
    elif deadline is not None and turn.now >= deadline:
        _give_up(turn, run, task, "maxDuration")
    else:
        pause = _duration("interval", values[interval])
        due = turn.now + (pause if pause is not None else timedelta(minutes=1))
        turn.emit(LoopDelayed, run_id=run.run_id, due=due if deadline is None else min(due, deadline))


def _names(run: Run) -> tuple[str, str, str, str]:
    where = f" (iteration {_count(run)})"
    return (
        f"condition{where}",
        f"checkFrequency.interval{where}",
        f"checkFrequency.maxIterations{where}",
        f"checkFrequency.maxDuration{where}",
    )


def _give_up(turn: Turn, run: Run, task: TaskPlan, limit: str) -> None:
    """A limit is hit: that is the end, and a failure where the author says so (trap 39)."""
    definition = task.task
    assert isinstance(definition, LoopUntil)
    reason = (
        f"Task `{task.id}`: the condition does not hold after {_count(run)} iterations: `{limit}` is reached"
    )
    if definition.fail_on_max_reached:
        turn.log(Level.ERROR, reason, run)
        turn.complete(run, task, found=State.FAILED)
    else:
        turn.log(Level.WARN, reason, run)
        turn.complete(run, task)


def _deadline(turn: Turn, run: Run, task: TaskPlan) -> datetime | None:
    definition = task.task
    assert isinstance(definition, LoopUntil)
    if definition.check_frequency.max_duration is None:
        return None
    name = _names(run)[3]
    values = turn.evaluate(run, task, {name: definition.check_frequency.max_duration}, typed=False)
    longest = _duration("maxDuration", values[name]) if values is not None else None
    return _begun(run) + longest if longest is not None else None


def _begun(run: Run) -> datetime:
    return run.started or run.created


def _count(run: Run) -> int:
    assert run.iteration_now is not None
    return run.iteration_now + 1


def _number(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = int(str(value))
    except ValueError:
        raise ExpressionError(f"`maxIterations` must be a number, not {value!r}") from None
    if number < 1:
        raise ExpressionError(f"`maxIterations` must be at least 1, not {number}")
    return number


def _duration(name: str, value: Any) -> timedelta | None:
    if isinstance(value, timedelta):
        return value
    if value is None or value == "":
        return None
    try:
        return parse_duration(str(value))
    except ValueError as error:
        raise ExpressionError(f"`{name}`: {error}") from None
