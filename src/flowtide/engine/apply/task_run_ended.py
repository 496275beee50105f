"""TaskRunEnded: the task run is over; its parent counts it, its outputs stay."""

from __future__ import annotations

from flowtide.engine.apply.parent import child_ended
from flowtide.engine.apply.retry_states import note_retry
from flowtide.engine.execution import Execution, Run
from flowtide.model.events import TaskRunEnded
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunEnded) -> None:
    run = execution.runs[event.run_id]
    if run.state is State.PAUSED:
        execution.progress.paused_runs -= 1
    run.state = event.state
    run.ended = event.number
    if run.retried:
        note_retry(execution, event.state)
    if event.outputs is not None:
        run.outputs = event.outputs
    if run.iteration_now is not None:
        execution.forget_iterations(run, run.iteration_began)
    if run.parent_id in execution.gatherings:
        _gather(execution, run, event.number)
    execution.clear_timer(f"retry:{run.run_id}")
    execution.clear_timer(f"pause:{run.run_id}")
    execution.clear_timer(f"loop:{run.run_id}:{run.iteration_now}")
    parent = execution.runs[run.parent_id]
    parent.open -= 1
    child_ended(parent, run)
    execution.finish(run)
    execution.touch(parent)


def _gather(execution: Execution, run: Run, event: int) -> None:
    gathering = execution.gatherings[run.parent_id]
    if run.items is not None and run.iteration is not None:
        run.outputs = gathering.batch_ended(run.iteration, run.state, run.outputs)
    elif run.run_id in gathering.taken and run.state in (State.SUCCESS, State.WARNING):
        gathering.written(run.run_id, event, run.outputs)
