"""The history of an execution, of our own: its events, paged, counted and followed, and why a task run is as it is.

Events are read from the index; a follower is woken by the live view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, get_args

from aiohttp import web

from flowtide.api import event_streams
from flowtide.api.answers import json_answer, raw_answer
from flowtide.api.event_streams import EventStream
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.keys import INDEX, LIVE_VIEW
from flowtide.api.parameters import integer, page, texts
from flowtide.api.problems import Problem, not_found
from flowtide.index.history import causes
from flowtide.index.queries import AllOf, Filter, Interval, Match, Operation, Query, Sort
from flowtide.model.records import format_date

_AT_ONCE = 1_000
_LOOK_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_LATEST_EVENT = 1_000_000_000


async def events(request: web.Request) -> web.StreamResponse:
    """The events of an execution, page by page, in the order of their numbers; of some `type` or task run only."""
    key = key_of(request)
    wanted = page(request, default_size=100)
    query = Query(
        kind="events",
        filter=AllOf((Match("executionId", Operation.EQUALS, key.execution_id), *_narrowed(request))),
        sort=(Sort("number"),),
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


async def follow_events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: an empty one, then each event after number `after`, until the execution is over."""
    key = key_of(request)
    number = integer(request, "after", least=-1, most=_LATEST_EVENT)
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


async def task_run_causes(request: web.Request) -> web.StreamResponse:
    """The chain of events that led to the last event of a task run, or to its event number `of`; the last one first."""
    key = key_of(request)
    run_id = request.match_info["taskRunId"]
    number = integer(request, "of", least=0, most=_LATEST_EVENT)
    chain = await causes(request.app[INDEX], key.tenant, key.execution_id, run_id, number)
    if not chain:
        await header_of(request, key)
        raise not_found(f"the task run {run_id[:256]} of the execution {key.execution_id}")
    return raw_answer(b"[" + b",".join([event.body for event in chain]) + b"]")


def _narrowed(request: web.Request) -> Iterator[Filter]:
    kinds = texts(request, "type")
    if kinds:
        yield Match("type", Operation.IN, kinds)
    run_id = request.query.get("taskRunId")
    if run_id:
        yield Match("runId", Operation.EQUALS, run_id)


def _shown(moment: Any) -> str:
    return format_date(moment)
