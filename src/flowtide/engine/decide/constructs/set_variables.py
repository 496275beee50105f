"""SetVariables: sets variables of the execution, merging nested maps (RUN-06)."""

from __future__ import annotations

from collections.abc import Mapping

from flowtide.engine.decide.constructs.basic import child_ended, finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.expressions import truthy
from flowtide.model.events import VariablesSet
from flowtide.model.execution_tasks import SetVariables
from flowtide.model.nested import conflict
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Render the variables, keeping types, and set all of them or none."""
    definition = task.task
    assert isinstance(definition, SetVariables)
    properties = {"variables": dict(definition.variables), "overwrite": definition.overwrite}
    values = turn.evaluate(run, task, properties, mixed=True, protected=("variables",))
    if values is None:
        return
    variables = values["variables"]
    if not isinstance(variables, Mapping):
        raise ExpressionError("`variables` must give a map")
    if not truthy(values["overwrite"]):
        known = conflict(turn.execution.head.variables, variables)
        if known is not None:
            raise ExpressionError(f"the variable `{known}` is there already, and `overwrite` is false")
    if variables:
        turn.cause = turn.emit(VariablesSet, variables=dict(variables), run_id=run.run_id)
    turn.end(run, task, State.SUCCESS)
