"""Commands to the *flows* processor (key: flow): slots (page 458, catalogue B §13), Flow triggers (page 482)."""

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


class TakeSlot(Value, frozen=True, tag_field="type", tag=True):
    """An execution runs without asking, beyond the limit if need be: it holds a slot from now on."""

    execution_id: str
    at: datetime


class ResetSlots(Value, frozen=True, tag_field="type", tag=True):
    """See who holds slots, or waits for one, and is no longer there (CON-05).

    With `running` the executions that came first give up their slots until as many are left; they run on.  With
    `release` everybody who waits runs, beyond the limit if need be.
    """

    at: datetime
    running: int | None = None
    release: bool = False


class ReviewSlots(Value, frozen=True, tag_field="type", tag=True):
    """The flow was saved: its limit may be another one, and applies at once to those that wait (CON-03)."""

    at: datetime


class NoteExecutionState(Value, frozen=True, tag_field="type", tag=True):
    """An execution reached a state that the flow's triggers may wait for, or that ends one of them (`stopAfter`)."""

    execution_id: str
    namespace: str
    flow_id: str
    flow_revision: int
    state: State
    at: datetime
    labels: list[Label] = []
    outputs: dict[str, Any] = {}  # of the flow
    outputs_bytes: int = 0  # set: the outputs are too large to travel, and left out
    number: int = 0  # of the event with which it reached the state
    retry_states: list[State] = []  # of attempts of task runs that were retried
    trigger_id: str | None = None  # of the Flow trigger of its flow that started it
    chain: int = 0  # Flow triggers that led to it, one after the other
    listener_revision: int = 0  # the flow that is told listens since this revision, or an earlier one


FlowCommand = AcquireSlot | ReleaseSlot | TakeSlot | ResetSlots | ReviewSlots | NoteExecutionState
FLOW_COMMAND_DECODER: msgspec.json.Decoder[FlowCommand] = msgspec.json.Decoder(FlowCommand)
