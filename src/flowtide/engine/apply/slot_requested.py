"""SlotRequested: the flow's concurrency limit was asked; the slot is given back at the end."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import SlotRequested


def apply(execution: Execution, event: SlotRequested) -> None:
    execution.progress.slot = True
    execution.clear_timer("schedule:")
