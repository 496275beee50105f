"""Folds events into the state of an execution: a module per event, and the table that wires them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowtide.engine.apply import (
    batches_counted,
    branch_entered,
    breakpoint_reached,
    breakpoints_set,
    child_execution_started,
    directory_closing,
    evaluation_recorded,
    evaluation_requested,
    execution_closed,
    execution_created,
    execution_ended,
    execution_killing,
    execution_paused,
    execution_queued,
    execution_restarted,
    execution_resumed,
    execution_retrying,
    execution_started,
    execution_state_changed,
    labels_set,
    loop_delayed,
    loop_opened,
    loop_repeated,
    phase_entered,
    reuse_completed,
    sla_breached,
    slot_requested,
    task_run_created,
    task_run_ended,
    task_run_killing,
    task_run_paused,
    task_run_reopened,
    task_run_resubmitted,
    task_run_resumed,
    task_run_retrying,
    task_run_reused,
    task_run_started,
    task_run_submitted,
    variables_set,
)
from flowtide.engine.execution import Execution
from flowtide.model import events

APPLIERS: dict[tuple[type[events.Event], int], Callable[[Execution, Any], None]] = {
    (events.ExecutionQueued, 1): execution_queued.apply,
    (events.SlotRequested, 1): slot_requested.apply,
    (events.ExecutionStarted, 1): execution_started.apply,
    (events.ExecutionPaused, 1): execution_paused.apply,
    (events.ExecutionResumed, 1): execution_resumed.apply,
    (events.ExecutionKilling, 1): execution_killing.apply,
    (events.PhaseEntered, 1): phase_entered.apply,
    (events.ExecutionEnded, 1): execution_ended.apply,
    (events.ExecutionClosed, 1): execution_closed.apply,
    (events.TaskRunCreated, 1): task_run_created.apply,
    (events.TaskRunSubmitted, 1): task_run_submitted.apply,
    (events.TaskRunStarted, 1): task_run_started.apply,
    (events.TaskRunRetrying, 1): task_run_retrying.apply,
    (events.TaskRunResubmitted, 1): task_run_resubmitted.apply,
    (events.TaskRunPaused, 1): task_run_paused.apply,
    (events.TaskRunResumed, 1): task_run_resumed.apply,
    (events.TaskRunKilling, 1): task_run_killing.apply,
    (events.TaskRunEnded, 1): task_run_ended.apply,
    (events.BranchEntered, 1): branch_entered.apply,
    (events.DirectoryClosing, 1): directory_closing.apply,
    (events.BatchesCounted, 1): batches_counted.apply,
    (events.LoopOpened, 1): loop_opened.apply,
    (events.LoopRepeated, 1): loop_repeated.apply,
    (events.LoopDelayed, 1): loop_delayed.apply,
    (events.ChildExecutionStarted, 1): child_execution_started.apply,
    (events.LabelsSet, 1): labels_set.apply,
    (events.VariablesSet, 1): variables_set.apply,
    (events.SlaBreached, 1): sla_breached.apply,
    (events.BreakpointReached, 1): breakpoint_reached.apply,
    (events.BreakpointsSet, 1): breakpoints_set.apply,
    (events.EvaluationRequested, 1): evaluation_requested.apply,
    (events.EvaluationRecorded, 1): evaluation_recorded.apply,
    (events.ExecutionRetrying, 1): execution_retrying.apply,
    (events.ExecutionRestarted, 1): execution_restarted.apply,
    (events.ExecutionStateChanged, 1): execution_state_changed.apply,
    (events.TaskRunReopened, 1): task_run_reopened.apply,
    (events.TaskRunReused, 1): task_run_reused.apply,
    (events.ReuseCompleted, 1): reuse_completed.apply,
}
"""Who folds which event, by type and version.  A changed fold is a new version beside the old one."""


def fold(execution: Execution | None, event: events.ExecutionEvent) -> Execution:
    """Apply one event.  Events come in the order of their numbers, without gaps.

    Raises ValueError for an event that cannot follow; the state is then unchanged.
    """
    if execution is None:
        if not isinstance(event, events.ExecutionCreated) or event.number != 0:
            raise ValueError(
                f"event {event.number} ({type(event).__name__}) of an execution that was not created"
            )
        execution = execution_created.create(event)
    else:
        if event.number != execution.progress.next_event:
            raise ValueError(f"event {event.number} where event {execution.progress.next_event} was expected")
        APPLIERS[type(event), event.version](execution, event)
    execution.progress.next_event = event.number + 1
    execution.touch_progress()
    return execution
