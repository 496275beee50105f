"""Polling and realtime triggers: evaluations and listenings are handed to workers, and their reports become executions.

A job is handed out with the date that is due, taken back by a report, and handed out again when its worker dies.  It
has one id all the while, from which that of its execution follows: whatever is reported twice counts once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec

from flowtide.errors import ScheduleInvalid
from flowtide.log.port import Message
from flowtide.model.entries import Level
from flowtide.model.identifiers import derived_identifier
from flowtide.model.jobs import EvaluateTrigger, FlowRef, ListenTrigger
from flowtide.model.records import encode
from flowtide.model.trigger_records import (
    ReportListeningEnded,
    ReportTriggerEvaluated,
    ReportTriggerEvent,
)
from flowtide.processors.job_topics import jobs_topic
from flowtide.processors.triggers.pieces import Job, RecentEvents
from flowtide.processors.triggers.plans import PollingPlan, RealtimePlan
from flowtide.processors.triggers.turn import TriggerTurn

BACK_OFF = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 30, 60))
"""How long a realtime trigger waits after failures in a row until it listens again."""


def hand_out(turn: TriggerTurn, plan: PollingPlan | RealtimePlan) -> None:
    """Have a worker evaluate, or listen, from now on."""
    kind = "poll" if isinstance(plan, PollingPlan) else "listen"
    job_id = derived_identifier(kind, *turn.key, turn.now.astimezone(UTC).isoformat())
    due = turn.now + plan.trigger.interval if isinstance(plan, PollingPlan) else None
    turn.change(job=Job(id=job_id, at=turn.now), due=due)
    _send(turn, plan)


def hand_out_again(turn: TriggerTurn, plan: PollingPlan | RealtimePlan) -> None:
    """Its worker is gone: another one is to do the same."""
    assert turn.moving.job is not None
    turn.change(job=msgspec.structs.replace(turn.moving.job, worker_id=None))
    _send(turn, plan)


def _send(turn: TriggerTurn, plan: PollingPlan | RealtimePlan) -> None:
    key, definition, handed = turn.key, turn.definition, turn.moving.job
    assert handed is not None
    variables: dict[str, Any] = {"vars": definition.variables, "trigger": {"date": _shown(handed.at)}}
    job = (EvaluateTrigger if isinstance(plan, PollingPlan) else ListenTrigger)(
        tenant_id=key.tenant,
        flow=FlowRef(namespace=key.namespace, id=key.flow_id, revision=definition.flow_revision),
        trigger_id=key.trigger_id,
        job_id=handed.id,
        trigger=definition.trigger,
        variables=msgspec.Raw(encode(variables)),
        at=turn.now,
    )
    group = turn.default_group if plan.trigger.worker_group is None else plan.trigger.worker_group.key
    partition = None
    if group is None and turn.job_partitions is not None:
        partition = crc32(handed.id.encode()) % turn.job_partitions
    topic = jobs_topic(group)
    turn.messages.append(Message(topic=topic, key=str(key), value=encode(job), partition=partition))


def take_evaluation(turn: TriggerTurn, plan: PollingPlan, report: ReportTriggerEvaluated) -> None:
    """An evaluation is over: start its execution when it fired; the next one follows at its date."""
    started = turn.moving.job
    assert started is not None
    turn.change(job=None, date=started.at, error=None)
    error = report.error
    if error is None and not report.fired:
        return
    if error is None:
        try:
            turn.start(
                report.job_id,
                variables=report.variables,
                inputs=report.inputs,
                log_file=report.log_file,
            )
            return
        except ScheduleInvalid as refusal:
            error = refusal.message
            turn.log(Level.ERROR, error)
    _fail(turn, plan, report.job_id, error, log_file=report.log_file)


def take_event(
    turn: TriggerTurn, plan: RealtimePlan, report: ReportTriggerEvent, recent: RecentEvents
) -> tuple[int, bytes] | None:
    """Start the execution of an event, unless it was received before; gives the slot that remembers it now."""
    if not recent.is_new(report.event_id):
        return None
    turn.change(date=turn.now, failures=0, error=None)
    error = report.error
    execution_id = event_execution_id(turn, report.event_id)
    if error is None:
        try:
            turn.start(execution_id, variables=report.variables, inputs=report.inputs)
        except ScheduleInvalid as refusal:
            error = refusal.message
            turn.log(Level.ERROR, error)
    if error is not None:
        _fail(turn, plan, execution_id, error)
    slot, event = recent.note(report.event_id)
    return slot, encode(event)


def take_end(turn: TriggerTurn, plan: RealtimePlan, report: ReportListeningEnded) -> None:
    """Listening ended by itself: begin again after a while, which grows with each failure in a row."""
    failures = turn.moving.failures
    turn.change(
        job=None,
        due=turn.now + BACK_OFF[min(failures, len(BACK_OFF) - 1)],
        failures=failures + 1,
        error=report.error,
    )
    if report.error is not None:
        _fail(turn, plan, report.job_id, report.error)


def event_execution_id(turn: TriggerTurn, event_id: str) -> str:
    """The id of the execution of an event: the same whenever and wherever the event is received."""
    return derived_identifier("event", *turn.key, event_id)


def _fail(
    turn: TriggerTurn,
    plan: PollingPlan | RealtimePlan,
    execution_id: str,
    error: str,
    *,
    log_file: str | None = None,
) -> None:
    """No execution, only lines in the trigger's log, unless `failOnTriggerError` asks for a FAILED one (TRG-08)."""
    if plan.trigger.fail_on_trigger_error:
        variables = {"date": _shown(turn.now)}
        turn.start(execution_id, variables=variables, error=error, log_file=log_file)
    turn.change(error=error)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
