"""Functions that find outputs and states of loops and parents among the variables (C §8.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flowtide.expressions.attributes import attribute
from flowtide.expressions.faults import Fault, Undefined
from flowtide.expressions.printing import kind, text
from flowtide.expressions.runtime import Run


def _variable(run: Run, *path: str) -> Any:
    """A nested variable, or None."""
    value: Any = run.scope.variables
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _parents(run: Run) -> list[Any]:
    """The parent task runs, nearest first."""
    parents = _variable(run, "parents")
    return list(parents) if isinstance(parents, Sequence) and not isinstance(parents, str) else []


def _values_of_parents(run: Run) -> list[str]:
    """The values of the loops around this one, outermost first."""
    values = []
    for parent in reversed(_parents(run)):
        taskrun = parent.get("taskrun") if isinstance(parent, Mapping) else None
        value = taskrun.get("value") if isinstance(taskrun, Mapping) else None
        if value is not None:
            values.append(text(value))
    return values


def _current_each_output(run: Run, outputs: Any) -> Any:
    if not isinstance(outputs, Mapping):
        raise Fault(f"the function `currentEachOutput` needs the outputs of a task, not a {kind(outputs)}")
    value = _variable(run, "taskrun", "value")
    if value is None:
        raise Fault("the function `currentEachOutput` can only be used in a loop; here is no taskrun.value")
    found: Any = outputs
    for key in [*_values_of_parents(run), text(value)]:
        try:
            found = attribute(found, key, 0)
        except Undefined:
            raise Undefined(key) from None
    return found


def _tasks_with_state(run: Run, state: Any) -> list[dict[str, Any]]:
    if not isinstance(state, str):
        raise Fault(f"the function `tasksWithState` needs a state as a string, not a {kind(state)}")
    tasks = _variable(run, "tasks")
    found: list[dict[str, Any]] = []
    for task, entry in tasks.items() if isinstance(tasks, Mapping) else ():
        if not isinstance(entry, Mapping):
            continue
        if isinstance(entry.get("state"), str):
            rows: list[tuple[Any, Any]] = [(None, entry)]
        else:
            rows = list(entry.items())
        for value, row in rows:
            if isinstance(row, Mapping) and str(row.get("state")).upper() == state.upper():
                known = {"taskId": task, "state": row["state"]}
                found.append(known if value is None else {**known, "value": value})
    return found


def _iteration_output(run: Run, task: Any, iteration: Any) -> Any:
    current = _variable(run, "taskrun", "iteration")
    if iteration is None:
        if isinstance(current, bool) or not isinstance(current, int):
            raise Fault(
                "the function `iterationOutput` can only be used in a loop; here is no taskrun.iteration"
            )
        iteration = current - 1
    if isinstance(iteration, bool) or not isinstance(iteration, int):
        raise Fault(f"the iteration must be a whole number, not a {kind(iteration)}")
    if iteration < 0:
        raise Fault("no previous iteration exists")
    by_name = task is None or isinstance(task, str)
    outputs = task
    if by_name:
        name = _variable(run, "task", "id") if task is None else task
        outputs = _variable(run, "outputs", str(name))
        if outputs is None:
            return None
    if not isinstance(outputs, Mapping):
        raise Fault(
            f"the function `iterationOutput` needs the id or the outputs of a task, not a {kind(task)}"
        )
    for value in _values_of_parents(run):
        inner = outputs.get(value)
        if isinstance(inner, Mapping):
            outputs = inner
    rows = list(outputs.values())
    if iteration >= len(rows):
        raise Fault(f"there is no iteration {iteration}; the last one is {len(rows) - 1}")
    row = rows[iteration]
    return row.get("value") if by_name and isinstance(row, Mapping) else row


def _parent_output(run: Run, index: Any) -> Any:
    parents = _parents(run)
    if index is None:
        if not parents:
            raise Fault("the function `parentOutput` can only be used in a task that has a parent")
        parent = parents[0]
    else:
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(parents):
            raise Fault(f"Invalid index: {text(index)} for parents size: {len(parents)}")
        # C N22: counted from the outermost ancestor.
        parent = parents[::-1][index]
    outputs = parent.get("outputs") if isinstance(parent, Mapping) else None
    taskrun = parent.get("taskrun") if isinstance(parent, Mapping) else None
    value = taskrun.get("value") if isinstance(taskrun, Mapping) else None
    if value is not None and isinstance(outputs, Mapping) and text(value) in outputs:
        return outputs[text(value)]
    return outputs


FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...] | None, tuple[Any, ...]]]] = {
    "currentEachOutput": (_current_each_output, ("outputs",), ()),
    "tasksWithState": (_tasks_with_state, ("state",), ()),
    "iterationOutput": (_iteration_output, ("taskId", "iteration"), (None, None)),
    "parentOutput": (_parent_output, ("index",), (None,)),
}
