"""TaskRunRetrying: the attempt failed, a timer waits for the next one."""

from __future__ import annotations

from flowtide.engine.apply.retry_states import note_retry
from flowtide.engine.execution import Execution
from flowtide.model.events import TaskRunRetrying
from flowtide.model.states import State


def apply(execution: Execution, event: TaskRunRetrying) -> None:
    run = execution.runs[event.run_id]
    run.state = State.RETRYING
    run.retried = True
    note_retry(execution, State.FAILED)
    run.worker_id = None
    execution.set_timer(f"retry:{run.run_id}", event.due)
    execution.touch(run)
