"""The root: the flow's own lists, `tasks`, `errors`, `finally` and `afterExecution`, and the end of the execution.

The order is tasks, errors when they failed, finally, the final state, afterExecution (ERR-09).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flowtide.engine import sla
from flowtide.engine.decide.constructs.basic import child_ended, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.flow_retry import create_next, wait_for_retry, was_retried
from flowtide.engine.outgoing import ToExecution, ToFlow, ToTrigger
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError, FlowtideError
from flowtide.model.commands import ReportChildEnded
from flowtide.model.entries import Level
from flowtide.model.events import ExecutionClosed, ExecutionEnded, PhaseEntered, TaskRunEnded
from flowtide.model.flow_commands import ReleaseSlot
from flowtide.model.outputs import cast_output
from flowtide.model.states import State
from flowtide.model.trigger_records import ReleaseTrigger

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Open the first task of the flow."""
    tasks = task.branches["tasks"]
    if tasks:
        turn.open_task(tasks[0], run, "tasks", 0)
    else:
        turn.complete(run, task)


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """All lists are over: the execution ends, and `afterExecution` follows; after that, it is closed."""
    if run.entered == "afterExecution":
        turn.emit(ExecutionClosed)
        return
    if turn.plan.assertions and turn.execution.progress.killing is None and sla.tell_unchecked(turn):
        outcome = State.FAILED
    end_execution(turn, outcome)


def end_execution(turn: Turn, outcome: State, *, error: str | None = None) -> None:
    """Give the execution its final state, and tell everyone who waits for it."""
    progress = turn.execution.progress
    killing = progress.killing
    if killing is not None:
        outcome = killing
    if outcome is State.RETRIED and progress.state is not State.RETRYING:
        retry = turn.plan.flow.retry
        assert retry is not None
        wait_for_retry(turn, retry)
        return
    if outcome is State.SUCCESS and was_retried(turn):
        outcome = State.WARNING
    outputs: dict[str, Any] | None = None
    if outcome in (State.SUCCESS, State.WARNING) and turn.plan.flow.outputs:
        try:
            outputs = _outputs(turn, outcome)
        except FlowtideError as failure:
            outcome, error = State.FAILED, str(failure)
        else:
            if outputs is None:
                return  # workers evaluate them, and their answer comes back here
    told = outputs or {}
    if outcome in (State.SUCCESS, State.WARNING) and not turn.plan.flow.outputs:
        try:
            wanted = _outputs_of_parent(turn, outcome)
        except FlowtideError as failure:
            outcome, error = State.FAILED, str(failure)
        else:
            if wanted is None:
                return  # as above
            told = wanted
    if error is not None:
        turn.log(Level.ERROR, error)
    # Of an execution that never started, nothing runs (CON-02, EXE-07).
    after = turn.plan.root.branches["afterExecution"] if progress.started is not None else []
    cause = turn.emit(ExecutionEnded, state=outcome, outputs=outputs, error=error, closed=not after)
    successor_id = create_next(turn) if outcome is State.RETRIED else None
    _tell(turn, outcome, told, successor_id, error)
    if after:
        turn.cause = cause
        root = progress.root
        turn.cause = turn.emit(PhaseEntered, phase="afterExecution", outcome=outcome)
        turn.open_task(after[0], root, "afterExecution", 0)


def _outputs(turn: Turn, outcome: State) -> dict[str, Any] | None:
    declared = turn.plan.flow.outputs
    root = turn.execution.progress.root
    asked = {each.id: each.value for each in declared}
    try:
        values = turn.evaluate(root, turn.plan.root, asked, outcome=outcome, protected=asked.keys())
    except ExpressionError as error:
        raise ExpressionError(f"The outputs of the flow: {error}") from error
    if values is None:
        return None
    return {each.id: cast_output(each, values[each.id], _encryption(turn, each.id)) for each in declared}


def _outputs_of_parent(turn: Turn, outcome: State) -> dict[str, Any] | None:
    """What the parent's task wants to know of this execution, whose flow declares no outputs (G06)."""
    parent = turn.execution.head.parent
    if parent is None or not parent.outputs:
        return {}
    root = turn.execution.progress.root
    try:
        return turn.evaluate(
            root, turn.plan.root, parent.outputs, mixed=True, outcome=outcome, protected=parent.outputs.keys()
        )
    except ExpressionError as error:
        raise ExpressionError(f"The outputs that the parent execution asks for: {error}") from error


def _encryption(turn: Turn, output_id: str) -> Callable[[str], Any] | None:
    cipher = turn.plan.cipher
    if cipher is None:
        return None
    return partial(cipher.encrypt, tenant_id=turn.tenant, place=f"{turn.execution_id}/outputs/{output_id}")


def _tell(
    turn: Turn, state: State, outputs: dict[str, Any], successor_id: str | None, error: str | None
) -> None:
    head = turn.execution.head
    if turn.execution.progress.slot:
        turn.send(
            ToFlow(head.namespace, head.flow_id, ReleaseSlot(execution_id=turn.execution_id, at=turn.now))
        )
    if head.parent is not None and head.parent.wait:
        report = ReportChildEnded(
            at=turn.now,
            run_id=head.parent.run_id,
            child_id=turn.execution_id,
            state=state,
            outputs=outputs,
            successor_id=successor_id,
            error=_reason(turn, error) if state is State.FAILED else None,
        )
        turn.send(ToExecution(head.parent.execution_id, report))
    if head.release_trigger and head.trigger is not None:
        release = ReleaseTrigger(at=turn.now, execution_id=turn.execution_id, state=state)
        turn.send(ToTrigger(head.namespace, head.flow_id, head.trigger.id, release))


def _reason(turn: Turn, error: str | None) -> str | None:
    """Why the execution failed: the error of the task run that ended it in this turn, where nothing else tells it.

    Nobody keeps the errors of task runs, so it is not known any more after the tasks of `errors`.
    """
    if error is not None:
        return error
    told = (each.error for each in reversed(turn.events) if isinstance(each, TaskRunEnded) and each.error)
    return next(told, None)
