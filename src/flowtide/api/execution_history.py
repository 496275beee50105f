"""The history of an execution, of our own: its events, paged, counted and followed, and why a task run is as it is.

Events are read from the index; a follower is woken by the live view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, get_args

from aiohttp import web

from flowtide.api import event_streams
from flowtide.api.answers import json_answer, raw_answer
from flowtide.api.event_streams import EventStream
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.filters import read_moment
from flowtide.api.keys import INDEX, LIVE_VIEW
from flowtide.api.parameters import integer, page, sorting, texts
from flowtide.api.problems import Problem, not_found
from flowtide.index.history import LONGEST_CHAIN, causes, chain_of
from flowtide.index.port import Index
from flowtide.index.queries import (
    AllOf,
    AnyOf,
    Bucket,
    Filter,
    Interval,
    Match,
    Measure,
    Operation,
    Query,
    Slices,
    Sort,
    Terms,
)
from flowtide.index.spread import slices_between
from flowtide.log.keys import ExecutionKey
from flowtide.model import events as e
from flowtide.model.events import EVENT_DECODER
from flowtide.model.records import format_date

_AT_ONCE = 1_000
_LOOK_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_LATEST_EVENT = 1_000_000_000
_BUCKETS = 240
_MOST_BUCKETS = 1_000
_EXACT = timedelta(milliseconds=1)  # to which dates are measured


_MARKERS: Mapping[str, tuple[type[e.Event], ...]] = {
    "retry": (e.TaskRunRetrying, e.ExecutionRetrying),
    "pause": (e.ExecutionPaused, e.TaskRunPaused, e.BreakpointReached),
    "kill": (e.ExecutionKilling, e.TaskRunKilling),
    "restart": (e.ExecutionRestarted, e.ReuseCompleted),
    "change": (e.ExecutionStateChanged, e.LabelsSet, e.VariablesSet),
}
"""What is marked on the line of time beside failures."""

_MARKED = AnyOf(
    (
        Match("state", Operation.EQUALS, "FAILED"),
        Match("type", Operation.IN, [each.__name__ for types in _MARKERS.values() for each in types]),
    )
)


def _marks(kind: str, state: Any) -> Iterator[str]:
    if state == "FAILED":
        yield "failure"
    for name, types in _MARKERS.items():
        if any(each.__name__ == kind for each in types):
            yield name


async def events(request: web.Request) -> web.StreamResponse:
    """The events of an execution, page by page, by number; narrowed by `type`, `state`, `taskRunId` and place."""
    key = key_of(request)
    wanted = page(request, default_size=100)
    backwards = any(each.field == "number" and each.descending for each in sorting(request))
    query = Query(
        kind="events",
        filter=AllOf((Match("executionId", Operation.EQUALS, key.execution_id), *_narrowed(request))),
        sort=(Sort("number", backwards),),
        page=wanted.number,
        size=wanted.size,
    )
    found = await request.app[INDEX].search(key.tenant, query)
    if not found.total:
        await header_of(request, key)
    bodies = b",".join([event.body for event in found.results])
    return raw_answer(b'{"results":[' + bodies + b'],"total":%d}' % (found.total or 0))


async def event_counts(request: web.Request) -> web.StreamResponse:
    """How many events an execution had in each `interval` of time; intervals without any are left out."""
    key = key_of(request)
    intervals: tuple[Interval, ...] = get_args(Interval)
    name = request.query.get("interval") or "minute"
    interval = next((each for each in intervals if each == name), None)
    if interval is None:
        raise Problem(400, f"`interval` must be one of {', '.join(intervals)}")
    narrowed = list(_narrowed(request))
    buckets = await request.app[INDEX].event_counts(
        key.tenant, key.execution_id, interval, AllOf(tuple(narrowed)) if narrowed else None
    )
    if not buckets:
        await header_of(request, key)
    return json_answer([{"date": _shown(bucket.keys[0]), "count": bucket.count} for bucket in buckets])


async def event_density(request: web.Request) -> web.StreamResponse:
    """How many events an execution had in each of `buckets` slices of time, and where the ones worth a mark stand.

    Numbers have no gaps: the events of a slice follow those of the slices before it, from `firstEvent` on.
    """
    key = key_of(request)
    index = request.app[INDEX]
    number = integer(request, "buckets", least=1, most=_MOST_BUCKETS) or _BUCKETS
    own = AllOf((Match("executionId", Operation.EQUALS, key.execution_id), *_narrowed(request)))
    ends = [await _end(index, key, own, last) for last in (False, True)]
    if ends[0] is None or ends[1] is None:
        await header_of(request, key)
        return json_answer({"firstEvent": 0, "lastEvent": -1, "sliceMs": 1, "counts": [], "markers": []})
    first, last = ends[0].at, ends[1].at
    start = read_moment(request.query["from"], "from") if request.query.get("from") else first
    end = read_moment(request.query["to"], "to") if request.query.get("to") else last + _EXACT
    if end < start:
        raise Problem(422, "`to` must not be before `from`")
    start, width_ms = slices_between(start, end, number)
    length = (end - start) // timedelta(milliseconds=width_ms) + 1
    slices = Slices("at", start, width_ms)
    shown = AllOf((own, Match("at", Operation.LESS_THAN_OR_EQUAL_TO, end)))
    lowest = [Measure("minimum", "number")]
    buckets = await index.aggregate(key.tenant, "events", filter=shown, groups=[slices], measures=lowest)
    counts = [0] * length
    for bucket in buckets:
        counts[_place(bucket)] = bucket.count
    marked: dict[tuple[str, int], dict[str, Any]] = {}
    for bucket in await index.aggregate(
        key.tenant,
        "events",
        filter=AllOf((shown, _MARKED)),
        groups=[slices, Terms("type"), Terms("state", absent=True)],
        measures=lowest,
    ):
        number = int(bucket.values[0] or 0)
        for kind in _marks(str(bucket.keys[1]), bucket.keys[2]):
            new: dict[str, Any] = {"kind": kind, "bucket": _place(bucket), "count": 0, "event": number}
            mark = marked.setdefault((kind, _place(bucket)), new)
            mark["count"] += bucket.count
            mark["event"] = min(mark["event"], number)
    return json_answer(
        {
            "startDate": _shown(start),
            "endDate": _shown(end),
            "sliceMs": width_ms,
            "firstEvent": min((int(bucket.values[0] or 0) for bucket in buckets), default=0),
            "lastEvent": ends[1].number,
            "counts": counts,
            "markers": sorted(marked.values(), key=lambda each: int(each["event"])),
        }
    )


async def _end(index: Index, key: ExecutionKey, own: Filter, last: bool) -> e.Event | None:
    """The first or the last event."""
    query = Query(kind="events", filter=own, sort=(Sort("number", last),), size=1, count=False)
    found = (await index.search(key.tenant, query)).results
    return EVENT_DECODER.decode(found[0].body) if found else None


def _place(bucket: Bucket) -> int:
    place = bucket.keys[0]
    assert isinstance(place, int)
    return place


async def follow_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: an empty one, then each event after number `after`, until the execution is over."""
    key = key_of(request)
    number = integer(request, "after", least=-1, most=_LATEST_EVENT)
    seen = request.headers.get("Last-Event-ID", "")
    if seen.isascii() and seen.isdigit() and len(seen) <= len(str(_LATEST_EVENT)):
        number = int(seen)  # a browser that lost the stream comes back with it
    view, index = request.app[LIVE_VIEW], request.app[INDEX]
    async with view.watch(key) as live:
        if live.header is None and view.created(key) is None:
            raise not_found(f"the execution {key.execution_id}")
        async with EventStream(request) as stream:
            await stream.send(b"{}", event_id="start", name="start")
            following = 0 if number is None else number + 1
            looks = 0
            while True:
                is_over, last = live.is_over, live.number
                found = await index.events(key.tenant, key.execution_id, following, following + _AT_ONCE - 1)
                for event in found:
                    await stream.send(event.body, event_id=str(following), name="progress")
                    following += 1
                if found:
                    looks = 0
                elif following <= last:  # the index will have it in a moment
                    await asyncio.sleep(_LOOK_SECONDS[min(looks, len(_LOOK_SECONDS) - 1)])
                    looks += 1
                    if not stream.is_open:
                        raise ConnectionResetError("the client is gone")
                elif is_over:
                    break
                elif not await live.change(last, event_streams.HEARTBEAT):
                    await stream.heartbeat()
            await stream.send(b"{}", event_id="end", name="end")
            return stream.response


async def event_causes(request: web.Request) -> web.StreamResponse:
    """An event and the chain of events that led to it, the last one first; the root is there in any case."""
    key = key_of(request)
    text = request.match_info["number"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_LATEST_EVENT)) else None
    index, longest = request.app[INDEX], _longest(request)
    chain = [] if number is None else await chain_of(index, key.tenant, key.execution_id, number, longest)
    if not chain:
        await header_of(request, key)
        raise not_found(f"the event {text[:20]} of the execution {key.execution_id}")
    return raw_answer(b"[" + b",".join([event.body for event in chain]) + b"]")


async def task_run_causes(request: web.Request) -> web.StreamResponse:
    """The chain of events that led to the last event of a task run, or to its event number `of`; the last one first."""
    key = key_of(request)
    run_id = request.match_info["taskRunId"]
    number = integer(request, "of", least=0, most=_LATEST_EVENT)
    chain = await causes(request.app[INDEX], key.tenant, key.execution_id, run_id, number, _longest(request))
    if not chain:
        await header_of(request, key)
        raise not_found(f"the task run {run_id[:256]} of the execution {key.execution_id}")
    return raw_answer(b"[" + b",".join([event.body for event in chain]) + b"]")


def _longest(request: web.Request) -> int:
    return integer(request, "limit", least=2, most=LONGEST_CHAIN) or LONGEST_CHAIN


def _narrowed(request: web.Request) -> Iterator[Filter]:
    kinds = texts(request, "type")
    if kinds:
        yield Match("type", Operation.IN, kinds)
    run_ids = texts(request, "taskRunId")
    if run_ids:
        yield Match("runId", Operation.IN, run_ids)
    states = texts(request, "state")
    if states:
        yield Match("state", Operation.IN, [state.upper() for state in states])
    for name, field, operation in (
        ("after", "number", Operation.GREATER_THAN),
        ("before", "number", Operation.LESS_THAN),
        ("causedBy", "causedBy", Operation.EQUALS),
    ):
        number = integer(request, name, least=-1, most=_LATEST_EVENT)
        if number is not None:
            yield Match(field, operation, number)


def _shown(moment: Any) -> str:
    return format_date(moment)
