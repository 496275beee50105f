"""What a parent counts of its children; shared by the events that end one, and by those that begin anew."""

from __future__ import annotations

from flowtide.engine.execution import Run
from flowtide.model.states import STOPPING, worst


def child_ended(parent: Run, child: Run) -> None:
    """Count the end of `child`, whose state is final."""
    parent.worst = child.state if parent.worst is None else worst(parent.worst, child.state)
    if child.iteration is not None and (child.last or child.state in STOPPING):
        parent.iterations_done += 1
    if parent.done is not None:
        parent.done.append(child.index)


def count_anew(run: Run) -> None:
    """Forget the children of an attempt: the next one has its own."""
    run.entered = None
    run.outcome = run.worst = None
    run.opened = run.open = run.iterations_done = 0
    run.child_id = None
    run.evaluated = run.asked = None
    run.taken = run.done = None
