"""Schedules and backfills: a date that is due in, an execution and the next date out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from flowtide.log.keys import TriggerKey
from flowtide.model.entries import Level
from flowtide.model.identifiers import derived_identifier
from flowtide.model.trigger_records import StartBackfill
from flowtide.processors.schedule import iso
from flowtide.processors.triggers.pieces import Backfill
from flowtide.processors.triggers.plans import DatedPlan, execution_id_of, reason_of
from flowtide.processors.triggers.turn import TriggerTurn

TAKE_OVER = timedelta(
    seconds=30
)  # a date is not missed when it passed while a partition moved to another server
_TICK = timedelta(microseconds=1)


def fire(turn: TriggerTurn, plan: DatedPlan, watching_since: datetime) -> None:
    """Start an execution for the date that is due: the backfill's while one runs, else the schedule's own."""
    replaying = turn.moving.replaying
    if replaying is not None:
        _fire_backfill(turn, plan, replaying)
        return
    date = turn.moving.due
    if date is not None and date < watching_since - TAKE_OVER:
        date = plan.timetable.recovered(date, watching_since, plan.recover)
    if date is not None:
        date = plan.timetable.in_time(date, turn.now, plan.trigger.maximum_delay)
    if date is None or date > turn.now:
        turn.change(due=date)
        return
    turn.change(due=plan.timetable.due_after(date))
    _start(turn, plan, date, execution_id_of(turn.key, date), None)


def _fire_backfill(turn: TriggerTurn, plan: DatedPlan, backfill: Backfill) -> None:
    date = backfill.current
    following = plan.timetable.due_after(date)
    if following is None or following > backfill.end:
        # Its last date: the schedule goes on where it stood.
        turn.change(backfill=None)
        recover(turn, plan)
    else:
        turn.change(backfill=msgspec.structs.replace(backfill, current=following))
    _start(turn, plan, date, backfill_execution_id(turn.key, backfill.id, date), backfill)


def _start(
    turn: TriggerTurn, plan: DatedPlan, date: datetime, execution_id: str, backfill: Backfill | None
) -> None:
    labels = () if backfill is None else backfill.labels
    try:
        if not plan.timetable.holds_at(date):
            return
        variables = plan.timetable.variables(date)
        inputs = plan.inputs(variables)
        if backfill is not None:
            inputs = {**inputs, **backfill.inputs}
        turn.start(execution_id, variables=variables, inputs=inputs, labels=labels, date=date, kept=variables)
    except Exception as error:
        # Conditions and templates are other people's; a timer that raises would stop every trigger here.
        reason = reason_of(error)
        turn.log(Level.ERROR, reason)
        if plan.trigger.fail_on_trigger_error:  # TRG-08
            variables = {"date": iso(date, plan.timetable.zone)}
            turn.start(
                execution_id, variables=variables, labels=labels, date=date, error=reason, kept=variables
            )
        turn.change(error=reason)
    turn.change(date=date)


def recover(turn: TriggerTurn, plan: DatedPlan) -> None:
    """Dates that passed while it waited for something were missed (SCH-06, SCH-07)."""
    if turn.moving.due is not None:
        turn.change(due=plan.timetable.recovered(turn.moving.due, turn.now, plan.recover))


def begin_backfill(turn: TriggerTurn, plan: DatedPlan, command: StartBackfill) -> str | None:
    """Take a backfill in (BKF-01); gives why it is refused."""
    if turn.moving.backfill is not None:
        return "it has a backfill already: delete that one first, or wait for its end"
    # Dates that are still to come are the schedule's own.
    end = turn.now if command.end is None else min(command.end, turn.now)
    start = command.start.astimezone(UTC)
    first = plan.timetable.due_after(start - _TICK)
    if first is None or first > end:
        return f"the schedule has no date from {start.isoformat()} to {end.isoformat()}"
    backfill = Backfill(
        id=command.backfill_id,
        start=start,
        end=end,
        current=first,
        inputs=command.inputs,
        labels=command.labels,
        previous_due=turn.moving.due,
    )
    turn.change(backfill=backfill)
    return None


def adapt_backfill(turn: TriggerTurn, plan: DatedPlan) -> None:
    """The schedule has other dates from now on: so has the rest of its backfill."""
    backfill = turn.moving.backfill
    if backfill is None:
        return
    following = plan.timetable.due_after(backfill.current - _TICK)
    if following is None or following > backfill.end:
        turn.change(backfill=None)
    else:
        turn.change(backfill=msgspec.structs.replace(backfill, current=following))


def backfill_execution_id(key: TriggerKey, backfill_id: str, date: datetime) -> str:
    """The id of the execution of a backfill's date; another one than that of the schedule's own execution."""
    return derived_identifier("backfill", *key, backfill_id, date.astimezone(UTC).isoformat())
