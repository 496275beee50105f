"""WorkingDirectory: its tasks one after the other in a directory that one worker keeps open (FLO-23).

A worker takes the job that opens it, and says that it did; the jobs of the tasks inside go to that worker alone; after
the last one it is told to close, and the task run ends when it did.  When the worker dies everything inside is gone,
so that all of it is started again as the next attempt (decision 0027).
"""

from __future__ import annotations

from flowtide.engine.apply.directory_closing import CLOSING
from flowtide.engine.decide.constructs.basic import child_ended, resume
from flowtide.engine.execution import Run
from flowtide.engine.handing_out import directory_of
from flowtide.engine.outgoing import ToEveryWorker
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.commands import ReportDirectoryOpened, ReportRunEnded
from flowtide.model.entries import Level
from flowtide.model.events import DirectoryClosing, ExecutionResumed, TaskRunEnded
from flowtide.model.jobs import CloseDirectory
from flowtide.model.states import STOPPING, TERMINAL, State, worst

__all__ = ["child_ended", "enclosing", "finish", "kill", "lose", "opened", "reported", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Have a worker open the directory."""
    turn.hand_out(run, task)


def opened(turn: Turn, run: Run, task: TaskPlan, command: ReportDirectoryOpened) -> None:
    """The directory is there: run the tasks."""
    if run.worker_id == command.worker_id and run.entered is None:
        turn.enter(run, task, "tasks")


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """The tasks are over: have the directory closed; of an execution that is killed, nothing is kept."""
    if turn.execution.progress.killing is not None:
        _discard(turn, run)
        turn.end(run, task, outcome)
        return
    turn.emit(DirectoryClosing, run_id=run.run_id, outcome=outcome)
    _close(turn, run, failed=outcome in STOPPING)


def reported(turn: Turn, run: Run, task: TaskPlan, command: ReportRunEnded) -> None:
    """The worker could not open the directory, or has closed it."""
    if run.entered is None:
        state = State.FAILED if command.state is State.SUCCESS else command.state
        turn.end(run, task, state, outputs=command.outputs, error=command.error)
    elif run.entered == CLOSING and run.outcome is not None:
        outcome = worst(run.outcome, command.state)
        turn.end(run, task, outcome, outputs=command.outputs, error=command.error)


def kill(turn: Turn, run: Run, task: TaskPlan) -> bool:
    """Have the directory removed; its worker does so when nothing runs in it any more."""
    _discard(turn, run)
    return False


def lose(turn: Turn, run: Run, task: TaskPlan, *, worker_id: str, resubmit: bool) -> None:
    """The worker is gone, and the directory with it: end what was under way inside, and start again."""
    if turn.execution.progress.killing is not None:
        return  # what its worker was to end is lost by itself
    reason = f"The worker {worker_id} died, and the directory of task `{task.id}` with it"
    _end_all_inside(turn, run, reason)
    if resubmit:
        turn.log(Level.WARN, f"{reason}; its tasks start again", run)
        turn.resubmit(run, task, worker_id)
    else:
        turn.fail(run, task, reason)


def enclosing(turn: Turn, run: Run) -> Run | None:
    """The task run whose directory this one belongs to: itself, or one around it."""
    task = turn.plan.task(run.task_id)
    if task.construct == "working_directory":
        return run
    return directory_of(turn, run, task)


def _end_all_inside(turn: Turn, directory: Run, reason: str) -> None:
    from flowtide.engine.decide.constructs import CONSTRUCTS  # the table needs this module

    execution = turn.execution
    for run in reversed(list(execution.runs.values())):  # the innermost first
        if run.state in TERMINAL or directory not in execution.parents(run):
            continue
        task = turn.plan.task(run.task_id)
        if task.construct is not None:
            CONSTRUCTS[task.construct].kill(turn, run, task)
        turn.emit(TaskRunEnded, run_id=run.run_id, state=State.KILLED, error=reason)
    progress = execution.progress
    if progress.state is State.PAUSED and not progress.held and progress.paused_runs == 0:
        turn.emit(ExecutionResumed)


def _close(turn: Turn, run: Run, *, failed: bool = False, discard: bool = False) -> None:
    assert run.worker_id is not None
    control = CloseDirectory(
        tenant_id=turn.tenant,
        execution_id=turn.execution_id,
        worker_id=run.worker_id,
        run_id=run.run_id,
        attempt=run.attempt,
        at=turn.now,
        failed=failed,
        discard=discard,
    )
    turn.send(ToEveryWorker(control))


def _discard(turn: Turn, run: Run) -> None:
    if run.worker_id is not None:
        _close(turn, run, discard=True)
