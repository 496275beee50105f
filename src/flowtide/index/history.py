"""The past of an execution, read from the index: as it was after event N, and what led to a change of a task run."""

from __future__ import annotations

from typing import Any

import msgspec

from flowtide.index.documents import fold_execution, fold_task_run
from flowtide.index.kinds import event_id
from flowtide.index.port import Index
from flowtide.index.queries import AllOf, Found, Match, Operation, Query, Sort
from flowtide.model.events import EVENT_DECODER, Event

_PORTION = 5_000  # events read at once


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """An execution at one moment of its life."""

    execution: dict[str, Any]
    task_runs: list[dict[str, Any]]  # in the order of their creation


class ExecutionView:
    """The fold of one execution's events, fed one by one; for live views and reads of the past."""

    def __init__(self) -> None:
        self.execution: dict[str, Any] | None = None
        self.task_runs: dict[str, dict[str, Any]] = {}  # by id, in the order of their creation

    def add(self, event: Event) -> None:
        """Fold the next event; one that was seen changes nothing.  Raises BaseMissing when earlier ones are missing."""
        execution = self.execution = fold_execution(self.execution, event)
        run_id: str | None = getattr(event, "run_id", None)
        if run_id is not None:
            run = fold_task_run(self.task_runs.get(run_id), event, execution)
            if run is not None:
                self.task_runs[run_id] = run


async def as_of(index: Index, tenant: str, execution_id: str, number: int) -> Snapshot | None:
    """The execution after its event `number`, or after its last one when there are fewer; None when there is none.

    Raises BaseMissing when its first events are no longer in the index.
    """
    view = ExecutionView()
    first = 0
    while first <= number:
        last = min(first + _PORTION - 1, number)
        found = await index.events(tenant, execution_id, first, last)
        for event in found:
            view.add(EVENT_DECODER.decode(event.body))
        if len(found) < last - first + 1:
            break
        first = last + 1
    if view.execution is None:
        return None
    return Snapshot(execution=view.execution, task_runs=list(view.task_runs.values()))


_LONGEST_CHAIN = 1_000


async def causes(
    index: Index, tenant: str, execution_id: str, run_id: str, number: int | None = None
) -> list[Found]:
    """Why a task run is as it is: its event `number`, or its last one, and what led to it, back to a command.

    Events that are no longer kept end the chain.  Empty when the task run has no such event.
    """
    parts = [
        Match("executionId", Operation.EQUALS, execution_id),
        Match("runId", Operation.EQUALS, run_id),
    ]
    if number is not None:
        parts.append(Match("number", Operation.EQUALS, number))
    query = Query(
        kind="events", filter=AllOf(tuple(parts)), sort=(Sort("number", True),), size=1, count=False
    )
    chain = (await index.search(tenant, query)).results
    while chain and len(chain) < _LONGEST_CHAIN:
        before = EVENT_DECODER.decode(chain[-1].body).cause.event
        if before is None:
            break
        found = await index.get("events", tenant, event_id(execution_id, before))
        if found is None:
            break
        chain.append(found)
    return chain
