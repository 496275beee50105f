"""LoopRepeated: a loop without values begins its next iteration; what was evaluated after the last one is forgotten."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import LoopRepeated


def apply(execution: Execution, event: LoopRepeated) -> None:
    run = execution.runs[event.run_id]
    execution.clear_timer(f"loop:{run.run_id}:{run.iteration_now}")
    if event.iteration == 0:
        run.started = event.at
    execution.forget_iterations(run, run.iteration_began)
    run.iteration_began = event.number
    run.entered = "tasks"
    run.iteration_now = event.iteration
    run.opened = 0
    run.evaluated = run.asked = None
    run.outputs = {"iterationCount": event.iteration + 1}
    execution.show(run)
    execution.touch(run)
