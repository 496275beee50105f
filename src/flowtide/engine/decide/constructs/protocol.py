"""What the engine asks of the module of a flowable construct."""

from __future__ import annotations

from typing import Protocol

from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.states import State


class Construct(Protocol):
    """A flowable construct: functions of a module, without state of their own.

    They read the state and emit events through the turn; an ExpressionError fails the task run.
    """

    def start(self, turn: Turn, run: Run, task: TaskPlan) -> None:
        """The task run is RUNNING and has no children; also called again when workers evaluated its expressions."""

    def child_ended(self, turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
        """A child in one of the construct's own lists is over, and counted."""

    def finish(self, turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
        """All lists are over, `errors` and `finally` included."""

    def kill(self, turn: Turn, run: Run, task: TaskPlan) -> bool:
        """Begin to end what is not a child task run; True when the end is going to be reported later."""

    def resume(self, turn: Turn, run: Run, task: TaskPlan) -> None:
        """Go on with a task run that opens its children in portions."""
