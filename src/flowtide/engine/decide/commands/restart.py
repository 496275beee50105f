"""What makes an execution go on that was over, or failed: restart, change of status, the retry of its flow, replay.

All of them open again what a person or the flow wants to run (`flowtide.engine.reopening`), in portions, while the
execution is held; when all of it is open, the execution runs, after it was given a slot where its flow has a limit.
"""

from __future__ import annotations

from collections import deque

from flowtide.engine.decide.commands.create_execution import admit
from flowtide.engine.decide.constructs.root import end_execution
from flowtide.engine.execution import ROOT
from flowtide.engine.outgoing import ToExecution
from flowtide.engine.reopening import Kind, Lost, Reopening, Step
from flowtide.engine.support import refusal
from flowtide.engine.turn import Turn
from flowtide.model.commands import ContinueRun, ReportChildEnded, RestartExecution, ReusedRun, ReuseRuns
from flowtide.model.entries import Level
from flowtide.model.events import (
    ExecutionRestarted,
    ReuseCompleted,
    TaskRunReopened,
    TaskRunReused,
)
from flowtide.model.flowables import Subflow
from flowtide.model.states import TERMINAL, State

_PORTION = 500
"""Task runs reopened by one decision."""


def restart(turn: Turn, command: RestartExecution) -> None:
    """RestartExecution: what failed runs again, or only the target; the execution keeps its id (RTY-10)."""
    execution = turn.execution
    if not execution.is_closed:
        return
    try:
        reopening = Reopening(execution, turn.plan, command.target)
        steps = list(reopening.steps())
    except (Lost, KeyError) as error:
        turn.log(Level.ERROR, f"The execution cannot be restarted: {error}")
        if command.run_id is not None and command.parent_id is not None:
            report = ReportChildEnded(
                at=turn.now, run_id=command.run_id, child_id=turn.execution_id, state=State.FAILED
            )
            turn.send(ToExecution(command.parent_id, report))
        return
    _reopen(turn, reopening, steps, command=command)


def retry_flow(turn: Turn) -> None:
    """The retry of the flow is due: open what failed again, in the same execution (RTY-08)."""
    reopening = Reopening(turn.execution, turn.plan)
    _reopen(turn, reopening, list(reopening.steps()), command=None)


def _reopen(turn: Turn, reopening: Reopening, steps: list[Step], *, command: RestartExecution | None) -> None:
    execution = turn.execution
    counts = reopening.counts(execution.progress.root)
    revision = turn.plan.revision
    turn.cause = turn.emit(
        ExecutionRestarted,
        automatic=command is None,
        flow_revision=revision if revision != execution.head.flow_revision else None,
        target=command.target if command is not None else None,
        becomes=command.becomes if command is not None else None,
        resumes=command.resumes if command is not None else [],
        opened=counts.opened,
        worst=counts.worst,
    )
    error = None
    if turn.plan.flow.disabled:
        error = "Cannot execute a flow which is disabled"
    elif turn.plan.unsupported:
        error = refusal(turn.plan.unsupported)
    if error is not None:
        end_execution(turn, State.FAILED, error=error)
        return
    execution.steps = deque(steps)
    reopen_more(turn)


def reopen_more(turn: Turn) -> None:
    """Open a portion again, and ask for the next one; after the last one the execution may run."""
    execution = turn.execution
    steps = execution.steps
    if steps is None:  # the server that began died
        steps = deque(Reopening(execution, turn.plan, execution.progress.target).steps())
        execution.steps = steps
    portion = _PORTION
    while steps and not execution.is_over:
        if portion == 0:
            turn.send(ToExecution(turn.execution_id, ContinueRun(at=turn.now, run_id=ROOT)))
            return
        portion -= 1
        step = steps.popleft()
        if step.kind is not Kind.SETTLE:
            _reopen_run(turn, step)
        elif step.run.parent_id != ROOT:  # what follows in the flow's own list is opened at the start
            turn.follow(step.run)
            turn.settle()
    execution.forget_past()
    if execution.is_over:
        return
    if execution.progress.restarted:
        admit(turn)
    else:
        turn.go_on_held()


def _reopen_run(turn: Turn, step: Step) -> None:
    execution = turn.execution
    progress = execution.progress
    run = step.run
    task = turn.plan.task(run.task_id)
    around = step.kind is Kind.AROUND
    resumes = becomes = None
    if not around:
        if run.run_id == progress.target:
            becomes = progress.becomes
        if (
            isinstance(task.task, Subflow)
            and task.task.restart_behavior == "RETRY_FAILED"
            and run.child_id in progress.resumes
        ):
            resumes = run.child_id
    # Of one that no worker ever heard of, the attempt is still to be made.
    began = run.handed_out or run.state is not State.KILLED or task.construct is not None
    turn.emit(
        TaskRunReopened,
        run_id=run.run_id,
        task_id=run.task_id,
        attempt=run.attempt if around or becomes is not None or not began else run.attempt + 1,
        created=run.created,
        created_number=run.number,
        before=run.state,
        parent_id=run.parent_id or None,
        branch=run.branch,
        index=run.index,
        last=run.last,
        value=run.value,
        iteration=run.iteration,
        items=run.items,
        outputs=run.outputs if around or becomes is not None else None,
        resumes=resumes,
        becomes=becomes,
        around=around,
        since=run.since,
        entered=step.branch if around else None,
        opened=step.counts.opened,
        worst=step.counts.worst,
        iterations_done=step.counts.iterations_done,
        # Also of one that runs again: until it begins, what its loop opened before still counts.
        values=execution.past_loops.get(run.run_id),
        taken=step.counts.taken,
        done=step.counts.done,
    )


# --- replay ----------------------------------------------------------------------------------------------------


def reuse(turn: Turn, command: ReuseRuns) -> None:
    """ReuseRuns: task runs of the execution that is replayed stand in this one too; the last portion starts it."""
    execution = turn.execution
    progress = execution.progress
    if progress.state is not State.CREATED or "reuse:" not in execution.timers:
        return
    if command.first != progress.reused:
        return  # it came twice
    for each in command.runs:
        _reuse_run(turn, each)
        if execution.is_over:
            return
    if command.complete:
        turn.cause = turn.emit(ReuseCompleted, opened=command.opened, worst=command.worst)
        admit(turn)


def _reuse_run(turn: Turn, reused: ReusedRun) -> None:
    turn.emit(
        TaskRunReused,
        run_id=reused.run_id,
        task_id=reused.task_id,
        state=reused.state,
        source_id=reused.source_id,
        attempt=reused.attempt,
        parent_id=reused.parent_id,
        branch=reused.branch,
        index=reused.index,
        last=reused.last,
        value=reused.value,
        iteration=reused.iteration,
        items=reused.items,
        outputs=reused.outputs,
        attempts=reused.attempts,
        histories=reused.histories,
        path=reused.path,
        entered=reused.entered,
        opened=reused.opened,
        worst=reused.worst,
        iterations_done=reused.iterations_done,
        values=reused.values,
        taken=reused.taken,
        done=reused.done,
    )
    if reused.settles and reused.state in TERMINAL:
        run = turn.execution.just_ended(reused.run_id)
        assert run is not None
        turn.follow(run)
        turn.settle()
