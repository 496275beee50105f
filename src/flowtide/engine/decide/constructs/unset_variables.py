"""UnsetVariables: removes variables of the execution, by dotted paths (RUN-07)."""

from __future__ import annotations

import msgspec

from flowtide.engine.decide.constructs.basic import child_ended, finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.expressions import truthy
from flowtide.model.events import VariablesSet
from flowtide.model.execution_tasks import UnsetVariables
from flowtide.model.nested import has_path
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Remove all that are named, or none."""
    definition = task.task
    assert isinstance(definition, UnsetVariables)
    wanted = definition.variables
    properties = {
        "variables": wanted if isinstance(wanted, str) else list(wanted),
        "ignoreMissing": definition.ignore_missing,
    }
    values = turn.evaluate(run, task, properties, mixed=True)
    if values is None:
        return
    found: list[list[str]] = []
    for name in _names(values["variables"]):
        path = _path(turn, name)
        if path is not None:
            found.append(path)
        elif not truthy(values["ignoreMissing"]):
            raise ExpressionError(f"there is no variable `{name}`; `ignoreMissing: true` lets it be missing")
    if found:
        turn.cause = turn.emit(VariablesSet, removed=found, run_id=run.run_id)
    turn.end(run, task, State.SUCCESS)


def _names(value: object) -> list[str]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ExpressionError("`variables` must give a list of names")
    return list(value)


def _path(turn: Turn, name: str) -> list[str] | None:
    """Where the variable is: by its whole name, else along the dots of it."""
    variables = turn.execution.head.variables
    for path in ([name], name.split(".")):
        if has_path(variables, path):
            return path
    return None
