"""Loops of many iterations, shown without their task runs: a lane for each task inside, and the iterations by page.

The task run of the loop comes in, counts in slices of time and single iterations go out, as of event `asOf` or now.
No state.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer, page_answer
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.execution_moments import as_of
from flowtide.api.filters import read_moment
from flowtide.api.keys import CLOCK, INDEX
from flowtide.api.parameters import integer, page, texts
from flowtide.api.problems import Problem, not_found
from flowtide.index.moments import Moment, existing, settled
from flowtide.index.queries import (
    AllOf,
    Filter,
    Match,
    Measure,
    Operation,
    Query,
    Slices,
    Sort,
    Terms,
    beginning,
)
from flowtide.index.spread import slices_between
from flowtide.log.keys import ExecutionKey
from flowtide.model.records import format_date

_SLICES = 240
_MOST_SLICES = 1_000
_WORTH_A_LOOK = 5
_SLOW = 5  # times the median
_ITERATIONS_A_PAGE = 200

Document = dict[str, Any]


class _Loop:
    """The task run of the loop, and the filter of what stands in it."""

    def __init__(self, document: Document, moment: Moment | None) -> None:
        self.document = document
        self.moment = moment
        inside = Match("parentTaskRunId", Operation.EQUALS, document["id"])
        own = Match("executionId", Operation.EQUALS, document["executionId"])
        self.inside: Filter = AllOf((own if moment is None else existing(moment), inside))
        # Of one that is over, the last event is its end; one that was reopened after the moment counts as open.
        ended = AllOf((self.inside, Match("endDate", Operation.IS_NOT_NULL)))
        self.over: Filter = ended if moment is None else AllOf((ended, settled(moment)))


async def _loop(request: web.Request, key: ExecutionKey) -> _Loop:
    moment = await as_of(request, key)
    await header_of(request, key)
    run_id = request.match_info["taskRunId"]
    found = await request.app[INDEX].get("task_runs", key.tenant, run_id)
    document = None if found is None else found.document
    then = document is not None and (moment is None or document["order"] <= moment.number)
    if document is None or document["executionId"] != key.execution_id or not then:
        raise not_found(f"the task run {run_id[:256]} of the execution {key.execution_id}")
    return _Loop(document, moment)


async def lanes(request: web.Request) -> web.StreamResponse:
    """What went on inside a task run, in slices of time: a lane for each task in it, and what is worth a look."""
    key = key_of(request)
    loop = await _loop(request, key)
    index = request.app[INDEX]
    state = loop.document["state"]
    now = request.app[CLOCK]() if loop.moment is None else loop.moment.at
    began = datetime.fromisoformat(state["startDate"])
    ended = datetime.fromisoformat(state["endDate"]) if "endDate" in state else now
    start = read_moment(request.query["from"], "from") if request.query.get("from") else began
    end = read_moment(request.query["to"], "to") if request.query.get("to") else min(ended, now)
    number = integer(request, "slices", least=1, most=_MOST_SLICES) or _SLICES
    if end < start:
        raise Problem(422, "`to` must not be before `from`")
    first, width_ms = slices_between(start, end, number)
    length = (end - first) // timedelta(milliseconds=width_ms) + 1
    shape = _Shape(first, width_ms, int(length))
    found: dict[str, _Lane] = {}
    for bucket in await index.aggregate(
        key.tenant,
        "task_runs",
        filter=loop.inside,
        groups=[Terms("taskId"), shape.of("startDate")],
        measures=[Measure("minimum", "order")],
    ):
        lane = found.setdefault(str(bucket.keys[0]), _Lane(shape.length, bucket.values[0] or 0))
        lane.add("started", bucket.keys[1], bucket.count)
    for bucket in await index.aggregate(
        key.tenant,
        "task_runs",
        filter=loop.over,
        groups=[Terms("taskId"), Terms("state.current"), shape.of("endDate")],
    ):
        lane = found.setdefault(str(bucket.keys[0]), _Lane(shape.length, 0))
        lane.over[str(bucket.keys[1])] += bucket.count
        lane.add("ended", bucket.keys[2], bucket.count)
        if bucket.keys[1] == "FAILED":
            lane.add("failed", bucket.keys[2], bucket.count)
    if first > began:
        await _count_before(request, key, loop, shape, found)
    medians: dict[str, float | None] = {}
    shown = []
    for task_id, lane in sorted(found.items(), key=lambda each: each[1].order):
        over = AllOf((loop.over, Match("taskId", Operation.EQUALS, task_id)))
        median, ninety_five = await index.quantiles(
            key.tenant, "task_runs", "durationSeconds", (0.5, 0.95), over
        )
        medians[task_id] = median
        shown.append({"taskId": task_id, **lane.shown(median, ninety_five)})
    return json_answer(
        {
            "taskRunId": loop.document["id"],
            "taskId": loop.document["taskId"],
            "startDate": format_date(first),
            "sliceMs": width_ms,
            "slices": shape.length,
            "iterations": loop.document.get("iterations"),
            "lanes": shown,
            "worthALook": await _worth_a_look(request, key, loop, medians),
        }
    )


async def _count_before(
    request: web.Request, key: ExecutionKey, loop: _Loop, shape: _Shape, found: dict[str, _Lane]
) -> None:
    """Count what began and ended before the first slice."""
    index = request.app[INDEX]
    began, ended = (Match(field, Operation.LESS_THAN, shape.first) for field in ("startDate", "endDate"))
    for bucket in await index.aggregate(
        key.tenant, "task_runs", filter=AllOf((loop.inside, began)), groups=[Terms("taskId")]
    ):
        lane = found.setdefault(str(bucket.keys[0]), _Lane(shape.length, 0))
        lane.total += bucket.count
        lane.before += bucket.count
    for bucket in await index.aggregate(
        key.tenant,
        "task_runs",
        filter=AllOf((loop.over, ended)),
        groups=[Terms("taskId"), Terms("state.current")],
    ):
        lane = found[str(bucket.keys[0])]
        lane.over[str(bucket.keys[1])] += bucket.count
        lane.before -= bucket.count


class _Shape:
    """The slices of an answer."""

    def __init__(self, first: datetime, width_ms: int, length: int) -> None:
        self.first, self.width_ms, self.length = first, width_ms, length

    def of(self, field: str) -> Slices:
        """The slices of a field."""
        return Slices(field, self.first, self.width_ms)


class _Lane:
    """The task runs of one task, by slice."""

    def __init__(self, length: int, order: float) -> None:
        self.total = 0
        self.order = order  # number of the event that the first task run began with
        self.over: Counter[str] = Counter()  # how those ended that are over
        self.before = 0  # open when the first slice begins
        self._slices = {name: [0] * length for name in ("started", "ended", "failed")}

    def add(self, name: str, number: Any, count: int) -> None:
        """Count something in a slice; what comes after the last one is counted, but not shown."""
        if name == "started":
            self.total += count
        if number < len(self._slices[name]):
            self._slices[name][number] += count

    def shown(self, median: float | None, ninety_five: float | None) -> Document:
        """The lane; `open` is the most that were open at some time of a slice, had all begun before any ended."""
        still, most = self.before, []
        for started, ended in zip(self._slices["started"], self._slices["ended"], strict=True):
            most.append(still + started)
            still += started - ended
        found: Document = {
            "total": self.total,
            "over": dict(sorted(self.over.items())),
            "open": most,
            **self._slices,
        }
        for name, value in (("medianSeconds", median), ("p95Seconds", ninety_five)):
            if value is not None:
                found[name] = round(value, 6)
        return found


async def _worth_a_look(
    request: web.Request, key: ExecutionKey, loop: _Loop, medians: dict[str, float | None]
) -> list[Document]:
    """Up to five task runs inside: the failed first, then those that are tried again, then the slow ones."""
    by_start, slowest = Sort("startDate"), Sort("durationSeconds", True)
    asked: list[tuple[str, Filter, Sort]] = [
        ("failed", AllOf((loop.over, Match("state", Operation.EQUALS, "FAILED"))), by_start),
        ("retrying", AllOf((loop.inside, Match("state", Operation.EQUALS, "RETRYING"))), by_start),
    ]
    for task_id, median in medians.items():
        if median:
            slow = AllOf(
                (
                    loop.over,
                    Match("taskId", Operation.EQUALS, task_id),
                    Match("durationSeconds", Operation.GREATER_THAN, _SLOW * median),
                )
            )
            asked.append(("slow", slow, slowest))
    found: list[Document] = []
    seen: set[Any] = set()
    for reason, wanted, sort in asked:
        query = Query(kind="task_runs", filter=wanted, sort=(sort,), size=2 * _WORTH_A_LOOK, count=False)
        for each in (await request.app[INDEX].search(key.tenant, query)).results:
            run = each.document
            place = run.get("iteration", run["id"])
            if place in seen or len(found) == _WORTH_A_LOOK:
                continue
            seen.add(place)
            entry = {"reason": reason, "taskRunId": run["id"], "taskId": run["taskId"]}
            for name in ("iteration", "value", "durationSeconds", "error"):
                if name in run:
                    entry[name] = run[name]
            entry["state"] = run["state"]["current"]
            found.append(entry)
    return found


async def iterations(request: web.Request) -> web.StreamResponse:
    """The iterations of a loop that began, page by page: how many task runs each has, and how they ended."""
    key = key_of(request)
    loop = await _loop(request, key)
    index = request.app[INDEX]
    wanted = page(request, default_size=_ITERATIONS_A_PAGE)
    narrowed: list[Filter] = [Match("iteration", Operation.IS_NOT_NULL)]
    states = [each.upper() for each in texts(request, "state")]
    if states:
        narrowed.append(Match("state", Operation.IN, states))
    if request.query.get("value"):
        narrowed.append(Match("value", Operation.CONTAINS, request.query["value"]))
    ended_only = loop.moment is not None and bool(states)  # what was open then may be anything now
    longer = integer(request, "longerThanSeconds", least=0)
    if longer is not None:
        narrowed.append(Match("durationSeconds", Operation.GREATER_THAN, longer))
    numbers = [
        bucket.keys[0]
        for bucket in await index.aggregate(
            key.tenant,
            "task_runs",
            filter=AllOf((loop.over if ended_only else loop.inside, *narrowed)),
            groups=[Terms("iteration")],
        )
    ]
    some = numbers[wanted.offset : wanted.offset + wanted.size]
    found: dict[Any, Document] = {}
    if some:
        these = Match("iteration", Operation.IN, some)
        for bucket in await index.aggregate(
            key.tenant,
            "task_runs",
            filter=AllOf((loop.inside, these)),
            groups=[Terms("iteration"), Terms("value", absent=True)],
            measures=[Measure("minimum", "state.startDate")],
        ):
            number, value = bucket.keys
            entry = found.setdefault(number, {"iteration": number, "total": 0, "over": {}, "seconds": 0.0})
            entry["total"] += bucket.count
            if value is not None:
                entry["value"] = value
            entry["startDate"] = format_date(beginning(round(bucket.values[0] or 0)))
        for bucket in await index.aggregate(
            key.tenant,
            "task_runs",
            filter=AllOf((loop.over, these)),
            groups=[Terms("iteration"), Terms("state.current")],
            measures=[Measure("maximum", "state.endDate"), Measure("sum", "durationSeconds")],
        ):
            entry = found[bucket.keys[0]]
            entry["over"][str(bucket.keys[1])] = bucket.count
            date = format_date(beginning(round(bucket.values[0] or 0)))
            entry["endDate"] = max(entry.get("endDate", date), date)
            entry["seconds"] = round(entry["seconds"] + (bucket.values[1] or 0), 6)
    return page_answer([found[number] for number in some], len(numbers))
