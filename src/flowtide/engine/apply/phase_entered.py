"""PhaseEntered: the root moves on to another list of the flow."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import PhaseEntered


def apply(execution: Execution, event: PhaseEntered) -> None:
    root = execution.progress.root
    root.entered = event.phase
    root.outcome = event.outcome
    root.worst = None
    root.opened = 0
    root.open = 0
