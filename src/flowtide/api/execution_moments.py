"""An execution as of one of its events, for views that go back in time: counts by task, task runs, log lines.

`asOf=N` means right after event N (or the last one before it); without it, now.  Everything is paged or counted, so
that nothing grows with the execution but the number of its tasks.  No state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer, raw_answer
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.filters import read_level, read_moment
from flowtide.api.keys import CATALOG, INDEX
from flowtide.api.parameters import flag, integer, page, sorting, texts
from flowtide.api.problems import Problem, not_found
from flowtide.index.documents import BaseMissing
from flowtide.index.moments import (
    Moment,
    changed_runs,
    existing,
    header_at,
    moment_of,
    runs_at,
    settled,
    standings,
)
from flowtide.index.port import at_least
from flowtide.index.queries import (
    AllOf,
    AnyOf,
    Filter,
    Match,
    Measure,
    Operation,
    Query,
    Sort,
    Terms,
    Words,
    beginning,
)
from flowtide.log.keys import ExecutionKey
from flowtide.model.entries import Level
from flowtide.model.flow import Flow
from flowtide.model.records import format_date
from flowtide.model.states import State
from flowtide.model.task import FlowableTask, Task

LATEST_EVENT = 1_000_000_000
_RUNS_A_PAGE = 100
_LINES_A_PAGE = 500
_STATES = frozenset(state.value for state in State)
_SHOWN_HEADER = (
    "id",
    "namespace",
    "flowId",
    "flowRevision",
    "state",
    "labels",
    "parentId",
    "originalId",
    "kind",
)

Document = dict[str, Any]


async def as_of(request: web.Request, key: ExecutionKey) -> Moment | None:
    """The moment that `asOf` names; None for now.  Raises Problem 404, 410."""
    number = integer(request, "asOf", least=0, most=LATEST_EVENT)
    if number is None:
        return None
    moment = await moment_of(request.app[INDEX], key.tenant, key.execution_id, number)
    if moment is None:
        await header_of(request, key)
        raise Problem(410, "the events of this execution are no longer kept, or not there yet")
    return moment


async def header(request: web.Request, key: ExecutionKey, moment: Moment | None) -> Document:
    """The execution's document, then or now, without task runs."""
    if moment is None:
        return await header_of(request, key)
    try:
        return await header_at(request.app[INDEX], key.tenant, moment)
    except BaseMissing:
        raise Problem(410, "the first events of this execution are no longer kept") from None


# --- the summary -------------------------------------------------------------------------------------------------


async def summary(request: web.Request) -> web.StreamResponse:
    """How many task runs each task had in which state, as of event `asOf` or now; the tasks in the flow's order."""
    key = key_of(request)
    index = request.app[INDEX]
    moment = await as_of(request, key)
    document = await header(request, key, moment)
    own = Match("executionId", Operation.EQUALS, key.execution_id)
    buckets = await index.aggregate(
        key.tenant,
        "task_runs",
        filter=AllOf((own,)) if moment is None else settled(moment),
        groups=[Terms("taskId"), Terms("state.current")],
        measures=[
            Measure("minimum", "state.startDate"),
            Measure("maximum", "state.endDate"),
            Measure("sum", "durationSeconds"),
            Measure("maximum", "durationSeconds"),
        ],
    )
    counts: dict[str, _Counted] = {}
    for bucket in buckets:
        counted = counts.setdefault(str(bucket.keys[0]), _Counted())
        counted.states[str(bucket.keys[1])] += bucket.count
        start, end, seconds, longest = bucket.values
        counted.starts.extend([] if start is None else [beginning(round(start))])
        counted.ends.extend([] if end is None else [beginning(round(end))])
        counted.seconds += seconds or 0
        counted.longest = max(counted.longest, longest or 0)
    if moment is not None:
        async for each in standings(index, key.tenant, moment):
            counted = counts.setdefault(each.task_id, _Counted())
            counted.states[each.state] += 1
            counted.starts.append(each.start)
    saved = request.app[CATALOG].flow(
        key.tenant, document["namespace"], document["flowId"], document["flowRevision"]
    )
    tasks = list(_tasks(None if saved is None else saved.flow, counts))
    return json_answer(
        {
            **{name: document[name] for name in _SHOWN_HEADER if name in document},
            "lastEvent": document["lastEvent"],
            **({} if moment is None else {"asOf": moment.number, "at": format_date(moment.at)}),
            "taskRuns": sum(each.states.total() for each in counts.values()),
            "tasks": tasks,
        }
    )


class _Counted:
    """What is known of the task runs of one task."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.starts: list[datetime] = []
        self.ends: list[datetime] = []
        self.seconds = 0.0
        self.longest = 0.0

    def shown(self) -> Document:
        """The counts; of what did not begin, only that there are none."""
        found: Document = {"total": self.states.total(), "states": dict(sorted(self.states.items()))}
        if self.starts:
            found["startDate"] = format_date(min(self.starts))
        if self.ends:
            found["endDate"] = format_date(max(self.ends))
            found["seconds"] = round(self.seconds, 6)
            found["longestSeconds"] = round(self.longest, 6)
        return found


def _tasks(flow: Flow | None, counts: dict[str, _Counted]) -> Iterator[Document]:
    """The tasks of the flow in its order, and after them those that ran and are not in it."""
    nothing = _Counted()
    seen = set()
    for task, parent, branch in [] if flow is None else _placed(flow):
        seen.add(task.id)
        shown: Document = {"taskId": task.id, "type": task.type}
        if parent is not None:
            shown["parentTaskId"] = parent
        if branch != "tasks":
            shown["branch"] = branch
        if task.disabled:
            shown["disabled"] = True
        yield {**shown, **counts.get(task.id, nothing).shown()}
    for task_id, counted in counts.items():
        if task_id not in seen:
            yield {"taskId": task_id, **counted.shown()}


def _placed(flow: Flow) -> Iterator[tuple[Task, str | None, str]]:
    """Every task with the flowable task around it and the name of the list that it stands in, depth first."""
    lists = (
        ("tasks", flow.tasks),
        ("errors", flow.errors),
        ("finally", flow.finally_),
        ("afterExecution", flow.after_execution),
    )
    for branch, tasks in lists:
        yield from _inside(tasks, None, branch)


def _inside(tasks: Sequence[Task], parent: str | None, branch: str) -> Iterator[tuple[Task, str | None, str]]:
    for task in tasks:
        yield task, parent, branch
        if isinstance(task, FlowableTask):
            lists = {**task.branches(), "errors": task.errors, "finally": task.finally_}
            for name, inner in lists.items():
                yield from _inside(inner, task.id, name)


# --- task runs ---------------------------------------------------------------------------------------------------


async def task_runs(request: web.Request) -> web.StreamResponse:
    """The task runs of an execution, page by page, as of event `asOf` or now; narrowed by the other parameters."""
    key = key_of(request)
    moment = await as_of(request, key)
    await header_of(request, key)
    index = request.app[INDEX]
    wanted = page(request, default_size=_RUNS_A_PAGE)
    lasting = list(_lasting(request))
    passing = list(_passing(request))
    own: Filter = Match("executionId", Operation.EQUALS, key.execution_id)
    chosen: Filter
    if moment is None:
        chosen = AllOf((own, *lasting, *[each for each, _ in passing]))
    elif not passing:
        chosen = AllOf((existing(moment), *lasting))
    else:
        ids = await _then(request, key, moment, lasting, [holds for _, holds in passing])
        chosen = AllOf(
            (
                *lasting,
                AnyOf(
                    (
                        AllOf((settled(moment), *[each for each, _ in passing])),
                        AllOf((own, Match("id", Operation.IN, ids))),
                    )
                ),
            )
        )
    sorts = tuple(Sort(each.field, each.descending) for each in sorting(request))
    query = Query(
        kind="task_runs",
        filter=chosen,
        sort=sorts or (Sort("order"),),
        page=wanted.number,
        size=wanted.size,
    )
    found = await index.search(key.tenant, query)
    whole = flag(request, "outputs", default=True)
    if moment is None and whole:
        bodies = b",".join([each.body for each in found.results])
        return raw_answer(b'{"results":[' + bodies + b'],"total":%d}' % (found.total or 0))
    documents = [each.document for each in found.results]
    if moment is not None:
        documents = await runs_at(index, key.tenant, moment, documents)
    if not whole:
        for document in documents:
            document.pop("outputs", None)
    return json_answer({"results": documents, "total": found.total or 0})


async def task_run(request: web.Request) -> web.StreamResponse:
    """One task run, with its outputs, as of event `asOf` or now."""
    key = key_of(request)
    moment = await as_of(request, key)
    run_id = request.match_info["taskRunId"]
    found = await request.app[INDEX].get("task_runs", key.tenant, run_id)
    if found is None or found.document["executionId"] != key.execution_id:
        await header_of(request, key)
        raise not_found(f"the task run {run_id[:256]} of the execution {key.execution_id}")
    if moment is None:
        return raw_answer(found.body)
    documents = await runs_at(request.app[INDEX], key.tenant, moment, [found.document])
    if not documents:
        raise not_found(f"the task run {run_id[:256]} as of event {moment.number}")
    return json_answer(documents[0])


Holds = Callable[[Document], bool]


async def _then(
    request: web.Request, key: ExecutionKey, moment: Moment, lasting: list[Filter], conditions: list[Holds]
) -> list[str]:
    """The ids of those that changed since and were as is asked for."""
    narrowed = AllOf(tuple(lasting)) if lasting else None
    return [
        document["id"]
        async for document in changed_runs(request.app[INDEX], key.tenant, moment, narrowed)
        if all(holds(document) for holds in conditions)
    ]


def _lasting(request: web.Request) -> Iterator[Filter]:
    """What a task run has from its first event on."""
    for name in ("taskId", "parentTaskRunId", "value"):
        given = texts(request, name) if name == "taskId" else request.query.getall(name, [])
        if given:
            yield Match(name, Operation.IN, list(given))
    for name, operation in (
        ("iterationFrom", Operation.GREATER_THAN_OR_EQUAL_TO),
        ("iterationTo", Operation.LESS_THAN_OR_EQUAL_TO),
    ):
        number = integer(request, name, least=0)
        if number is not None:
            yield Match("iteration", operation, number)
    if request.query.get("root") == "true":
        yield Match("parentTaskRunId", Operation.IS_NULL)
    if request.query.get("q", "").strip():
        yield Words(request.query["q"])
    until = request.query.get("to")
    if until:
        yield Match("startDate", Operation.LESS_THAN_OR_EQUAL_TO, read_moment(until, "to"))


def _passing(request: web.Request) -> Iterator[tuple[Filter, Holds]]:
    """What changes while it runs: a filter for those that are as they were, and the same of a document."""
    states = [state.upper() for state in texts(request, "state")]
    if states:
        unknown = sorted(set(states) - _STATES)
        if unknown:
            raise Problem(
                422, f"`state` must be one of {', '.join(sorted(_STATES))}, and not {unknown[0][:100]}"
            )
        yield Match("state", Operation.IN, states), lambda run: run["state"]["current"] in states
    seconds = integer(request, "longerThanSeconds", least=0)
    if seconds is not None:
        longer = Match("durationSeconds", Operation.GREATER_THAN, seconds)
        yield longer, lambda run: run.get("durationSeconds", 0) > seconds
    since = request.query.get("from")
    if since:
        moment = read_moment(since, "from")
        date = format_date(moment)
        open_or_later = AnyOf(
            (
                Match("endDate", Operation.IS_NULL),
                Match("endDate", Operation.GREATER_THAN_OR_EQUAL_TO, moment),
            )
        )
        yield open_or_later, lambda run: run["state"].get("endDate", date) >= date


# --- log lines ---------------------------------------------------------------------------------------------------


async def lines(request: web.Request) -> web.StreamResponse:
    """The log lines of an execution by time, page by page, as of event `asOf` or now, and how many of each level."""
    key = key_of(request)
    moment = await as_of(request, key)
    await header_of(request, key)
    wanted = page(request, default_size=_LINES_A_PAGE)
    parts: list[Filter] = [Match("executionId", Operation.EQUALS, key.execution_id)]
    for name in ("taskId", "taskRunId"):
        given = texts(request, name)
        if given:
            parts.append(Match(name, Operation.IN, given))
    attempt = integer(request, "attempt", least=0)
    if attempt is not None:
        parts.append(Match("attemptNumber", Operation.EQUALS, attempt))
    if request.query.get("q", "").strip():
        parts.append(Words(request.query["q"]))
    if moment is not None:
        parts.append(Match("timestamp", Operation.LESS_THAN_OR_EQUAL_TO, moment.at))
    index = request.app[INDEX]
    levels = await index.aggregate(key.tenant, "logs", filter=AllOf(tuple(parts)), groups=[Terms("level")])
    parts.extend(_levels(request))
    sorts = tuple(Sort(each.field, each.descending) for each in sorting(request))
    query = Query(
        kind="logs",
        filter=AllOf(tuple(parts)),
        sort=sorts or (Sort("timestamp"),),
        page=wanted.number,
        size=wanted.size,
    )
    found = await index.search(key.tenant, query)
    bodies = b",".join([each.body for each in found.results])
    counted = msgspec.json.encode({str(bucket.keys[0]): bucket.count for bucket in levels})
    return raw_answer(
        b'{"results":[' + bodies + b'],"total":%d,"levels":' % (found.total or 0) + counted + b"}"
    )


def _levels(request: web.Request) -> Iterator[Filter]:
    given = texts(request, "level")
    if given:
        yield Match("level", Operation.IN, [read_level(each).value for each in given])
    minimum = request.query.get("minLevel")
    if minimum and read_level(minimum) is not Level.TRACE:
        yield at_least(read_level(minimum))
