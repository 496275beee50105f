"""Worker groups: which workers get a job, and what happens when the group has none (page 130, WG-04 to WG-10).

The task's own `workerGroup` wins over the flow's; a key that renders to nothing counts as none (WG-05).  Who waits for
workers stays SUBMITTED, and its job waits on the topic of the group.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from flowtide.engine.outgoing import ToExecution
from flowtide.errors import ExpressionError
from flowtide.model.commands import KillExecution
from flowtide.model.entries import Level
from flowtide.model.task import WorkerGroup

if TYPE_CHECKING:
    from flowtide.engine.execution import Run
    from flowtide.engine.plan import TaskPlan
    from flowtide.engine.turn import Turn

_KEY = re.compile(r"[a-zA-Z0-9._-]{1,128}")  # it becomes a part of a topic's name


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The group that was chosen; without a key the default one."""

    key: str | None = None


_DEFAULT = Choice()


def choose(turn: Turn, run: Run, task: TaskPlan) -> Choice | None:
    """The group for a job of a task run; None when workers decide that first, or there is nobody to run it.

    Then the task run was ended, or the execution is about to be.
    """
    try:
        for name, wanted in task.groups:
            if not turn.renders_here(wanted.key, task, run) and (
                turn.evaluate(run, task, {name: wanted.key}) is None
            ):
                return None
            key = _key(turn, name, wanted, task, run)
            if key is not None:
                return _available(turn, wanted, key, run)
    except ExpressionError as error:
        turn.fail(run, task, f"Task `{task.id}`: {error}", at_once=True)
        return None
    return _DEFAULT


def choose_for_evaluation(turn: Turn, run: Run, task: TaskPlan) -> Choice | None:
    """The group for expressions of a task run; as `choose`, but a key that workers must evaluate counts as none.

    Raises ExpressionError when nobody can evaluate them.
    """
    for name, wanted in task.groups:
        known = run.evaluated is not None and name in run.evaluated
        if known or turn.renders_here(wanted.key, task, run):
            key = _key(turn, name, wanted, task, run)
            if key is not None:
                return _available(turn, wanted, key, run)
    return _DEFAULT


def _key(turn: Turn, name: str, wanted: WorkerGroup, task: TaskPlan, run: Run) -> str | None:
    value: Any
    if turn.renders_here(wanted.key, task, run):
        value = turn.render(wanted.key, task, run)
    else:
        value = (run.evaluated or {}).get(name)
    key = "" if value is None else str(value).strip()
    if not key:
        return None
    if _KEY.fullmatch(key) is None:
        raise ExpressionError(
            f"`{name}` gives `{key[:128]}`, but a key has letters, digits, `.`, `_` and `-`, at most 128"
        )
    return key


def _available(turn: Turn, wanted: WorkerGroup, key: str, run: Run) -> Choice | None:
    if not turn.may_use(key):
        raise ExpressionError(f"the worker group `{key}` is not for the tenant `{turn.tenant}` (WG-01)")
    if wanted.fallback == "WAIT" or turn.has_workers(key):
        return Choice(key=key)
    reason = f"no worker of the group `{key}` is available"
    if wanted.fallback == "FAIL" or turn.execution.is_over:
        raise ExpressionError(f"{reason}, and `workerGroup.fallback` is {wanted.fallback}")
    # Not at once, because whoever opens this task run may be about to open others.
    turn.log(Level.INFO, f"The execution is killed: {reason}, and `workerGroup.fallback` is CANCEL", run)
    turn.send(ToExecution(turn.execution_id, KillExecution(at=turn.now)))
    return None
