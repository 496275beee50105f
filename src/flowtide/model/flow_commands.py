"""Commands to the *flows* processor (key: flow): concurrency slots.  Page 458, catalogue B §13."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Label, Value
from flowtide.model.states import State


class AcquireSlot(Value, frozen=True, tag_field="type", tag=True):
    """An execution wants to run; the answer is an AnswerSlot to that execution."""

    execution_id: str
    at: datetime


class ReleaseSlot(Value, frozen=True, tag_field="type", tag=True):
    """An execution ended, or waits no more."""

    execution_id: str
    at: datetime


class ReviewSlots(Value, frozen=True, tag_field="type", tag=True):
    """The flow was saved: its limit may be another one, and applies at once to those that wait (CON-03)."""

    at: datetime


class NoteExecutionState(Value, frozen=True, tag_field="type", tag=True):
    """An execution reached a state that flow triggers may wait for."""

    execution_id: str
    namespace: str
    flow_id: str
    flow_revision: int
    state: State
    at: datetime
    labels: list[Label] = []
    outputs: dict[str, Any] = {}


FlowCommand = AcquireSlot | ReleaseSlot | ReviewSlots | NoteExecutionState
FLOW_COMMAND_DECODER: msgspec.json.Decoder[FlowCommand] = msgspec.json.Decoder(FlowCommand)
