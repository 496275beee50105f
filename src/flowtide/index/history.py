"""The past of an execution, read from the index: as it was after event N, and what led to a change of a task run."""

from __future__ import annotations

from typing import Any

import msgspec

from flowtide.index.documents import fold_execution, fold_task_run
from flowtide.index.kinds import event_id
from flowtide.index.port import Index
from flowtide.index.queries import AllOf, Found, Match, Operation, Query, Sort
from flowtide.model import commands as c
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


LONGEST_CHAIN = 200
_NEAR = 250  # events before one, among which the one before of the same task run is looked for first
_ANSWERS = frozenset(
    {
        each.__name__
        for each in (
            c.AnswerSlot,
            c.ContinueRun,
            c.FireTimer,
            c.LoseWorker,
            c.ReportChildEnded,
            c.ReportDirectoryOpened,
            c.ReportEvaluation,
            c.ReportRunEnded,
            c.ReportRunStarted,
        )
    }
)
"""Commands that answer what an earlier event asked for: the chain goes on with that; those of people end it."""


async def causes(
    index: Index,
    tenant: str,
    execution_id: str,
    run_id: str,
    number: int | None = None,
    longest: int = LONGEST_CHAIN,
) -> list[Found]:
    """Why a task run is as it is: its event `number`, or its last one, and what led to it, back to what a person did.

    Events that are no longer kept end the chain; of one that is longer than `longest`, the root follows the newest.
    Empty when the task run has no such event.
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
    found = (await index.search(tenant, query)).results
    return await _led_to(index, tenant, execution_id, found, longest)


async def chain_of(
    index: Index, tenant: str, execution_id: str, number: int, longest: int = LONGEST_CHAIN
) -> list[Found]:
    """An event and what led to it, back to a command; empty when there is no such event."""
    found = await index.get("events", tenant, event_id(execution_id, number))
    return [] if found is None else await _led_to(index, tenant, execution_id, [found], longest)


async def _led_to(
    index: Index, tenant: str, execution_id: str, chain: list[Found], longest: int
) -> list[Found]:
    while chain and len(chain) < longest:
        event = EVENT_DECODER.decode(chain[-1].body)
        if event.cause.event is not None:
            found = await index.get("events", tenant, event_id(execution_id, event.cause.event))
        elif event.cause.command in _ANSWERS:
            found = await _before(index, tenant, event)
        else:
            found = None
        if found is None:
            break
        chain.append(found)
    if len(chain) == longest:
        root = await index.get("events", tenant, event_id(execution_id, 0))
        chain[-1:] = [chain[-1]] if root is None or root.id == chain[-1].id else [root]
    return chain


class _OfRun(msgspec.Struct, rename="camel"):
    run_id: str | None = None


_OF_RUN = msgspec.json.Decoder(_OfRun)


async def _before(index: Index, tenant: str, event: Event) -> Found | None:
    """The last event before this one of the same task run, or of the execution itself."""
    run_id: str | None = getattr(event, "run_id", None)
    near = await index.events(tenant, event.execution_id, max(0, event.number - _NEAR), event.number - 1)
    for found in reversed(near):
        if _OF_RUN.decode(found.body).run_id == run_id:
            return found
    same = Match("runId", Operation.IS_NULL) if run_id is None else Match("runId", Operation.EQUALS, run_id)
    parts = (
        Match("executionId", Operation.EQUALS, event.execution_id),
        Match("number", Operation.LESS_THAN, event.number),
        same,
    )
    query = Query(kind="events", filter=AllOf(parts), sort=(Sort("number", True),), size=1, count=False)
    return next(iter((await index.search(tenant, query)).results), None)
