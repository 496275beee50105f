"""The first step, by execution: batches of `execution_events` in, parts of windows by flow out.

The state is what is known of executions that are not over (and, for a short while, of those that are): only
ExecutionCreated names the flow, and an event whose number was seen already is not counted again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from flowtide.analytics.records import SeenExecution
from flowtide.analytics.tally import WINDOW_MS, Tally, milliseconds
from flowtide.log.keys import FlowKey
from flowtide.model.events import (
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunResubmitted,
    TaskRunRetrying,
)
from flowtide.model.states import State

#: How long an execution that is over is remembered: longer than a partition needs to move to another instance, which
#: reads again what was handled but not committed.
REMEMBERED = timedelta(minutes=1)


class EventRecord(NamedTuple):
    """A record of `execution_events` as it was read."""

    partition: int
    key: bytes
    value: bytes | None


class WindowOfFlow(NamedTuple):
    """Names one window of one flow."""

    flow: FlowKey
    start_ms: int


@dataclass(kw_only=True)
class Batch:
    """What came of a batch: send the parts, then keep the changes."""

    parts: dict[WindowOfFlow, Tally] = field(default_factory=dict)
    changes: dict[bytes, SeenExecution] = field(default_factory=dict)
    read_ms: dict[int, int] = field(default_factory=dict)  # by partition, the latest time of its events
    repeated: int = 0  # events that were counted before
    orphans: int = 0  # events of executions that were created before the first record that was read
    unreadable: int = 0


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """What is counted of any event; reading the whole ones would take three times as long."""

    type: str
    number: int
    at: datetime
    tenant_id: str
    namespace: str = ""
    flow_id: str = ""
    state: State | None = None
    requested: datetime | None = None
    closed: bool = True


_DECODE = msgspec.json.Decoder(_Event).decode
_CREATED = ExecutionCreated.__name__


class EventReader:
    """Counts batches; `executions` is the state as it was kept, read only."""

    def __init__(self, executions: Mapping[bytes, SeenExecution]) -> None:
        self._executions = executions
        self._over: deque[tuple[int, bytes]] = deque()

    def read(self, records: Iterable[EventRecord], *, now_ms: int) -> Batch:
        """Count the records; a partition's must come in their order."""
        batch = Batch()
        changes, parts, read_ms = batch.changes, batch.parts, batch.read_ms
        known = self._executions.get
        for partition, key, value in records:
            if value is None:  # an execution was purged
                continue
            try:
                event = _DECODE(value)
            except msgspec.MsgspecError:  # who wrote it is told by the indexer's dead letters
                batch.unreadable += 1
                continue
            at_ms = milliseconds(event.at)
            if at_ms > read_ms.get(partition, 0):
                read_ms[partition] = at_ms
            kind = event.type
            seen = changes.get(key) or known(key)
            if kind == _CREATED and seen is None:
                begun = event.requested or event.at
                seen = SeenExecution(event.namespace, event.flow_id, milliseconds(begun), -1, False)
            if seen is None:
                batch.orphans += 1
                continue
            if event.number <= seen.number:
                batch.repeated += 1
                continue
            over = kind in _LAST and event.closed
            changes[key] = SeenExecution(
                seen.namespace, seen.flow_id, seen.created_ms, event.number, seen.over or over
            )
            if over:
                self._over.append((now_ms, key))
            count = _COUNTS.get(kind)
            if count is None:
                continue
            window = WindowOfFlow(
                FlowKey(event.tenant_id, seen.namespace, seen.flow_id), at_ms - at_ms % WINDOW_MS
            )
            tally = parts.get(window)
            if tally is None:
                tally = parts[window] = Tally()
            count(tally, event, at_ms - seen.created_ms)
        return batch

    def forgotten(self, *, now_ms: int) -> list[bytes]:
        """The executions that need not be kept any more; named once."""
        latest_ms = now_ms - REMEMBERED // timedelta(milliseconds=1)
        keys = []
        while self._over and self._over[0][0] <= latest_ms:
            keys.append(self._over.popleft()[1])
        return keys

    def restored(self, *, now_ms: int) -> None:
        """The state was restored, by a restart or because partitions moved: note anew which ones are over."""
        self._over = deque((now_ms, key) for key, seen in self._executions.items() if seen.over)


_Count = Callable[[Tally, _Event, int], None]


def _created(tally: Tally, event: _Event, age_ms: int) -> None:
    tally.created += 1


def _started(tally: Tally, event: _Event, age_ms: int) -> None:
    tally.started += 1


def _ended(tally: Tally, event: _Event, age_ms: int) -> None:
    if event.state is not None:
        tally.end(event.state, age_ms)


def _run_created(tally: Tally, event: _Event, age_ms: int) -> None:
    if (
        event.state is not None and event.state.is_terminal
    ):  # SKIPPED, or FAILED at once: nothing else tells its end
        tally.end_task_run(event.state)


def _run_ended(tally: Tally, event: _Event, age_ms: int) -> None:
    if event.state is not None:
        tally.end_task_run(event.state)


def _retrying(tally: Tally, event: _Event, age_ms: int) -> None:
    tally.retries += 1


def _resubmitted(tally: Tally, event: _Event, age_ms: int) -> None:
    tally.resubmissions += 1


#: What each event adds; the others add nothing.
_COUNTS: Mapping[str, _Count] = {
    ExecutionCreated.__name__: _created,
    ExecutionStarted.__name__: _started,
    ExecutionEnded.__name__: _ended,
    TaskRunCreated.__name__: _run_created,
    TaskRunEnded.__name__: _run_ended,
    TaskRunRetrying.__name__: _retrying,
    TaskRunResubmitted.__name__: _resubmitted,
}
_LAST = frozenset({ExecutionEnded.__name__, ExecutionClosed.__name__})
