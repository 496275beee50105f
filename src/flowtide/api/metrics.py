"""Metrics that tasks measured: of an execution, and of a flow over time (page 089, G_models MetricAggregations)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

from aiohttp import web

from flowtide.api.answers import json_answer, raw_answer
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.filters import read_moment
from flowtide.api.keys import CLOCK, INDEX
from flowtide.api.parameters import page, segment, sorting, tenant
from flowtide.api.problems import Problem
from flowtide.api.searches import of_flow
from flowtide.index.queries import (
    AllOf,
    Dates,
    Filter,
    Interval,
    Match,
    Measure,
    Operation,
    Query,
    Sort,
    Terms,
)
from flowtide.model.records import format_date

_FUNCTIONS: dict[str, Literal["sum", "average", "minimum", "maximum"]] = {
    "sum": "sum", "avg": "average", "min": "minimum", "max": "maximum",
}  # fmt: skip  # a table
_SPAN = timedelta(days=30)
_LONGEST_SPAN = timedelta(days=366 * 100)
_STEPS: tuple[tuple[timedelta, Interval], ...] = (
    (timedelta(days=365), "month"),
    (timedelta(days=180), "week"),
    (timedelta(days=1), "day"),
    (timedelta(hours=6), "hour"),
)
"""How long a span of time is at least to be shown in such steps; shorter ones are shown in minutes."""

_NORMAL = Match("executionKind", Operation.NOT_IN, ["TEST", "PLAYGROUND"])


async def of_execution(request: web.Request) -> web.StreamResponse:
    """The metrics of an execution, page by page; of one task or task run where that is named."""
    key = key_of(request)
    wanted = page(request)
    parts: list[Filter] = [Match("executionId", Operation.EQUALS, key.execution_id)]
    for name in ("taskRunId", "taskId"):
        value = request.query.get(name)
        if value:
            parts.append(Match(name, Operation.EQUALS, value))
    query = Query(
        kind="metrics",
        filter=AllOf(tuple(parts)),
        sort=tuple(Sort(each.field, each.descending) for each in sorting(request)) or (Sort("timestamp"),),
        page=wanted.number,
        size=wanted.size,
    )
    found = await request.app[INDEX].search(key.tenant, query)
    if not found.total:
        await header_of(request, key)
    bodies = b",".join([each.body for each in found.results])
    return raw_answer(b'{"results":[' + bodies + b'],"total":%d}' % (found.total or 0))


async def names_of_flow(request: web.Request) -> web.StreamResponse:
    """The names of the metrics that a flow's tasks measured."""
    return await _values(request, "name", _own(request))


async def names_of_task(request: web.Request) -> web.StreamResponse:
    """The names of the metrics that a task measured."""
    return await _values(request, "name", _own(request))


async def tasks(request: web.Request) -> web.StreamResponse:
    """The tasks of a flow that measured something."""
    return await _values(request, "taskId", _own(request))


async def aggregate_of_flow(request: web.Request) -> web.StreamResponse:
    """A metric of a flow over time: `aggregation` is sum, avg, min or max, from `startDate` to `endDate`."""
    return await _aggregated(request)


async def aggregate_of_task(request: web.Request) -> web.StreamResponse:
    """A metric of a task over time, likewise."""
    return await _aggregated(request)


def _own(request: web.Request) -> AllOf:
    """What the path names: a flow, or one of its tasks."""
    parts: list[Filter] = [_NORMAL]
    if "taskId" in request.match_info:
        parts.append(Match("taskId", Operation.EQUALS, request.match_info["taskId"]))
    return of_flow(segment(request, "namespace"), segment(request, "flowId"), *parts)


async def _values(request: web.Request, field: str, wanted: Filter) -> web.StreamResponse:
    buckets = await request.app[INDEX].aggregate(
        tenant(request), "metrics", filter=wanted, groups=[Terms(field)]
    )
    return json_answer([str(bucket.keys[0]) for bucket in buckets])


async def _aggregated(request: web.Request) -> web.StreamResponse:
    function = _FUNCTIONS.get((request.query.get("aggregation") or "sum").lower())
    if function is None:
        raise Problem(422, f"`aggregation` must be one of {', '.join(_FUNCTIONS)}")
    first, last = _span(request)
    step: Interval = next((step for least, step in _STEPS if last - first > least), "minute")
    name = request.match_info["metric"]
    wanted = AllOf(
        (
            *_own(request).parts,
            Match("name", Operation.EQUALS, name),
            Match("timestamp", Operation.GREATER_THAN_OR_EQUAL_TO, first),
            Match("timestamp", Operation.LESS_THAN_OR_EQUAL_TO, last),
        )
    )
    buckets = await request.app[INDEX].aggregate(
        tenant(request),
        "metrics",
        filter=wanted,
        groups=[Dates("timestamp", step)],
        measures=[Measure(function, "value")],
    )
    found = {bucket.keys[0]: bucket.values[0] for bucket in buckets}
    entries = []
    for moment in _moments(first, last, step):
        entry: dict[str, Any] = {"name": name, "date": format_date(moment)}
        value = found.get(moment, 0.0 if function == "sum" else None)
        if value is not None:
            entry["value"] = value
        entries.append(entry)
    return json_answer({"groupBy": step, "aggregations": entries})


def _span(request: web.Request) -> tuple[datetime, datetime]:
    end, start = request.query.get("endDate"), request.query.get("startDate")
    last = read_moment(end, "endDate") if end else request.app[CLOCK]()
    try:
        first = read_moment(start, "startDate") if start else last - _SPAN
    except OverflowError:
        raise Problem(422, "`endDate` is too early") from None
    if not first <= last or last - first > _LONGEST_SPAN:
        raise Problem(422, "`startDate` must be before `endDate`, and at most 100 years before it")
    return first, last


def _moments(first: datetime, last: datetime, step: Interval) -> Iterator[datetime]:
    """The beginnings of all intervals that a span touches."""
    moment = first.replace(second=0, microsecond=0)
    if step != "minute":
        moment = moment.replace(minute=0)
    if step not in ("minute", "hour"):
        moment = moment.replace(hour=0)
    if step == "week":
        moment -= timedelta(days=moment.weekday())
    elif step == "month":
        moment = moment.replace(day=1)
    while moment <= last:
        yield moment
        if step == "month":
            moment = (moment + timedelta(days=32)).replace(day=1)
        else:
            moment += timedelta(**{f"{step}s": 1})
