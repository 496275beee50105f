"""Executions that are over and are being known again, piece by piece, until they are restarted or forgotten.

In come portions of pieces, as whoever reads the index sends them; out goes the execution with its past.  State: their
pieces, under the names that they keep when the execution goes on; what is not asked for is forgotten after a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from flowtide.engine.execution import Execution, restore
from flowtide.model.commands import RestartExecution, RestoreExecution
from flowtide.model.records import UNREADABLE

RESTORED_RETENTION = timedelta(minutes=5)

_CLOSED = b'"closed":true'


def is_arriving(progress: bytes | None) -> bool:
    """Whether pieces of state, with this one as the progress, are of an execution that does not run."""
    return progress is None or _CLOSED in progress


class _Arrival:
    """One execution that is on its way."""

    def __init__(self, pieces: dict[str, bytes], next_event: int | None, due: datetime | None) -> None:
        self.pieces = pieces
        self.next_event = next_event  # None: known to the server that began
        self.due = due  # when it is forgotten; None: as long after the first look as after a portion


class Arrivals:
    """Those of one partition.  `change(name, piece, value)` writes a piece of state; None removes it."""

    def __init__(self, change: Callable[[str, str, bytes | None], None]) -> None:
        self._change = change
        self._arriving: dict[str, _Arrival] = {}
        self._leaving: deque[tuple[datetime, str]] = deque()

    def found(self, name: str, pieces: Mapping[str, bytes]) -> None:
        """Pieces that a predecessor took in."""
        self._arriving[name] = _Arrival(dict(pieces), None, None)

    def take(self, name: str, command: RestoreExecution, now: datetime) -> None:
        """Take in a portion; one of an earlier end than what is here already means nothing."""
        arrival = self._arriving.get(name)
        if arrival is not None and arrival.next_event not in (None, command.next_event):
            assert arrival.next_event is not None
            if command.next_event < arrival.next_event:
                return
            self.forget(name)
            arrival = None
        if arrival is None:
            arrival = self._arriving[name] = _Arrival({}, command.next_event, now)
        arrival.next_event = command.next_event
        arrival.due = now + RESTORED_RETENTION
        self._leaving.append((arrival.due, name))
        for piece, value in command.pieces.items():
            arrival.pieces[piece] = bytes(value)
            self._change(name, piece, bytes(value))

    def get(self, name: str, command: RestartExecution) -> Execution | None:
        """The execution with its past, when all of it came, as the command knows it."""
        arrival = self._arriving.get(name)
        if arrival is None or (command.pieces is not None and command.pieces != len(arrival.pieces)):
            return None
        try:
            execution = restore(arrival.pieces, past=True)
        except (*UNREADABLE, LookupError, TypeError):
            return None
        if command.next_event not in (None, execution.progress.next_event):
            return None
        return execution

    def revived(self, name: str) -> None:
        """The execution runs: its pieces are those of a live one now."""
        del self._arriving[name]

    def forget(self, name: str) -> None:
        """Nobody wants it any more."""
        arrival = self._arriving.pop(name, None)
        for piece in arrival.pieces if arrival is not None else ():
            self._change(name, piece, None)

    def expire(self, now: datetime, most: int) -> int:
        """Forget what nobody asked for; gives how many were looked at."""
        for name, arrival in self._arriving.items():
            if arrival.due is None:
                arrival.due = now + RESTORED_RETENTION
                self._leaving.append((arrival.due, name))
        looked = 0
        while self._leaving and self._leaving[0][0] <= now and looked < most:
            looked += 1
            due, name = self._leaving.popleft()
            current = self._arriving.get(name)
            if current is not None and current.due == due:
                self.forget(name)
        return looked

    def next_due(self) -> datetime | None:
        """When something is forgotten, or looked at for the first time."""
        if any(arrival.due is None for arrival in self._arriving.values()):
            return datetime(1970, 1, 1, tzinfo=UTC)
        if self._leaving:
            return self._leaving[0][0]
        return None


_DATE = msgspec.json.Decoder(datetime)
_MARKER = msgspec.json.Decoder(tuple[datetime, int])


def read_marker(value: bytes) -> tuple[datetime, int | None]:
    """When a marker is forgotten, and the number after the last event of its execution; old ones have none."""
    if value.startswith(b"["):
        return _MARKER.decode(value)
    return _DATE.decode(value), None


def pieces_by_name(
    names: Mapping[str, list[str]], state: Mapping[str, bytes]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The pieces of those executions that do not run, by execution."""
    for name, pieces in names.items():
        if is_arriving(state.get(f"{name}|p")):
            yield name, {piece: state[f"{name}|{piece}"] for piece in pieces}
