"""DirectoryClosing: the tasks in a directory are over, its worker keeps what is to stay."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import DirectoryClosing

CLOSING = "close"
"""What stands in `Run.entered` meanwhile; no list has this name."""


def apply(execution: Execution, event: DirectoryClosing) -> None:
    run = execution.runs[event.run_id]
    run.entered = CLOSING
    run.outcome = event.outcome
    execution.touch(run)
