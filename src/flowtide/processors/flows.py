"""The *flows* processor (key: flow): who may run at once, and who waits (page 458, catalogue B §13).

In come requests for slots and their return; out go answers to executions.  State: one small piece per
execution that holds a slot or waits for one, so a change costs the same however long the queue is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from flowtide.log.keys import ExecutionKey, FlowKey, flow_key
from flowtide.log.port import Message, Record, StateChange
from flowtide.model.commands import AnswerSlot
from flowtide.model.flow_commands import (
    FLOW_COMMAND_DECODER,
    AcquireSlot,
    NoteExecutionState,
    ReleaseSlot,
    ReviewSlots,
)
from flowtide.model.records import UNREADABLE, Value, encode
from flowtide.model.states import State
from flowtide.processors.runtime import BadRecord, NotYet, Partition, pass_over

GROUP = "flows"
COMMANDS = "flow_commands"
STATE = "flow_state"

_HOLDS = "holds"
_WAITS = "waits"


class OverLimit(StrEnum):
    """What happens to an execution for which there is no slot (CON-02)."""

    QUEUE = "QUEUE"
    CANCEL = "CANCEL"
    FAIL = "FAIL"


class FlowLimit(Value, frozen=True):
    """The concurrency of the latest revision of a flow, as the catalog of saved things knows it."""

    updated: datetime  # when that revision was saved, or the flow deleted
    limit: int | None = None  # executions at once; None: without limit
    behavior: OverLimit = OverLimit.QUEUE


Lookup = Callable[[FlowKey], FlowLimit | None]

_REFUSALS = {OverLimit.CANCEL: State.CANCELLED, OverLimit.FAIL: State.FAILED}


class _Flow:
    """One flow's slots: who holds one, and who waits, first come first served."""

    __slots__ = ("holders", "next_place", "waiters")

    def __init__(self) -> None:
        self.holders: set[str] = set()
        self.waiters: dict[str, int] = {}  # execution -> its place, ascending
        self.next_place = 0


class FlowsPartition(Partition):
    """The slots of the flows of one partition.

    `lookup` gives the limit of a flow's latest revision, whatever revision an execution has (CON-03).  A
    command that comes twice is answered as the first time: who holds a slot keeps it, who waits keeps the
    place.  `on_popped` is told of each execution that leaves the queue for a slot.
    """

    def __init__(
        self,
        number: int,
        state: Mapping[str, bytes],
        *,
        lookup: Lookup,
        on_popped: Callable[[FlowKey], None] | None = None,
    ) -> None:
        self._number = number
        self._lookup = lookup
        self._on_popped = on_popped
        self._flows: dict[str, _Flow] = {}
        self._messages: list[Message] = []
        self._changes: dict[str, bytes | None] = {}
        waiting: dict[str, list[tuple[int, str]]] = {}
        for piece, value in state.items():
            try:
                flow, kind, execution = _read_piece(piece)
                place = None if kind == _HOLDS else msgspec.json.decode(value, type=int)
            except UNREADABLE as error:
                pass_over(STATE, piece, error)
                continue
            if place is None:
                self._flow(flow).holders.add(execution)
            else:
                waiting.setdefault(flow, []).append((place, execution))
        for flow, places in waiting.items():
            slots = self._flow(flow)
            slots.waiters = {execution: place for place, execution in sorted(places)}
            slots.next_place = max(slots.waiters.values()) + 1

    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        """Carry out one command.  Raises BadRecord for what is none, NotYet for a flow that nobody knows.

        The states of executions are for flow triggers; without one that listens they change nothing here.
        """
        try:
            key = flow_key(record.key)
            command = FLOW_COMMAND_DECODER.decode(record.value or b"")
        except UNREADABLE as error:
            raise BadRecord(f"not a command to a flow: {error}") from error
        if isinstance(command, NoteExecutionState):
            return
        limit = self._lookup(key)
        if not certain and (
            limit is None or (isinstance(command, ReviewSlots) and limit.updated < command.at)
        ):
            raise NotYet(f"flow {key} as it was saved at {command.at} is not known here")
        limit = limit or FlowLimit(updated=command.at)
        slots = self._flow(record.key)
        match command:
            case AcquireSlot():
                self._acquire(key, slots, limit, command.execution_id, now)
            case ReleaseSlot():
                self._release(record, slots, command.execution_id)
        self._admit(key, slots, limit, now)
        if not slots.holders and not slots.waiters:
            del self._flows[record.key]

    def fire(self, now: datetime, maximum: int) -> None:
        """There are no timers."""

    def next_due(self) -> datetime | None:
        """There are no timers."""
        return None

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """See `Partition.flush`."""
        messages, self._messages = self._messages, []
        changes, self._changes = self._changes, {}
        return messages, [
            StateChange(partition=self._number, key=key, value=value) for key, value in changes.items()
        ]

    def _flow(self, key: str) -> _Flow:
        slots = self._flows.get(key)
        if slots is None:
            slots = self._flows[key] = _Flow()
        return slots

    def _acquire(
        self, key: FlowKey, slots: _Flow, limit: FlowLimit, execution_id: str, now: datetime
    ) -> None:
        if execution_id in slots.holders:
            self._answer(key, execution_id, State.RUNNING, now)
        elif execution_id in slots.waiters:
            self._answer(key, execution_id, State.QUEUED, now)
        elif _is_free(slots, limit) and not slots.waiters:
            self._hold(key, slots, execution_id, now)
        elif limit.behavior is OverLimit.QUEUE or _is_free(slots, limit):
            # Who comes while others wait stands behind them, even when a slot has just become free.
            place = slots.next_place
            slots.waiters[execution_id] = place
            slots.next_place += 1
            self._changes[f"{key}/{_WAITS}/{execution_id}"] = b"%d" % place
            self._answer(key, execution_id, State.QUEUED, now)
        else:
            self._answer(key, execution_id, _REFUSALS[limit.behavior], now)

    def _release(self, record: Record, slots: _Flow, execution_id: str) -> None:
        if execution_id in slots.holders:
            slots.holders.remove(execution_id)
            self._changes[f"{record.key}/{_HOLDS}/{execution_id}"] = None
        elif execution_id in slots.waiters:
            del slots.waiters[execution_id]
            self._changes[f"{record.key}/{_WAITS}/{execution_id}"] = None

    def _admit(self, key: FlowKey, slots: _Flow, limit: FlowLimit, now: datetime) -> None:
        """Give free slots to those who wait, in the order in which they came."""
        while slots.waiters and _is_free(slots, limit):
            execution_id = next(iter(slots.waiters))
            del slots.waiters[execution_id]
            self._changes[f"{key}/{_WAITS}/{execution_id}"] = None
            self._hold(key, slots, execution_id, now)
            if self._on_popped is not None:
                self._on_popped(key)

    def _hold(self, key: FlowKey, slots: _Flow, execution_id: str, now: datetime) -> None:
        slots.holders.add(execution_id)
        self._changes[f"{key}/{_HOLDS}/{execution_id}"] = b"1"
        self._answer(key, execution_id, State.RUNNING, now)

    def _answer(self, key: FlowKey, execution_id: str, state: State, now: datetime) -> None:
        execution = ExecutionKey(key.tenant, execution_id)
        self._messages.append(
            Message(
                topic="execution_commands", key=str(execution), value=encode(AnswerSlot(at=now, state=state))
            )
        )


def _is_free(slots: _Flow, limit: FlowLimit) -> bool:
    return limit.limit is None or len(slots.holders) < limit.limit


def _read_piece(key: str) -> tuple[str, str, str]:
    """A piece's key is that of its flow, what it is, and the execution."""
    flow, kind, execution = key.rsplit("/", 2)
    flow_key(flow)
    return flow, kind, execution
