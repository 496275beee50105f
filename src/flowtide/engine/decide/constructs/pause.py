"""Pause: waits until it is resumed or its duration is over (FLO-24 to FLO-26).

The execution is PAUSED as long as one of its task runs is; branches beside the pause go on.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flowtide.engine.decide.constructs.basic import finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.durations import parse_duration
from flowtide.model.entries import Level
from flowtide.model.events import ExecutionPaused, ExecutionResumed, TaskRunPaused, TaskRunResumed
from flowtide.model.flowables import Pause
from flowtide.model.records import format_date
from flowtide.model.states import STOPPING, TERMINAL, State

__all__ = ["child_ended", "expire", "finish", "kill", "release", "resume", "start"]

_EXPIRED = {
    "RESUME": State.SUCCESS,
    "WARN": State.WARNING,
    "FAIL": State.FAILED,
    "CANCEL": State.CANCELLED,
}


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Pause the task run, and the execution with it."""
    definition = task.task
    assert isinstance(definition, Pause)
    values = turn.evaluate(
        run, task, {"pauseDuration": definition.pause_duration, "timeout": definition.timeout}, typed=False
    )
    if values is None:
        return
    durations = [_duration(name, value) for name, value in values.items() if value is not None]
    due = turn.now + min(durations) if durations else None
    turn.emit(TaskRunPaused, run_id=run.run_id, due=due)
    if turn.execution.progress.state is State.RUNNING:
        turn.emit(ExecutionPaused)
    if task.branches["onPause"]:
        turn.enter(run, task, "onPause")


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """`onPause` is over: wait on, or go on when it was resumed meanwhile; the old `tasks` follow one another.

    A failed `onPause` fails the pause, because nobody may know that it waits for them.
    """
    if child.branch != "onPause":
        turn.next_in_sequence(run, task, child)
    elif child.state in STOPPING:
        if run.state is State.PAUSED:
            _go_on(turn, run, task, child.state, None, f"`onPause` of task `{task.id}` ended {child.state}")
        else:
            turn.end(run, task, child.state)
    elif run.state is State.RUNNING:
        _after(turn, run, task, run.outcome or State.SUCCESS)


def release(
    turn: Turn, run: Run, task: TaskPlan, *, by: str | None, inputs: dict[str, Any], to: State | None
) -> None:
    """A person resumes the task run; `behavior` does not apply (trap 40)."""
    state = to if to in TERMINAL else State.SUCCESS  # "mark as RUNNING" is to go on (FLO-25)
    outputs: dict[str, Any] = {
        "onResume": inputs,
        "resumed": {"by": by, "on": format_date(turn.now), "to": (to or State.SUCCESS).value},
    }
    _go_on(turn, run, task, state, outputs, f"Task `{task.id}` was resumed as FAILED by {by or 'somebody'}")


def expire(turn: Turn, run: Run, task: TaskPlan) -> None:
    """The time is over: end as `behavior` says; the old `timeout` fails (H)."""
    definition = task.task
    assert isinstance(definition, Pause)
    state = State.FAILED if _times_out(turn, run, task) else _EXPIRED[definition.behavior]
    _go_on(turn, run, task, state, None, f"Task `{task.id}` was not resumed in time")


def _times_out(turn: Turn, run: Run, task: TaskPlan) -> bool:
    """Whether it is the old `timeout` that is over, because there is no duration, or a longer one."""
    definition = task.task
    assert isinstance(definition, Pause)
    if definition.timeout is None or definition.pause_duration is None:
        return definition.timeout is not None
    try:
        values = turn.evaluate(
            run,
            task,
            {"pauseDuration": definition.pause_duration, "timeout": definition.timeout},
            typed=False,
        )
        return values is not None and _duration("timeout", values["timeout"]) < _duration(
            "pauseDuration", values["pauseDuration"]
        )
    except ExpressionError:
        return False  # they were durations when the pause began


def _go_on(
    turn: Turn, run: Run, task: TaskPlan, state: State, outputs: dict[str, Any] | None, failure: str
) -> None:
    waits = run.open > 0  # for `onPause`
    cause = turn.emit(TaskRunResumed, run_id=run.run_id, outputs=outputs, outcome=state if waits else None)
    before, turn.cause = turn.cause, cause
    progress = turn.execution.progress
    if progress.state is State.PAUSED and not progress.held and progress.paused_runs == 0:
        turn.emit(ExecutionResumed)
    if state is State.FAILED:
        turn.log(Level.ERROR, failure, run)
    if not waits:
        _after(turn, run, task, state, failure)
    turn.cause = before


def _after(turn: Turn, run: Run, task: TaskPlan, state: State, failure: str | None = None) -> None:
    if state is State.SUCCESS and task.branches["tasks"]:
        turn.enter(run, task, "tasks")
    else:
        turn.end(run, task, state, error=failure if state is State.FAILED else None)


def _duration(name: str, value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(str(value))
    except ValueError as error:
        raise ExpressionError(f"`{name}`: {error}") from None
