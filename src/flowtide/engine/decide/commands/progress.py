"""What the engine, its timers and the *flows* processor tell an execution."""

from __future__ import annotations

from flowtide.engine import sla
from flowtide.engine.decide.commands.control import kill, kill_more, open_held
from flowtide.engine.decide.commands.create_execution import admit, start
from flowtide.engine.decide.commands.restart import reopen_more, retry_flow
from flowtide.engine.decide.constructs import CONSTRUCTS, loop_until, pause
from flowtide.engine.decide.constructs.root import end_execution
from flowtide.engine.execution import ROOT
from flowtide.engine.turn import Turn
from flowtide.model.commands import AnswerSlot, ContinueRun, FireTimer, KillExecution
from flowtide.model.events import ExecutionQueued
from flowtide.model.states import State


def continue_run(turn: Turn, command: ContinueRun) -> None:
    """ContinueRun: open the next portion of children, or end or hand out the next portion of the execution's."""
    if command.run_id == ROOT:
        if turn.execution.progress.killing is not None:
            kill_more(turn, cascade=command.cascade, graceful=command.graceful)
        elif turn.execution.progress.reopening:
            reopen_more(turn)
        elif not turn.execution.progress.held:
            open_held(turn)
        return
    run = turn.execution.runs.get(command.run_id)
    if run is None or run.state is not State.RUNNING or turn.execution.progress.killing is not None:
        return
    task = turn.plan.task(run.task_id)
    assert task.construct is not None
    CONSTRUCTS[task.construct].resume(turn, run, task)


def fire_timer(turn: Turn, command: FireTimer) -> None:
    """FireTimer: what waited for a date goes on, or a deadline is over; a timer that was cleared means nothing."""
    execution = turn.execution
    if command.timer_id not in execution.timers or execution.progress.killing is not None:
        return
    kind, _, run_id = command.timer_id.partition(":")
    if kind in ("schedule", "hold"):
        if execution.progress.state is State.CREATED:
            admit(turn)
        return
    if kind == "sla":
        sla.expire(turn, run_id)
        return
    run_id = run_id.partition(":")[0]
    if kind == "flow":
        _retry_flow(turn)
        return
    if kind == "reuse":
        end_execution(turn, State.FAILED, error="What the replay goes on from did not come; replay it again")
        return
    run = execution.runs.get(run_id)
    if run is None:
        return
    if kind == "retry" and run.state is State.RETRYING and not execution.progress.held:
        turn.submit_again(run, turn.plan.task(run.task_id))  # of a held execution, when it is resumed
    elif kind == "pause" and run.state is State.PAUSED:
        pause.expire(turn, run, turn.plan.task(run.task_id))
    elif kind == "loop" and run.state is State.RUNNING:
        loop_until.expire(turn, run, turn.plan.task(run.task_id))


def _retry_flow(turn: Turn) -> None:
    retry = turn.plan.flow.retry
    if retry is not None and retry.behavior == "CREATE_NEW_EXECUTION":
        end_execution(turn, State.RETRIED)
    else:
        retry_flow(turn)


def slot_answered(turn: Turn, command: AnswerSlot) -> None:
    """AnswerSlot: run, wait, or end, as the flow's concurrency limit says."""
    progress = turn.execution.progress
    if progress.state not in (State.CREATED, State.QUEUED, State.RESTARTED):
        return
    if command.state is State.RUNNING:
        start(turn)
    elif command.state is State.QUEUED:
        if progress.state is not State.QUEUED:
            turn.emit(ExecutionQueued)
    elif progress.root.open > 0:
        # What was opened for it ends with it.
        kill(turn, KillExecution(at=command.at, by=command.by, state=command.state))
    else:
        reason = "The flow's concurrency limit is reached" if command.state is State.FAILED else None
        end_execution(turn, command.state, error=reason)
