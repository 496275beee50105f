"""LoopDelayed: a loop without values waits before it goes on."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import LoopDelayed


def apply(execution: Execution, event: LoopDelayed) -> None:
    run = execution.runs[event.run_id]
    execution.set_timer(f"loop:{run.run_id}:{run.iteration_now}", event.due)
    execution.touch(run)
