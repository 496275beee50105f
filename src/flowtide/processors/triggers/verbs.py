"""What people ask of a trigger: switch, unlock, reset, restart, and backfills; a refusal with its reason comes back."""

from __future__ import annotations

import msgspec

from flowtide.model.trigger_records import (
    DeleteBackfill,
    PauseBackfill,
    ResetTrigger,
    RestartTrigger,
    ResumeBackfill,
    SetTriggerDisabled,
    StartBackfill,
    TriggerVerb,
    UnlockTrigger,
)
from flowtide.processors.triggers.dates import begin_backfill, recover
from flowtide.processors.triggers.pieces import Moving
from flowtide.processors.triggers.plans import DatedPlan, PollingPlan, RealtimePlan
from flowtide.processors.triggers.turn import TriggerTurn


def obey(turn: TriggerTurn, command: TriggerVerb) -> str | None:
    """Do what a person asks; gives why it is refused.  Whoever calls gives it its next date afterwards."""
    match command:
        case SetTriggerDisabled():
            return _switch(turn, command.disabled)
        case UnlockTrigger():
            return _unlock(turn)
        case ResetTrigger():
            turn.stop_job()
            turn.change(**msgspec.structs.asdict(Moving(updated=turn.now)))
        case RestartTrigger():
            turn.stop_job()
            turn.change(error=None, failures=0)
            if isinstance(turn.plan, PollingPlan | RealtimePlan):
                turn.change(due=turn.now)
        case StartBackfill():
            if not isinstance(turn.plan, DatedPlan):
                return "only schedules have backfills"
            return begin_backfill(turn, turn.plan, command)
        case PauseBackfill() | ResumeBackfill():
            return _pause(turn, isinstance(command, PauseBackfill))
        case DeleteBackfill():
            if turn.moving.backfill is None:
                return "it has no backfill"
            turn.change(backfill=None)
            if isinstance(turn.plan, DatedPlan) and turn.moving.execution_id is None:
                recover(turn, turn.plan)
    return None


def _switch(turn: TriggerTurn, disabled: bool) -> str | None:
    if turn.moving.switched_off != disabled:
        if disabled and isinstance(turn.plan, RealtimePlan):
            turn.stop_job()
        # What lies behind us when it is switched on is not made up for.
        turn.change(switched_off=disabled, due=None)
    return None


def _unlock(turn: TriggerTurn) -> str | None:
    is_evaluated = isinstance(turn.plan, PollingPlan) and turn.moving.job is not None
    if turn.moving.execution_id is None and not is_evaluated:
        return "it is not locked"
    if is_evaluated:
        turn.stop_job()
    release(turn)
    return None


def release(turn: TriggerTurn) -> None:
    """Forget the execution that was waited for; dates that passed meanwhile were missed."""
    turn.change(execution_id=None)
    if isinstance(turn.plan, DatedPlan):
        recover(turn, turn.plan)


def _pause(turn: TriggerTurn, paused: bool) -> str | None:
    backfill = turn.moving.backfill
    if backfill is None:
        return "it has no backfill"
    if backfill.paused == paused:
        return "the backfill is paused already" if paused else "the backfill is not paused"
    turn.change(backfill=msgspec.structs.replace(backfill, paused=paused))
    if paused and isinstance(turn.plan, DatedPlan) and turn.moving.execution_id is None:
        recover(turn, turn.plan)
    return None
