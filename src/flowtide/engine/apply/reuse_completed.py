"""ReuseCompleted: the root counts the children that the replay took over."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ReuseCompleted


def apply(execution: Execution, event: ReuseCompleted) -> None:
    progress = execution.progress
    root = progress.root
    root.opened = max(root.opened, event.opened)
    root.worst = event.worst
    progress.restarted = True
    execution.clear_timer("reuse:")
