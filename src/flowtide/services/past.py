"""Executions that are over, read from the index: their events are folded into the state that the executor forgot.

In comes an execution's key, out goes its state with everything that is over, and the commands that make the executor
know it again (RTY-10).  Events are read in portions, and waited for while the index is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from flowtide.engine.apply import fold
from flowtide.engine.execution import Execution, restore, whole_pieces
from flowtide.index.history import ExecutionView
from flowtide.index.port import Index
from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import RestoreExecution
from flowtide.model.events import EVENT_DECODER
from flowtide.model.records import UNREADABLE

_EVENTS_AT_ONCE = 5_000
_PORTION_BYTES = 250_000
"""How much state one command carries; far below the limit of a message."""

_LOOKS_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class PastMissing(ValueError):
    """The index does not have the whole history: it is behind, or the events are no longer kept."""


class Past:
    """An execution as its events tell it."""

    def __init__(self, execution: Execution, view: ExecutionView) -> None:
        """`execution` was folded from its first event on; it is given up by the caller."""
        self.is_closed = execution.is_closed
        self.next_event = execution.progress.next_event
        self.pieces: Mapping[str, bytes] = whole_pieces(execution)
        self.state: Execution = restore(self.pieces, past=True)
        self.document: dict[str, Any] = view.execution or {}
        self.task_runs: Mapping[str, dict[str, Any]] = view.task_runs  # as the API shows them

    def commands(self, at: datetime) -> Iterator[RestoreExecution]:
        """What makes the executor know it again, in portions."""
        portion: dict[str, msgspec.Raw] = {}
        size = 0
        for name, piece in self.pieces.items():
            if portion and size + len(piece) > _PORTION_BYTES:
                yield RestoreExecution(at=at, next_event=self.next_event, pieces=portion)
                portion, size = {}, 0
            portion[name] = msgspec.Raw(piece)
            size += len(piece) + len(name)
        yield RestoreExecution(at=at, next_event=self.next_event, pieces=portion)


async def read_past(
    index: Index,
    key: ExecutionKey,
    *,
    last_event: int,
    closed: bool = True,
    patience: timedelta = timedelta(seconds=10),
) -> Past:
    """Read and fold an execution up to its event `last_event` at least, and with `closed` to its closing event.

    Raises PastMissing when the index does not show that within `patience`, IndexUnavailable.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience.total_seconds()
    execution: Execution | None = None
    view = ExecutionView()
    looks = 0
    while True:
        first = execution.progress.next_event if execution is not None else 0
        found = await index.events(key.tenant, key.execution_id, first, first + _EVENTS_AT_ONCE - 1)
        try:
            for each in found:
                event = EVENT_DECODER.decode(each.body)
                execution = fold(execution, event)
                view.add(event)
        except (*UNREADABLE, KeyError) as error:
            raise PastMissing(
                f"the events of execution {key.execution_id} cannot be read: {error}"
            ) from error
        if len(found) == _EVENTS_AT_ONCE:
            await asyncio.sleep(0)  # others have their turn between two portions
            continue
        is_complete = execution is not None and execution.progress.next_event > last_event
        if execution is not None and is_complete and (execution.is_closed or not closed):
            return Past(execution, view)
        if loop.time() >= deadline:
            raise PastMissing(f"the index does not show the end of execution {key.execution_id} yet")
        await index.refresh()
        await asyncio.sleep(_LOOKS_SECONDS[min(looks, len(_LOOKS_SECONDS) - 1)])
        looks += 1
