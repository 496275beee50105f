"""Service level agreements of a flow: deadlines, assertions, and what follows when one is not kept (page 472).

A deadline counts from the creation of the execution, as its duration does, or from its scheduleDate; waiting for a slot
or for a person counts too.  An assertion is rendered whenever a task run is over, unless it names outputs of a task
that has not ended, and then costs what it names.  Each agreement is breached once (decision 0014).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from flowtide.engine.plan import AssertionPlan, Plan
from flowtide.errors import ExpressionError, ExpressionUndefinedError
from flowtide.expressions import truthy
from flowtide.model.commands import KillExecution
from flowtide.model.durations import format_duration
from flowtide.model.entries import Level
from flowtide.model.events import SlaBreached
from flowtide.model.flow import AnySla, MaxDurationSla
from flowtide.model.states import State

if TYPE_CHECKING:
    from flowtide.engine.turn import Turn

_OUTCOMES = {"FAIL": State.FAILED, "CANCEL": State.CANCELLED}


def deadlines(plan: Plan, created: datetime) -> dict[str, datetime]:
    """When each MAX_DURATION of the flow is over, by its id."""
    return {sla.id: created + sla.duration for sla in plan.flow.sla if isinstance(sla, MaxDurationSla)}


def expire(turn: Turn, sla_id: str) -> None:
    """The timer of a MAX_DURATION is due."""
    if turn.execution.is_over:
        return
    for sla in turn.plan.flow.sla:
        if sla.id == sla_id and isinstance(sla, MaxDurationSla):
            _breach(turn, sla, f"the execution takes longer than {format_duration(sla.duration)}")


def check(turn: Turn) -> None:
    """A task run is over: see whether the assertions hold."""
    progress = turn.execution.progress
    for assertion in turn.plan.assertions:
        if progress.killing is not None or turn.execution.is_over:
            return
        if assertion.sla.id not in progress.breached and _is_ready(turn, assertion):
            _assert(turn, assertion)


def tell_unchecked(turn: Turn) -> bool:
    """All tasks are over: say which assertions were not looked at, because outputs that they name never came.

    Gives whether the execution fails, as one of them names what no task can bring.
    """
    fails = False
    for assertion in turn.plan.assertions:
        sla = assertion.sla
        if sla.id in turn.execution.progress.breached:
            continue
        if not _is_ready(turn, assertion):
            missing = ", ".join(sorted(task for task in assertion.tasks if not _has_ended(turn, task)))
            turn.log(Level.WARN, f"SLA `{sla.id}` was not checked: `{missing}` gave no outputs")
            continue
        try:
            turn.render(sla.assert_, None, None, typed=False)
        except ExpressionUndefinedError as error:
            if assertion.tasks:
                turn.log(Level.WARN, f"SLA `{sla.id}` was not checked: {error}")
            else:
                turn.log(Level.ERROR, f"SLA `{sla.id}`: the assertion cannot be evaluated: {error}")
                fails = True
        except ExpressionError:
            continue  # told when it was looked at
    return fails


def _is_ready(turn: Turn, assertion: AssertionPlan) -> bool:
    return all(_has_ended(turn, task_id) for task_id in assertion.tasks)


def _has_ended(turn: Turn, task_id: str) -> bool:
    return task_id in turn.execution.outputs or task_id in turn.execution.task_states


def _assert(turn: Turn, assertion: AssertionPlan) -> None:
    sla = assertion.sla
    try:
        if turn.needs_worker(sla.assert_):
            raise ExpressionError(
                "it names a SECRET, or outputs that are too large to be kept with the execution"
            )
        holds = truthy(turn.render(sla.assert_, None, None, typed=False))
    except ExpressionUndefinedError:
        return  # what it names is not there yet
    except ExpressionError as error:
        message = f"SLA `{sla.id}`: the assertion cannot be evaluated: {error}"
        turn.log(Level.ERROR, message)
        _end(turn, State.FAILED)
        return
    if not holds:
        _breach(turn, sla, f"the assertion is not true: {sla.assert_}")


def _breach(turn: Turn, sla: AnySla, reason: str) -> None:
    known: Mapping[str, str] = {label.key: label.value for label in turn.execution.head.labels}
    turn.cause = turn.emit(
        SlaBreached,
        sla_id=sla.id,
        behavior=sla.behavior,
        reason=reason,
        labels=[label for label in sla.labels if known.get(label.key) != label.value],
    )
    outcome = _OUTCOMES.get(sla.behavior)
    consequence = "" if outcome is None else f"; the execution ends as {outcome}"
    level = Level.ERROR if outcome is State.FAILED else Level.WARN
    turn.log(level, f"SLA `{sla.id}` is breached: {reason}{consequence}")
    if outcome is not None:
        _end(turn, outcome)


def _end(turn: Turn, outcome: State) -> None:
    from flowtide.engine.decide.commands.control import kill  # turns need this module, and kills need turns

    kill(turn, KillExecution(at=turn.now, state=outcome))
