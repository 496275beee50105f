"""The parts of a construct that most constructs have in common."""

from __future__ import annotations

from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.states import State


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """Run the list in sequence."""
    turn.next_in_sequence(run, task, child)


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End the task run with what its children came to."""
    turn.end(run, task, outcome)


def kill(turn: Turn, run: Run, task: TaskPlan) -> bool:
    """Nothing is to be ended besides the children."""
    return False


def resume(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Nothing is opened in portions."""
