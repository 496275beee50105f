"""Commands to the *triggers* processor (key: trigger), and what it tells about a trigger (pages 481, 485)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Value
from flowtide.model.states import State


class DefineTrigger(Value, frozen=True, tag_field="type", tag=True):
    """The flow was saved with this trigger."""

    at: datetime
    flow_revision: int
    trigger: msgspec.Raw  # the trigger as JSON, plugin defaults applied
    disabled: bool = False  # by the trigger's or the flow's own `disabled`


class RemoveTrigger(Value, frozen=True, tag_field="type", tag=True):
    """The flow was saved without this trigger, or deleted."""

    at: datetime
    flow_revision: int


class ReleaseTrigger(Value, frozen=True, tag_field="type", tag=True):
    """The execution that this trigger started is over (TRG-03); `stopAfter` looks at `state` (TRG-07)."""

    at: datetime
    execution_id: str
    state: State


class SetTriggerDisabled(Value, frozen=True, tag_field="type", tag=True):
    """A person switches the trigger off or on."""

    at: datetime
    disabled: bool
    by: str | None = None


class UnlockTrigger(Value, frozen=True, tag_field="type", tag=True):
    """A person forgets the execution that the trigger waits for (TRG-11)."""

    at: datetime
    by: str | None = None


TriggerCommand = DefineTrigger | RemoveTrigger | ReleaseTrigger | SetTriggerDisabled | UnlockTrigger
TRIGGER_COMMAND_DECODER: msgspec.json.Decoder[TriggerCommand] = msgspec.json.Decoder(TriggerCommand)


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
    next_execution_date: datetime | None = None
    execution_id: str | None = None  # the execution that it waits for
    removed: bool = False
    error: str | None = None  # why it cannot be evaluated
    variables: dict[str, Any] = {}


TRIGGER_STATE_DECODER: msgspec.json.Decoder[TriggerState] = msgspec.json.Decoder(TriggerState)
