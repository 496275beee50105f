"""What people do about executions that wait for a slot: take them out of the queue, run them at once, look after slots.

An execution that runs beyond the limit holds a slot all the same, so that the next one waits for it (page 458).
"""

from __future__ import annotations

from flowtide.engine.decide.commands import breakpoints
from flowtide.engine.decide.commands.control import kill, resume
from flowtide.engine.decide.commands.create_execution import start
from flowtide.engine.decide.constructs import pause
from flowtide.engine.decide.constructs.root import end_execution
from flowtide.engine.outgoing import ToFlow
from flowtide.engine.turn import Turn
from flowtide.model.commands import (
    ConfirmSlot,
    ForceRunExecution,
    KillExecution,
    ResumeExecution,
    UnqueueExecution,
)
from flowtide.model.events import SlotRequested
from flowtide.model.flow_commands import ReleaseSlot, TakeSlot
from flowtide.model.states import TERMINAL, State

_PAUSED_PORTION = 500


def unqueue(turn: Turn, command: UnqueueExecution) -> None:
    """UnqueueExecution: a QUEUED execution runs, or ends in the state that is asked for."""
    if turn.execution.progress.state is not State.QUEUED:
        return
    if command.state in TERMINAL and turn.execution.progress.root.open > 0:
        # It was restarted: what was opened for that ends with it.
        kill(turn, KillExecution(at=command.at, by=command.by, state=command.state))
    elif command.state in TERMINAL:
        end_execution(turn, command.state)
    else:
        _start_beyond_limit(turn)


def force_run(turn: Turn, command: ForceRunExecution) -> None:
    """ForceRunExecution: what waits runs; what runs, or is over, is left as it is."""
    progress = turn.execution.progress
    if progress.state in (State.CREATED, State.QUEUED, State.RESTARTED):
        _start_beyond_limit(turn)
    elif progress.state is State.BREAKPOINT:
        breakpoints.go_on(turn)
    elif progress.state is State.PAUSED:
        if progress.held:
            resume(turn, ResumeExecution(at=command.at, by=command.by))
        waiting = [run for run in turn.execution.runs.values() if run.state is State.PAUSED]
        for run in waiting[:_PAUSED_PORTION]:
            task = turn.plan.task(run.task_id)
            pause.release(turn, run, task, by=command.by, inputs={}, to=None)
            turn.settle()


def confirm(turn: Turn, command: ConfirmSlot) -> None:
    """ConfirmSlot: an execution that is over gives its slot back; for one that is gone the processor does."""
    if turn.execution.is_over or not turn.execution.progress.slot:
        release = ReleaseSlot(execution_id=turn.execution_id, at=turn.now)
        turn.send(ToFlow(command.namespace, command.flow_id, release))


def _start_beyond_limit(turn: Turn) -> None:
    execution = turn.execution
    head = execution.head
    if execution.progress.slot or turn.plan.flow.concurrency is not None:
        if not execution.progress.slot:
            turn.emit(SlotRequested)
        take = TakeSlot(execution_id=turn.execution_id, at=turn.now)
        turn.send(ToFlow(head.namespace, head.flow_id, take))
    start(turn)
