"""The *flows* processor (key: flow): concurrency slots, and Flow triggers.

In come commands to flows: requests for slots, and states that executions upstream reached.  Out go answers to
executions, executions to be created and lines of triggers' logs.  State: pieces named `{flow}/{kind}/{identifier}`, of
`flowtide.processors.slots` and `flowtide.processors.flow_triggers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowtide.log.keys import FlowKey, flow_key
from flowtide.log.port import Message, Record, StateChange
from flowtide.model.flow_commands import FLOW_COMMAND_DECODER, NoteExecutionState, ReviewSlots
from flowtide.model.inputs import Render
from flowtide.model.records import UNREADABLE
from flowtide.processors.flow_triggers import MET, OFF, USED, Flows, FlowTriggers
from flowtide.processors.runtime import BadRecord, NotYet, Partition, pass_over
from flowtide.processors.slots import HOLDS, WAITS, FlowLimit, Slots

GROUP = "flows"
COMMANDS = "flow_commands"
STATE = "flow_state"

Lookup = Callable[[FlowKey], FlowLimit | None]


class FlowsPartition(Partition):
    """The slots and the Flow triggers of the flows of one partition.

    `lookup` gives the limit of a flow's latest revision, whatever revision an execution has (CON-03), and `flows` the
    revision itself (None: Flow triggers do not fire here).  `render` and `render_inputs` are those of `FlowTriggers`.
    `on_popped` is told of each execution that leaves the queue for a slot.
    """

    def __init__(
        self,
        number: int,
        state: Mapping[str, bytes],
        *,
        lookup: Lookup,
        flows: Flows | None = None,
        render: Render | None = None,
        render_inputs: Render | None = None,
        on_popped: Callable[[FlowKey], None] | None = None,
    ) -> None:
        self._number = number
        self._lookup = lookup
        self._flows = flows
        self._messages: list[Message] = []
        self._changes: dict[str, bytes | None] = {}
        self._slots = Slots(self._messages, self._changes, on_popped)
        plain = render or _as_it_is
        self._triggers = FlowTriggers(
            self._messages, self._changes, render=plain, render_inputs=render_inputs or plain
        )
        for piece, value in state.items():
            try:
                flow, kind, identifier = piece.rsplit("/", 2)
                flow_key(flow)
                if kind in (HOLDS, WAITS):
                    self._slots.restore(flow, kind, identifier, value)
                elif kind in (MET, USED, OFF):
                    self._triggers.restore(flow, kind, identifier, value)
                else:
                    raise ValueError(f"there is no piece of state called {kind!r}")
            except UNREADABLE as error:
                pass_over(STATE, piece, error)
        self._slots.restored()

    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        """Carry out one command.  Raises BadRecord for what is none, NotYet for a flow that nobody knows."""
        try:
            key = flow_key(record.key)
            command = FLOW_COMMAND_DECODER.decode(record.value or b"")
        except UNREADABLE as error:
            raise BadRecord(f"not a command to a flow: {error}") from error
        if isinstance(command, NoteExecutionState):
            self._note(key, command, now, certain=certain)
            return
        limit = self._lookup(key)
        if not certain and (
            limit is None or (isinstance(command, ReviewSlots) and limit.updated < command.at)
        ):
            raise NotYet(f"flow {key} as it was saved at {command.at} is not known here")
        self._slots.handle(key, command, limit or FlowLimit(updated=command.at), now)
        listening = None if self._flows is None else self._flows(key)
        if isinstance(command, ReviewSlots) and listening is not None:
            self._triggers.review(str(key), listening)

    def _note(self, key: FlowKey, note: NoteExecutionState, now: datetime, *, certain: bool) -> None:
        if self._flows is None:
            return
        listening = self._flows(key)
        if not certain and (listening is None or listening.revision < note.listener_revision):
            raise NotYet(f"revision {note.listener_revision} of flow {key} is not known here")
        if listening is not None:
            self._triggers.handle(key, listening, note, now)

    def fire(self, now: datetime, maximum: int) -> None:
        """Forget windows of preconditions that are over."""
        self._triggers.fire(now, maximum)

    def next_due(self) -> datetime | None:
        """When the next window is over."""
        return self._triggers.next_due()

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """See `Partition.flush`."""
        messages = list(self._messages)
        changes = [
            StateChange(partition=self._number, key=key, value=value) for key, value in self._changes.items()
        ]
        self._messages.clear()
        self._changes.clear()
        return messages, changes


def _as_it_is(value: Any, variables: Mapping[str, Any]) -> Any:
    return value
