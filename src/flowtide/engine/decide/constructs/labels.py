"""Labels: adds labels to the execution, or gives them other values (RUN-05); those of the system stay (LAB-06)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic_core import PydanticCustomError

from flowtide.engine.decide.constructs.basic import child_ended, finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.events import LabelsSet
from flowtide.model.execution_tasks import Labels
from flowtide.model.labels import is_system, read_labels
from flowtide.model.records import Label
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Render the labels and set those that change something."""
    definition = task.task
    assert isinstance(definition, Labels)
    values = turn.evaluate(run, task, {"labels": _template(definition)}, mixed=True)
    if values is None:
        return
    labels = _labels(values["labels"])
    for label in labels:
        if is_system(label.key):
            raise ExpressionError(
                f"the label `{label.key}` is set by the system only; choose a key without `system.`"
            )
    known = {label.key: label.value for label in turn.execution.head.labels}
    changed = [label for label in labels if known.get(label.key) != label.value]
    if changed:
        turn.cause = turn.emit(LabelsSet, labels=changed, run_id=run.run_id)
    turn.end(run, task, State.SUCCESS)


def _template(definition: Labels) -> Any:
    if isinstance(definition.labels, str):
        return definition.labels
    return [{"key": label.key, "value": label.value} for label in definition.labels]


def _labels(value: Any) -> tuple[Label, ...]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise ExpressionError("`labels` must give a map, or a list of `key` and `value`") from None
    if not isinstance(value, Mapping | list):
        raise ExpressionError("`labels` must give a map, or a list of `key` and `value`")
    try:
        return read_labels(value)
    except PydanticCustomError as error:
        raise ExpressionError(f"`labels`: {error.message()}") from None
