"""What workers and child executions report; a report about something that is over is ignored."""

from __future__ import annotations

from datetime import datetime

from flowtide.engine.decide.constructs import subflow, working_directory
from flowtide.engine.decide.constructs.root import end_execution
from flowtide.engine.execution import ROOT
from flowtide.engine.outgoing import ToEveryWorker
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.commands import (
    LoseWorker,
    ReportChildEnded,
    ReportDirectoryOpened,
    ReportEvaluation,
    ReportRunEnded,
    ReportRunStarted,
)
from flowtide.model.events import EvaluationRecorded, TaskRunStarted
from flowtide.model.jobs import KillRun
from flowtide.model.states import State


def run_started(turn: Turn, command: ReportRunStarted) -> None:
    """ReportRunStarted: the attempt is RUNNING; a worker that starts what is over is told to stop."""
    run = turn.execution.runs.get(command.run_id)
    if run is None:
        _stop(turn, command)
        return
    if command.attempt < run.attempt:
        _stop(turn, command)
    elif run.attempt == command.attempt and run.state is State.SUBMITTED:
        turn.emit(TaskRunStarted, run_id=run.run_id, attempt=run.attempt, worker_id=command.worker_id)


def directory_opened(turn: Turn, command: ReportDirectoryOpened) -> None:
    """ReportDirectoryOpened: the tasks inside run; a worker that holds what is over is told to let it go."""
    run = turn.execution.runs.get(command.run_id)
    if run is None or command.attempt < run.attempt:
        _stop(turn, command)
    elif run.attempt == command.attempt and run.state is State.RUNNING:
        working_directory.opened(turn, run, turn.plan.task(run.task_id), command)


def _stop(turn: Turn, command: ReportRunStarted | ReportDirectoryOpened) -> None:
    turn.send(stop(command, tenant=turn.tenant, execution_id=turn.execution_id, at=turn.now))


def stop(
    command: ReportRunStarted | ReportDirectoryOpened, *, tenant: str, execution_id: str, at: datetime
) -> ToEveryWorker:
    """What tells a worker that runs an attempt which is over to stop."""
    return ToEveryWorker(
        KillRun(
            tenant_id=tenant,
            execution_id=execution_id,
            run_id=command.run_id,
            attempt=command.attempt,
            at=at,
        )
    )


def run_ended(turn: Turn, command: ReportRunEnded) -> None:
    """ReportRunEnded: the attempt is over, the task run perhaps too."""
    run = turn.execution.runs.get(command.run_id)
    if run is None or run.attempt != command.attempt or run.state not in _WITH_WORKER:
        return
    task = turn.plan.task(run.task_id)
    if task.construct is not None and command.state in _ENDS:
        working_directory.reported(turn, run, task, command)
    elif command.state in _ENDS:
        turn.end(run, task, command.state, outputs=command.outputs, error=command.error)
    else:
        turn.fail(
            run, task, f"The worker {command.worker_id} reported {command.state} as the end of the task"
        )


_ENDS = (State.SUCCESS, State.WARNING, State.FAILED, State.KILLED, State.SKIPPED)
_WITH_WORKER = (State.SUBMITTED, State.RUNNING, State.KILLING)


def evaluation(turn: Turn, command: ReportEvaluation) -> None:
    """ReportEvaluation: what the workers evaluated is recorded, and the task run goes on with it."""
    run = turn.execution.runs.get(command.run_id)
    if run is None:
        return
    task = turn.plan.task(run.task_id)
    if run.run_id == ROOT:
        if run.outcome is None or turn.execution.is_over:
            return
        if command.error is not None:
            end_execution(turn, State.FAILED, error=f"The outputs of the flow: {command.error}")
            return
        turn.cause = turn.emit(EvaluationRecorded, run_id=ROOT, values=command.values)
        end_execution(turn, run.outcome)
        return
    waits = State.SUBMITTED if task.begins_at_worker else State.RUNNING
    if run.state is not waits or run.child_id is not None:
        return
    if run.entered is not None and (run.asked is None or not command.values.keys() <= set(run.asked)):
        return  # only loops ask again, after an iteration; this answers an earlier question
    if command.values.keys() <= (run.evaluated or {}).keys() and command.error is None:
        return  # it came twice
    if command.error is not None:
        turn.fail(run, task, f"Task `{task.id}`: {command.error}")
        return
    turn.cause = turn.emit(EvaluationRecorded, run_id=run.run_id, values=command.values)
    turn.go_on(run, task)


def child_ended(turn: Turn, command: ReportChildEnded) -> None:
    """ReportChildEnded: the execution that a task run waits for is over."""
    run = turn.execution.runs.get(command.run_id)
    if run is None or run.child_id != command.child_id or run.state is State.RETRYING:
        return
    task = turn.plan.task(run.task_id)
    if command.successor_id is not None:
        subflow.child_execution_retried(turn, run, child_id=command.successor_id)
        return
    try:
        subflow.child_execution_ended(
            turn,
            run,
            task,
            child_id=command.child_id,
            state=command.state,
            outputs=command.outputs,
            reason=command.error,
        )
    except ExpressionError as error:
        turn.fail(run, task, str(error))


def worker_lost(turn: Turn, command: LoseWorker) -> None:
    """LoseWorker: the attempt died with its worker; it is handed out again, or fails (LIFE-8)."""
    run = turn.execution.runs.get(command.run_id)
    if run is None or run.attempt != command.attempt or run.worker_id != command.worker_id:
        return
    task = turn.plan.task(run.task_id)
    directory = working_directory.enclosing(turn, run)
    killing = turn.execution.progress.killing is not None  # gracefully, or the kill did not come to it yet
    if run.state is State.KILLING or (run.state is State.RUNNING and killing):
        turn.end(run, task, State.KILLED)
    elif run.state is State.RUNNING and directory is not None:
        around = turn.plan.task(directory.task_id)
        working_directory.lose(
            turn, directory, around, worker_id=command.worker_id, resubmit=command.resubmit
        )
    elif run.state is State.RUNNING:
        if command.resubmit:
            turn.resubmit(run, task, command.worker_id)
        else:
            turn.fail(run, task, f"The worker {command.worker_id} died while it ran this task")
