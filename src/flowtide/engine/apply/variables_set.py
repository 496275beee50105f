"""VariablesSet: variables of the execution were set or removed; the flow's own stay as they are (VAR-04)."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import VariablesSet
from flowtide.model.nested import merged, without


def apply(execution: Execution, event: VariablesSet) -> None:
    variables = execution.head.variables
    for path in event.removed:
        variables = without(variables, path)
    execution.head.variables = merged(variables, event.variables)
    names = event.variables.keys() | {path[0] for path in event.removed}
    execution.note_encrypted("vars", execution.head.variables, names)
    execution.touch_head()
