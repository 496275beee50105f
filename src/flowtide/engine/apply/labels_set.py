"""LabelsSet: labels of the execution were added, got other values, or went."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flowtide.engine.execution import Execution
from flowtide.model.events import LabelsSet
from flowtide.model.records import Label


def apply(execution: Execution, event: LabelsSet) -> None:
    execution.head.labels = merged(execution.head.labels, event.labels, event.removed)
    execution.touch_head()


def merged(labels: Sequence[Label], added: Sequence[Label], removed: Collection[str] = ()) -> list[Label]:
    """The labels after a change: a key that is there keeps its place and gets the new value."""
    values = {label.key: label.value for label in labels if label.key not in removed}
    values.update((label.key, label.value) for label in added)
    return [Label(key=key, value=value) for key, value in values.items()]
