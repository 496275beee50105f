"""What people ask of a running execution: kill, pause, resume."""

from __future__ import annotations

from flowtide.engine.decide.constructs import pause
from flowtide.engine.decide.constructs.root import end_execution
from flowtide.engine.execution import ROOT, Run
from flowtide.engine.outgoing import ToEveryWorker, ToExecution
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.commands import ContinueRun, KillExecution, PauseExecution, ResumeExecution
from flowtide.model.events import ExecutionKilling, ExecutionPaused, ExecutionResumed, LabelsSet, TaskRunEnded
from flowtide.model.jobs import KillRun
from flowtide.model.states import State

_PORTION = 500
"""Task runs ended or handed out by one decision, so that a loop over 100,000 values is never one huge batch."""

_AT_WORKERS = (State.SUBMITTED, State.RUNNING)


def kill(turn: Turn, command: KillExecution) -> None:
    """KillExecution: nothing more is started, what runs is ended, then the execution is over.

    `errors` and `finally` do not run after a kill, `afterExecution` does (decision 0007).  A graceful one lets task
    runs finish that are running; an ordinary one after it does not.
    """
    execution = turn.execution
    at_workers = any(run.state in _AT_WORKERS for run in execution.runs.values())
    if execution.is_over or (execution.progress.killing is not None and (command.graceful or not at_workers)):
        return
    if execution.progress.killing is None:
        turn.cause = turn.emit(ExecutionKilling, outcome=command.state)
    if command.labels:
        turn.emit(LabelsSet, labels=command.labels)
    if at_workers and not command.graceful:
        # One control for all of them, because a loop may have very many.
        control = KillRun(tenant_id=turn.tenant, execution_id=turn.execution_id, run_id=ROOT, at=turn.now)
        turn.send(ToEveryWorker(control))
    kill_more(turn, cascade=command.cascade, graceful=command.graceful)


def kill_more(turn: Turn, *, cascade: bool, graceful: bool = False) -> None:
    """End a portion of the live task runs, and ask for the next one."""
    execution = turn.execution
    outcome = execution.progress.killing
    assert outcome is not None
    turn.cascade = cascade
    portion = _PORTION
    # Innermost first, so that a flowable task run finds its children already counted.
    for run in reversed(list(execution.runs.values())):
        if run.run_id == ROOT or run.run_id not in execution.runs or run.state is State.KILLING:
            continue
        if graceful and _may_finish(run, turn.plan.task(run.task_id)):
            continue
        if portion == 0:
            more = ContinueRun(at=turn.now, run_id=ROOT, cascade=cascade, graceful=graceful)
            turn.send(ToExecution(turn.execution_id, more))
            return
        portion -= 1
        turn.kill_run(run, turn.plan.task(run.task_id))
        turn.settle()
    if execution.progress.root.open == 0:
        _finish(turn, outcome)


def _may_finish(run: Run, task: TaskPlan) -> bool:
    """Whether a graceful kill leaves a task run alone: it runs at a worker or as a child, or something in it does."""
    if run.state is not State.RUNNING:
        return False
    return task.construct is None or task.construct == "subflow" or run.open > 0


def _finish(turn: Turn, outcome: State) -> None:
    if not turn.execution.is_over:
        end_execution(turn, outcome)


def hold(turn: Turn, command: PauseExecution) -> None:
    """PauseExecution: running tasks finish, no other is started."""
    if turn.execution.progress.state is State.RUNNING:
        turn.emit(ExecutionPaused, held=True)


def resume(turn: Turn, command: ResumeExecution) -> None:
    """ResumeExecution: go on after a pause, of the execution or of one of its task runs."""
    execution = turn.execution
    if execution.progress.killing is not None or execution.progress.reopening or execution.progress.restarted:
        return
    if execution.progress.state is State.BREAKPOINT:
        return  # from there it goes on by another command
    if execution.progress.held and command.run_id is None:
        turn.cause = turn.emit(ExecutionResumed)
        open_held(turn)
        if execution.progress.paused_runs and execution.progress.state is State.RUNNING:
            turn.emit(ExecutionPaused)
        return
    run = _paused_run(turn, command.run_id)
    if run is not None:
        pause.release(
            turn, run, turn.plan.task(run.task_id), by=command.by, inputs=command.inputs, to=command.to
        )


def open_held(turn: Turn) -> None:
    """Hand out a portion of what was held, and ask for the next one."""
    portion = _PORTION
    for run in list(turn.execution.runs.values()):
        waits = run.state in (State.CREATED, State.RESTARTED, State.BREAKPOINT) and run.run_id != ROOT
        if not (waits or (run.state is State.RETRYING and _is_due(turn, run))):
            continue
        if portion == 0:
            turn.send(ToExecution(turn.execution_id, ContinueRun(at=turn.now, run_id=ROOT)))
            return
        portion -= 1
        if turn.wait_at_breakpoint(run):
            continue
        if run.becomes is not None:
            cause = turn.emit(TaskRunEnded, run_id=run.run_id, state=run.becomes)
            turn.follow(run, cause)
        else:
            turn.submit_again(run, turn.plan.task(run.task_id))
        turn.settle()


def _is_due(turn: Turn, run: Run) -> bool:
    due = turn.execution.timers.get(f"retry:{run.run_id}")
    return due is not None and due <= turn.now


def _paused_run(turn: Turn, run_id: str | None) -> Run | None:
    if run_id is not None:
        run = turn.execution.runs.get(run_id)
        return run if run is not None and run.state is State.PAUSED else None
    return next((run for run in turn.execution.runs.values() if run.state is State.PAUSED), None)
