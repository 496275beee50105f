"""Concurrency slots of flows: who may run at once, and who waits (page 458, catalogue B §13).

In come requests for slots and their return; out go answers to executions.  State: one small piece per execution that
holds a slot or waits for one, so a change costs the same however long the queue is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

import msgspec

from flowtide.log.keys import ExecutionKey, FlowKey
from flowtide.log.port import Message
from flowtide.model.commands import AnswerSlot, ConfirmSlot
from flowtide.model.flow_commands import AcquireSlot, ReleaseSlot, ResetSlots, ReviewSlots, TakeSlot
from flowtide.model.records import Value, encode
from flowtide.model.states import State

HOLDS = "holds"
WAITS = "waits"


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


_REFUSALS = {OverLimit.CANCEL: State.CANCELLED, OverLimit.FAIL: State.FAILED}


class _Flow:
    """One flow's slots: who holds one, and who waits, first come first served."""

    __slots__ = ("holders", "next_place", "waiters")

    def __init__(self) -> None:
        self.holders: dict[str, None] = {}  # in the order in which they came, as far as this process saw it
        self.waiters: dict[str, int] = {}  # execution -> its place, ascending
        self.next_place = 0


class Slots:
    """The slots of the flows of one partition.

    Messages and changed pieces are added to `messages` and `changes`, which the partition owns.  A command that comes
    twice is answered as the first time: who holds a slot keeps it, who waits keeps the place.  `on_popped` is told of
    each execution that leaves the queue for a slot.
    """

    def __init__(
        self,
        messages: list[Message],
        changes: dict[str, bytes | None],
        on_popped: Callable[[FlowKey], None] | None = None,
    ) -> None:
        self._messages = messages
        self._changes = changes
        self._on_popped = on_popped
        self._flows: dict[str, _Flow] = {}
        self._restored: dict[str, list[tuple[int, str]]] = {}

    def restore(self, flow: str, kind: str, execution: str, value: bytes) -> None:
        """Take in a piece of state; `restored` follows the last one.  Raises one of UNREADABLE."""
        if kind == HOLDS:
            self._flow(flow).holders[execution] = None
        else:
            place = msgspec.json.decode(value, type=int)
            self._restored.setdefault(flow, []).append((place, execution))

    def restored(self) -> None:
        """All pieces are there: put those that wait in order."""
        for flow, places in self._restored.items():
            slots = self._flow(flow)
            slots.waiters = {execution: place for place, execution in sorted(places)}
            slots.next_place = max(slots.waiters.values()) + 1
        self._restored.clear()

    def handle(
        self,
        key: FlowKey,
        command: AcquireSlot | ReleaseSlot | TakeSlot | ResetSlots | ReviewSlots,
        limit: FlowLimit,
        now: datetime,
    ) -> None:
        """Carry out one command."""
        text = str(key)
        slots = self._flow(text)
        match command:
            case AcquireSlot():
                self._acquire(key, slots, limit, command.execution_id, now)
            case ReleaseSlot():
                self._release(text, slots, command.execution_id)
            case TakeSlot():
                self._take(text, slots, command.execution_id)
            case ResetSlots():
                self._reset(key, slots, command, now)
        self._admit(key, slots, limit, now)
        if not slots.holders and not slots.waiters:
            del self._flows[text]

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
            self._changes[f"{key}/{WAITS}/{execution_id}"] = b"%d" % place
            self._answer(key, execution_id, State.QUEUED, now)
        else:
            self._answer(key, execution_id, _REFUSALS[limit.behavior], now)

    def _release(self, key: str, slots: _Flow, execution_id: str) -> None:
        if execution_id in slots.holders:
            del slots.holders[execution_id]
            self._changes[f"{key}/{HOLDS}/{execution_id}"] = None
        elif execution_id in slots.waiters:
            del slots.waiters[execution_id]
            self._changes[f"{key}/{WAITS}/{execution_id}"] = None

    def _take(self, key: str, slots: _Flow, execution_id: str) -> None:
        """Hold a slot beyond the limit; nobody asked, so nobody is answered."""
        self._release(key, slots, execution_id)
        slots.holders[execution_id] = None
        self._changes[f"{key}/{HOLDS}/{execution_id}"] = b"1"

    def _reset(self, key: FlowKey, slots: _Flow, command: ResetSlots, now: datetime) -> None:
        """Lower the number of those that hold a slot, and ask all others whether they are still there."""
        if command.running is not None:
            for execution_id in list(slots.holders)[: max(len(slots.holders) - command.running, 0)]:
                self._release(str(key), slots, execution_id)
        for execution_id in list(slots.waiters) if command.release else ():
            self._leave_queue(key, slots, execution_id, now)
        confirm = encode(ConfirmSlot(at=now, namespace=key.namespace, flow_id=key.flow_id))
        for execution_id in (*slots.holders, *slots.waiters):
            execution = ExecutionKey(key.tenant, execution_id)
            self._messages.append(Message(topic="execution_commands", key=str(execution), value=confirm))

    def _admit(self, key: FlowKey, slots: _Flow, limit: FlowLimit, now: datetime) -> None:
        """Give free slots to those who wait, in the order in which they came."""
        while slots.waiters and _is_free(slots, limit):
            self._leave_queue(key, slots, next(iter(slots.waiters)), now)

    def _leave_queue(self, key: FlowKey, slots: _Flow, execution_id: str, now: datetime) -> None:
        del slots.waiters[execution_id]
        self._changes[f"{key}/{WAITS}/{execution_id}"] = None
        self._hold(key, slots, execution_id, now)
        if self._on_popped is not None:
            self._on_popped(key)

    def _hold(self, key: FlowKey, slots: _Flow, execution_id: str, now: datetime) -> None:
        slots.holders[execution_id] = None
        self._changes[f"{key}/{HOLDS}/{execution_id}"] = b"1"
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
