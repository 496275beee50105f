"""Commands to the *triggers* processor (key: trigger), and what it tells about a trigger (pages 481, 485)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Label, Value
from flowtide.model.states import State


class DefineTrigger(Value, frozen=True, tag_field="type", tag=True):
    """The flow was saved with this trigger."""

    at: datetime
    flow_revision: int
    trigger: msgspec.Raw  # the trigger as JSON, plugin defaults applied
    disabled: bool = False  # by the trigger's or the flow's own `disabled`
    variables: dict[str, Any] = {}  # the flow's, for the trigger's templates


class RemoveTrigger(Value, frozen=True, tag_field="type", tag=True):
    """The flow was saved without this trigger, or deleted."""

    at: datetime
    flow_revision: int


class ReleaseTrigger(Value, frozen=True, tag_field="type", tag=True):
    """The execution that this trigger started is over (TRG-03); `stopAfter` looks at `state` (TRG-07)."""

    at: datetime
    execution_id: str
    state: State


class Verb(Value, frozen=True, kw_only=True):
    """What people ask of a trigger has these."""

    at: datetime
    by: str | None = None
    request_id: str | None = None  # answered with, when the sender waits


class SetTriggerDisabled(Verb, frozen=True, kw_only=True, tag_field="type", tag=True):
    """A person switches the trigger off or on."""

    disabled: bool


class UnlockTrigger(Verb, frozen=True, tag_field="type", tag=True):
    """A person forgets the execution, or the evaluation, that the trigger waits for (TRG-11)."""


class ResetTrigger(Verb, frozen=True, tag_field="type", tag=True):
    """A person has its state forgotten, as if it had just been saved ("Delete trigger", TRG-10)."""


class RestartTrigger(Verb, frozen=True, tag_field="type", tag=True):
    """A person has a realtime trigger listen anew, a polling one evaluate now."""


class StartBackfill(Verb, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Replay the dates of a schedule from `start` to `end`, both included (BKF-01)."""

    backfill_id: str  # a second backfill of the same dates starts executions of its own
    start: datetime
    end: datetime | None = None  # None: `at`
    inputs: dict[str, Any] = {}  # beside and before those of the trigger
    labels: list[Label] = []  # beside those of the trigger


class PauseBackfill(Verb, frozen=True, tag_field="type", tag=True):
    """Start no more of its dates until resumed; the schedule itself goes on meanwhile."""


class ResumeBackfill(Verb, frozen=True, tag_field="type", tag=True):
    """Go on with a backfill that was paused."""


class DeleteBackfill(Verb, frozen=True, tag_field="type", tag=True):
    """Start none of the dates that are left (BKF-05)."""


class ReportTriggerStarted(Value, frozen=True, tag_field="type", tag=True):
    """A worker evaluates, or listens, from now on."""

    at: datetime
    job_id: str
    worker_id: str


class ReportTriggerEvaluated(Value, frozen=True, tag_field="type", tag=True):
    """A worker evaluated a polling trigger."""

    at: datetime
    job_id: str
    worker_id: str
    fired: bool = False
    variables: dict[str, Any] = {}  # of `{{ trigger }}`
    inputs: dict[str, Any] = {}  # rendered
    error: str | None = None  # why it failed (TRG-08)
    log_file: str | None = None


class ReportTriggerEvent(Value, frozen=True, tag_field="type", tag=True):
    """A realtime trigger received an event whose conditions hold."""

    at: datetime
    job_id: str
    worker_id: str
    event_id: str  # the same for an event that its source delivers again
    variables: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    error: str | None = None  # conditions or inputs could not be evaluated


class ReportListeningEnded(Value, frozen=True, tag_field="type", tag=True):
    """A realtime trigger listens no more although nobody told it to stop."""

    at: datetime
    job_id: str
    worker_id: str
    error: str | None = None


class HandBackTrigger(Value, frozen=True, tag_field="type", tag=True):
    """A worker gives a job up that it did not end, because it stops: another one takes it over (RTT-02)."""

    at: datetime
    job_id: str
    worker_id: str


TriggerVerb = (
    SetTriggerDisabled
    | UnlockTrigger
    | ResetTrigger
    | RestartTrigger
    | StartBackfill
    | PauseBackfill
    | ResumeBackfill
    | DeleteBackfill
)
"""What people ask; each is answered when it has a `request_id`."""

TriggerReport = (
    ReportTriggerStarted
    | ReportTriggerEvaluated
    | ReportTriggerEvent
    | ReportListeningEnded
    | HandBackTrigger
)
"""What workers say."""

TriggerCommand = (
    DefineTrigger
    | RemoveTrigger
    | ReleaseTrigger
    | SetTriggerDisabled
    | UnlockTrigger
    | ResetTrigger
    | RestartTrigger
    | StartBackfill
    | PauseBackfill
    | ResumeBackfill
    | DeleteBackfill
    | ReportTriggerStarted
    | ReportTriggerEvaluated
    | ReportTriggerEvent
    | ReportListeningEnded
    | HandBackTrigger
)
TRIGGER_COMMAND_DECODER: msgspec.json.Decoder[TriggerCommand] = msgspec.json.Decoder(TriggerCommand)


class BackfillState(Value, frozen=True):
    """A backfill as it is (G_models, Backfill)."""

    start: datetime
    end: datetime
    current_date: datetime | None = None  # the date that is started next
    paused: bool = False
    inputs: dict[str, Any] = {}
    labels: list[Label] = []
    previous_next_execution_date: datetime | None = None  # the schedule's own next date


class TriggerState(Value, frozen=True):
    """A trigger as it is, on the topic `trigger_events` after each change; the index keeps the last one."""

    tenant_id: str
    namespace: str
    flow_id: str
    trigger_id: str
    flow_revision: int
    type: str
    updated: datetime
    disabled: bool = False
    date: datetime | None = None  # the last date that was evaluated
    next_execution_date: datetime | None = None  # of the backfill while one runs
    execution_id: str | None = None  # the execution that it waits for
    removed: bool = False
    error: str | None = None  # why it cannot be evaluated
    variables: dict[str, Any] = {}
    backfill: BackfillState | None = None
    stop_after: list[State] = []
    evaluate_running_date: datetime | None = None  # since when a worker was asked to evaluate it, or listens
    worker_id: str | None = None  # which worker does


TRIGGER_STATE_DECODER: msgspec.json.Decoder[TriggerState] = msgspec.json.Decoder(TriggerState)
