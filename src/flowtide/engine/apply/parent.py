"""What a parent counts when a child is over; shared by the events that can end one."""

from __future__ import annotations

from flowtide.engine.execution import Run
from flowtide.model.states import STOPPING, worst


def child_ended(parent: Run, child: Run) -> None:
    """Count the end of `child`, whose state is final."""
    parent.worst = child.state if parent.worst is None else worst(parent.worst, child.state)
    if child.iteration is not None and (child.last or child.state in STOPPING):
        parent.iterations_done += 1
