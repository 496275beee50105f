"""Decides commands: a module per group of commands, a module per flowable construct, and the table that wires them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flowtide.engine.decide import templates
from flowtide.engine.decide.commands import (
    breakpoints,
    concurrency,
    control,
    create_execution,
    labels,
    progress,
    reports,
    restart,
)
from flowtide.engine.execution import Execution
from flowtide.engine.plan import Plan
from flowtide.engine.turn import FlowLookup, Turn
from flowtide.model import commands
from flowtide.model.records import Cause

DECIDERS: Mapping[type[commands.Command], Callable[[Turn, Any], None]] = {
    commands.CreateExecution: create_execution.decide,
    commands.ReportRunStarted: reports.run_started,
    commands.ReportRunEnded: reports.run_ended,
    commands.ReportDirectoryOpened: reports.directory_opened,
    commands.ReportEvaluation: reports.evaluation,
    commands.ReportChildEnded: reports.child_ended,
    commands.LoseWorker: reports.worker_lost,
    commands.KillExecution: control.kill,
    commands.PauseExecution: control.hold,
    commands.ResumeExecution: control.resume,
    commands.ResumeFromBreakpoint: breakpoints.resume,
    commands.UnqueueExecution: concurrency.unqueue,
    commands.ForceRunExecution: concurrency.force_run,
    commands.ConfirmSlot: concurrency.confirm,
    commands.SetLabels: labels.set_labels,
    commands.ContinueRun: progress.continue_run,
    commands.FireTimer: progress.fire_timer,
    commands.RestartExecution: restart.restart,
    commands.ReuseRuns: restart.reuse,
    commands.AnswerSlot: progress.slot_answered,
}
"""Who decides which command."""


def decide(
    execution: Execution | None,
    plan: Plan,
    command: commands.ExecutionCommand,
    *,
    tenant: str,
    execution_id: str,
    now: datetime,
    flows: FlowLookup,
    record: str | None = None,
    has_workers: Callable[[str], bool] = lambda group: True,
    may_use: Callable[[str], bool] = lambda group: True,
) -> Turn:
    """Decide one command: what happened and what follows, in the turn's `events` and `outgoing`.

    The execution is changed by the events; the turn's `execution` is the new one after CreateExecution.  Only
    CreateExecution may come without an execution.  `has_workers` tells whether somebody works in a worker group,
    `may_use` whether the tenant may.
    `record` names the command's place on the log.
    """
    cause = Cause(command=type(command).__name__, record=record, by=command.by)
    turn = Turn(
        execution,
        plan,
        tenant=tenant,
        execution_id=execution_id,
        now=now,
        cause=cause,
        flows=flows,
        has_workers=has_workers,
        may_use=may_use,
    )
    if plan.uses_templates and execution is not None:
        templates.fail_lost(turn)
    DECIDERS[type(command)](turn, command)
    turn.settle()
    return turn
