"""SetLabels: labels of an execution that is not over (LAB-02); those of the system stay (LAB-06)."""

from __future__ import annotations

from flowtide.engine.turn import Turn
from flowtide.model.commands import SetLabels
from flowtide.model.events import LabelsSet
from flowtide.model.labels import is_system


def set_labels(turn: Turn, command: SetLabels) -> None:
    """Add the labels, or give them their new values; nothing happens when none changes."""
    known = {label.key: label.value for label in turn.execution.head.labels}
    given = [label for label in command.labels if not is_system(label.key)]
    changed = [label for label in given if known.get(label.key) != label.value]
    kept = {label.key for label in given}
    removed = [key for key in known if command.replace and key not in kept and not is_system(key)]
    if changed or removed:
        turn.emit(LabelsSet, labels=changed, removed=removed)
