"""An execution as of one of its events, without folding its whole history.

A task run that no later event touched is, in the index, as it was then; only the others are folded again, each from
its own events.  So the cost grows with what was under way at that moment.  No state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from flowtide.errors import IndexQueryInvalid
from flowtide.index.documents import BaseMissing, fold_execution, fold_task_run
from flowtide.index.port import Index
from flowtide.index.queries import AllOf, Filter, Found, Match, Operation, Query, Sort
from flowtide.model.events import EVENT_DECODER, BreakpointReached, LabelsSet, VariablesSet

Document = dict[str, Any]

_PORTION = 5_000  # documents read at once
_RUNS_AT_ONCE = 500  # whose events are asked for together
_MOST_CHANGED = 20_000
_CLOSE = timedelta(seconds=1)
"""Clocks of two servers may differ by this: states that were entered so near to the moment are folded, not dated."""

_ALSO_OF_EXECUTION = [each.__name__ for each in (LabelsSet, VariablesSet, BreakpointReached)]
"""Events that name a task run and change the execution's document."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The time right after an event of an execution."""

    execution_id: str
    number: int
    at: datetime


def _of(execution_id: str, *parts: Filter) -> AllOf:
    return AllOf((Match("executionId", Operation.EQUALS, execution_id), *parts))


async def moment_of(index: Index, tenant: str, execution_id: str, number: int) -> Moment | None:
    """The moment after event `number`, or after the last one before it; None when the execution has no events."""
    query = Query(
        kind="events",
        filter=_of(execution_id, Match("number", Operation.LESS_THAN_OR_EQUAL_TO, number)),
        sort=(Sort("number", True),),
        size=1,
        count=False,
    )
    found = (await index.search(tenant, query)).results
    if not found:
        return None
    event = EVENT_DECODER.decode(found[0].body)
    return Moment(execution_id=execution_id, number=event.number, at=event.at)


async def header_at(index: Index, tenant: str, moment: Moment) -> Document:
    """The execution's document then, without its counts of task runs.  Raises BaseMissing when events are gone."""
    own = _of(
        moment.execution_id,
        Match("number", Operation.LESS_THAN_OR_EQUAL_TO, moment.number),
    )
    alone = Match("runId", Operation.IS_NULL)
    also = Match("type", Operation.IN, _ALSO_OF_EXECUTION)
    events: dict[int, Any] = {}
    for part in (alone, also):
        async for found in _events(index, tenant, AllOf((own, part))):
            event = _event(found)
            events[event.number] = event
    document: Document | None = None
    for number in sorted(events):
        document = fold_execution(document, events[number])
    if document is None:
        raise BaseMissing(f"the first events of execution {moment.execution_id} are gone")
    document.pop("taskRunCount", None)
    document["lastEvent"] = moment.number
    return document


def _event(found: Found) -> Any:
    return EVENT_DECODER.decode(found.body)


async def _events(index: Index, tenant: str, wanted: Filter) -> AsyncIterator[Found]:
    after: str | None = None
    while True:
        query = Query(
            kind="events", filter=wanted, sort=(Sort("number"),), size=_PORTION, after=after, count=False
        )
        page = await index.search(tenant, query)
        for found in page.results:
            yield found
        after = page.next
        if after is None:
            return


def existing(moment: Moment) -> AllOf:
    """The filter of the task runs that were there."""
    return _of(moment.execution_id, Match("order", Operation.LESS_THAN_OR_EQUAL_TO, moment.number))


def settled(moment: Moment) -> AllOf:
    """The filter of those that are now as they were."""
    return _of(moment.execution_id, Match("lastEvent", Operation.LESS_THAN_OR_EQUAL_TO, moment.number))


def changed(moment: Moment) -> AllOf:
    """The filter of those that were there and changed since."""
    return AllOf((existing(moment), Match("lastEvent", Operation.GREATER_THAN, moment.number)))


async def runs_at(index: Index, tenant: str, moment: Moment, documents: Sequence[Document]) -> list[Document]:
    """These task runs as they were, in their order; those that were not there yet are left out."""
    later = [each for each in documents if each["order"] <= moment.number < each["lastEvent"]]
    folded: dict[str, Document] = {}
    for start in range(0, len(later), _RUNS_AT_ONCE):
        some = later[start : start + _RUNS_AT_ONCE]
        folded.update(await _folded(index, tenant, moment, some))
    return [folded.get(each["id"], each) for each in documents if each["order"] <= moment.number]


async def _folded(
    index: Index, tenant: str, moment: Moment, documents: Sequence[Document]
) -> Mapping[str, Document]:
    wanted = _of(
        moment.execution_id,
        Match("number", Operation.LESS_THAN_OR_EQUAL_TO, moment.number),
        Match("runId", Operation.IN, [each["id"] for each in documents]),
    )
    bases = {each["id"]: each for each in documents}
    found: dict[str, Document] = {}
    async for each in _events(index, tenant, wanted):
        event = _event(each)
        document = fold_task_run(found.get(event.run_id), event, bases[event.run_id])
        if document is not None:
            found[event.run_id] = document
    return found


async def changed_runs(
    index: Index, tenant: str, moment: Moment, narrowed: Filter | None = None
) -> AsyncIterator[Document]:
    """The task runs that were there and changed since, as they were.  Raises IndexQueryInvalid beyond 20,000."""
    wanted: Filter = changed(moment) if narrowed is None else AllOf((changed(moment), narrowed))
    seen = 0
    async for portion in index.scan(tenant, "task_runs", wanted, size=_PORTION):
        seen += len(portion)
        if seen > _MOST_CHANGED:
            raise IndexQueryInvalid(
                f"more than {_MOST_CHANGED:,} task runs were under way after event {moment.number};"
                " ask for those of one task (`taskId`) or one parent (`parentTaskRunId`)",
                field="asOf",
            )
        for document in await runs_at(index, tenant, moment, [each.document for each in portion]):
            yield document


class _Entry(msgspec.Struct):
    state: str
    date: datetime


class _Dated(msgspec.Struct):
    histories: list[_Entry]


class Brief(msgspec.Struct, rename="camel"):
    """What is counted of a task run."""

    id: str
    task_id: str
    state: _Dated


_BRIEF = msgspec.json.Decoder(Brief)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a task run stood."""

    task_id: str
    state: str
    start: datetime


async def standings(index: Index, tenant: str, moment: Moment) -> AsyncIterator[Standing]:
    """How each task run stood that was there and changed since; read from the dates of its states where those tell."""
    async for portion in index.scan(tenant, "task_runs", changed(moment), size=_PORTION):
        near: list[Document] = []
        for found in portion:
            brief = _BRIEF.decode(found.body)
            entries = brief.state.histories
            if any(abs(entry.date - moment.at) <= _CLOSE for entry in entries):
                near.append(found.document)
                continue
            before = [entry.state for entry in entries if entry.date <= moment.at]
            state = before[-1] if before else entries[0].state
            yield Standing(task_id=brief.task_id, state=state, start=entries[0].date)
        for document in await runs_at(index, tenant, moment, near):
            state = document["state"]
            start = datetime.fromisoformat(state["startDate"])
            yield Standing(task_id=document["taskId"], state=state["current"], start=start)
