"""Events of executions become counts of flows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest

from flowtide.analytics.reading import Batch, EventReader, EventRecord, WindowOfFlow
from flowtide.analytics.records import SeenExecution
from flowtide.analytics.tally import Tally, milliseconds
from flowtide.log.keys import FlowKey
from flowtide.model.events import (
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunResubmitted,
    TaskRunRetrying,
)
from flowtide.model.records import Cause, encode
from flowtide.model.states import State

MINUTE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
MINUTE_MS = milliseconds(MINUTE)
FLOW = FlowKey("main", "company.team", "hello")


def at(seconds: float) -> dict[str, Any]:
    """What all events have."""
    return {
        "tenant_id": "main",
        "execution_id": "e",
        "at": MINUTE + timedelta(seconds=seconds),
        "cause": Cause(command="CreateExecution"),
    }


def created(**more: Any) -> ExecutionCreated:
    return ExecutionCreated(
        number=0, namespace="company.team", flow_id="hello", flow_revision=1, **{**at(1), **more}
    )


def records(*events: ExecutionEvent) -> list[EventRecord]:
    return [EventRecord(2, f"{each.tenant_id}/{each.execution_id}".encode(), encode(each)) for each in events]


class Kept:
    """A reader whose changes are kept, as the app does it."""

    def __init__(self) -> None:
        self.state: dict[bytes, SeenExecution] = {}
        self.reader = EventReader(self.state)

    def read(self, *events: ExecutionEvent, now_ms: int = MINUTE_MS) -> Batch:
        batch = self.reader.read(records(*events), now_ms=now_ms)
        self.state.update(batch.changes)
        return batch


def test_an_execution_is_counted_in_the_minutes_of_its_events() -> None:
    """Only its creation names the flow; what follows, in other batches and minutes, is counted for it too."""
    kept = Kept()
    first = kept.read(created(), ExecutionStarted(number=1, **at(2)))
    assert first.parts == {WindowOfFlow(FLOW, MINUTE_MS): Tally(created=1, started=1)}
    assert first.read_ms == {2: MINUTE_MS + 2_000}
    second = kept.read(
        TaskRunRetrying(number=2, run_id="r", attempt=0, due=MINUTE, **at(61)),
        TaskRunResubmitted(number=3, run_id="r", attempt=1, worker_id="w", **at(62)),
        TaskRunEnded(number=4, run_id="r", state=State.SUCCESS, **at(63)),
        TaskRunCreated(number=5, run_id="s", task_id="s", state=State.SKIPPED, **at(64)),
        TaskRunCreated(number=6, run_id="t", task_id="t", state=State.SUBMITTED, **at(64)),
        ExecutionEnded(number=7, state=State.WARNING, **at(71)),
    )
    expected = Tally(retries=1, resubmissions=1, task_runs_ended={State.SUCCESS: 1, State.SKIPPED: 1})
    expected.end(State.WARNING, 70_000)
    assert second.parts == {WindowOfFlow(FLOW, MINUTE_MS + 60_000): expected}


def test_the_duration_begins_when_the_execution_was_asked_for() -> None:
    """An execution that waited for its decision took longer."""
    batch = Kept().read(created(requested=MINUTE), ExecutionEnded(number=1, state=State.SUCCESS, **at(10)))
    assert batch.parts[WindowOfFlow(FLOW, MINUTE_MS)].duration_sum_ms == 10_000


def test_events_that_come_again_are_not_counted_again() -> None:
    """A number that was seen is passed over, in the same batch and in later ones, also after the end."""
    kept = Kept()
    whole: list[ExecutionEvent] = [
        created(),
        ExecutionStarted(number=1, **at(2)),
        ExecutionEnded(number=2, state=State.FAILED, **at(3)),
    ]
    first = kept.read(*whole, *whole)
    assert first.repeated == 3
    assert first.parts[WindowOfFlow(FLOW, MINUTE_MS)].created == 1
    again = kept.read(*whole)
    assert (again.parts, again.changes, again.repeated) == ({}, {}, 3)


def test_executions_that_are_over_are_forgotten_after_a_minute() -> None:
    """The end with nothing after it, or what closes the execution, is where the minute begins; also after a restart."""
    kept = Kept()
    kept.read(created(), ExecutionEnded(number=1, state=State.SUCCESS, closed=False, **at(2)))
    assert kept.reader.forgotten(now_ms=MINUTE_MS + 600_000) == []
    kept.read(ExecutionClosed(number=2, **at(3)), now_ms=MINUTE_MS + 600_000)
    assert kept.reader.forgotten(now_ms=MINUTE_MS + 659_999) == []
    assert kept.reader.forgotten(now_ms=MINUTE_MS + 660_000) == [b"main/e"]
    assert kept.reader.forgotten(now_ms=MINUTE_MS + 900_000) == []
    restarted = EventReader(kept.state)
    restarted.restored(now_ms=0)
    assert restarted.forgotten(now_ms=60_000) == [b"main/e"]


def test_what_cannot_be_counted_is_told_and_stops_nothing() -> None:
    """Garbage and events of an execution whose creation is not on the log any more are passed over."""
    reader = EventReader({})
    garbage = [EventRecord(0, b"main/x", b"\xff{"), EventRecord(0, b"main/x", b"[]")]
    batch = reader.read(
        [*garbage, *records(ExecutionStarted(number=1, **at(0)), created(execution_id="other"))], now_ms=0
    )
    assert (batch.unreadable, batch.orphans) == (2, 1)
    assert batch.parts == {WindowOfFlow(FLOW, MINUTE_MS): Tally(created=1)}


@pytest.mark.parametrize("kind", get_args(ExecutionEvent), ids=lambda kind: kind.__name__)
def test_every_event_of_the_model_can_be_read(kind: type[Any]) -> None:
    """The few fields that are read of an event are there, under these names, in all of them."""
    values: dict[str, Any] = {"str": "x", "int": 1, "State": State.SUCCESS, "datetime": MINUTE}
    fields = {
        field.name: values.get(str(getattr(field.type, "__name__", field.type)), [])
        for field in msgspec.structs.fields(kind)
        if field.required
    }
    event = kind(**{**fields, **at(0), "number": 1})
    batch = EventReader({b"main/e": SeenExecution("n", "f", 0, 0, False)}).read(records(event), now_ms=0)
    assert (batch.unreadable, batch.repeated, batch.orphans) == (0, 0, 0)
    assert batch.changes[b"main/e"].number == 1
