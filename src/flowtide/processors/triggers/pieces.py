"""The pieces of a trigger's state: its definition, what moves, and the events that a realtime trigger received last."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Label, Value

DEFINITION = "#definition"  # the end of the key of a definition's piece; no id contains `#`
EVENT = "#event/"  # before the number of a slot for an event
REMEMBERED_EVENTS = (
    1_000  # of one realtime trigger; an event that comes again after so many others runs again
)


class Definition(Value, frozen=True):
    """The piece that changes when the flow is saved."""

    flow_revision: int
    type: str
    trigger: msgspec.Raw
    disabled: bool
    variables: dict[str, Any] = {}  # of the flow


class Backfill(Value, frozen=True):
    """A replay of a schedule's dates."""

    id: str
    start: datetime
    end: datetime
    current: datetime  # the date that is started next
    paused: bool = False
    inputs: dict[str, Any] = {}
    labels: list[Label] = []
    previous_due: datetime | None = None  # the schedule's own next date when it began


class Job(Value, frozen=True):
    """An evaluation, or a listening, that was handed to workers."""

    id: str
    at: datetime  # when it was first handed out
    worker_id: str | None = None  # who said that it runs it


class Moving(Value, frozen=True):
    """The piece that changes when the trigger fires, is locked, released or switched."""

    updated: datetime
    due: datetime | None = None  # the next date; of realtime triggers: when to listen again
    date: datetime | None = None  # the last date that fired
    execution_id: str | None = None  # the execution that it waits for
    switched_off: bool = False  # by a person or by `stopAfter`
    error: str | None = None
    variables: dict[str, Any] = msgspec.field(default_factory=dict)
    backfill: Backfill | None = None
    job: Job | None = None
    failures: int = 0  # how often listening failed in a row

    @property
    def replaying(self) -> Backfill | None:
        """The backfill, unless it is paused."""
        return None if self.backfill is None or self.backfill.paused else self.backfill

    @property
    def timer(self) -> datetime | None:
        """When to look at it next; None while it waits for something else than time."""
        if self.switched_off or self.execution_id is not None or self.job is not None:
            return None
        replaying = self.replaying
        return self.due if replaying is None else replaying.current


class Event(Value, frozen=True):
    """One slot of the ring of events that were received last."""

    number: int  # counts up; the slot is its remainder
    id: str


DEFINITION_DECODER = msgspec.json.Decoder(Definition)
MOVING_DECODER = msgspec.json.Decoder(Moving)
EVENT_DECODER = msgspec.json.Decoder(Event)


class RecentEvents:
    """The events of one trigger that were received last; each costs one piece of state."""

    def __init__(self) -> None:
        self._slots: dict[int, Event] = {}
        self._ids: set[str] = set()
        self._next = 0

    def restore(self, event: Event) -> None:
        """Take in a piece of state."""
        self._slots[event.number % REMEMBERED_EVENTS] = event
        self._ids.add(event.id)
        self._next = max(self._next, event.number + 1)

    def is_new(self, event_id: str) -> bool:
        """Whether the event was not received lately."""
        return event_id not in self._ids

    def note(self, event_id: str) -> tuple[int, Event]:
        """Remember an event; gives the slot that changed and what is in it now."""
        event = Event(number=self._next, id=event_id)
        slot = event.number % REMEMBERED_EVENTS
        forgotten = self._slots.get(slot)
        if forgotten is not None:
            self._ids.discard(forgotten.id)
        self.restore(event)
        return slot, event

    @property
    def slots(self) -> list[int]:
        """The slots that are in use."""
        return list(self._slots)
