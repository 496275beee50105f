"""Executions: create, read, search and follow (page 462, EXE-01 to EXE-08)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api import event_streams
from flowtide.api.answers import json_answer, raw_answer
from flowtide.api.bodies import read_form
from flowtide.api.event_streams import EventStream
from flowtide.api.execution_moments import as_of as moment_asked
from flowtide.api.execution_moments import header
from flowtide.api.filters import read_moment
from flowtide.api.flows import find_flow
from flowtide.api.input_answers import evaluated, unasked_of
from flowtide.api.keys import CIPHER, INDEX, LIVE_VIEW, NEW_IDENTIFIER, SITE
from flowtide.api.parameters import (
    breakpoints,
    flag,
    integer,
    labels,
    page,
    segment,
    sorting,
    tenant,
)
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import NORMAL, executions_filter, visible
from flowtide.api.starts import (
    Start,
    execution_url,
    failed_checks,
    flow_variables,
    means,
    place_files,
    put_files,
    resolved_inputs,
    start_execution,
)
from flowtide.index.documents import BaseMissing
from flowtide.index.history import as_of
from flowtide.index.port import Index
from flowtide.index.queries import AllOf, Filter, Match, Operation, Page, Query, Sort
from flowtide.log.keys import ExecutionKey
from flowtide.model.encrypted import opened
from flowtide.model.input_resolution import evaluate_inputs
from flowtide.model.records import Label
from flowtide.services.repeats import is_taken_over

_KINDS = ("NORMAL", "TEST", "PLAYGROUND")
_RUNS_PER_PAGE = 1_000
_LATEST_EVENT = 1_000_000


# --- create ------------------------------------------------------------------------------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """Start an execution of a flow; with `wait=true` answer when it is over."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    saved = find_flow(request, namespace, flow_id, integer(request, "revision", least=1))
    flow = saved.flow
    kind = request.query.get("kind") or None
    if kind is not None and kind not in _KINDS:
        raise Problem(422, f"`kind` must be one of {', '.join(_KINDS)}")
    given_labels = _own_labels(labels(request))
    date = request.query.get("scheduleDate") or None
    key = ExecutionKey(tenant(request), request.app[NEW_IDENTIFIER]())
    async with read_form(request) as form:
        uris = place_files(form, key, flow)
        variables = flow_variables(key, flow, saved.revision)
        inputs = await resolved_inputs(request, flow.inputs, form.values, variables)
        await put_files(request, form, key.tenant, uris)
    start = Start(
        key=key,
        flow=flow,
        revision=saved.revision,
        inputs=inputs,
        labels=given_labels,
        kind=None if kind == "NORMAL" else kind,
        schedule_date=None if date is None else read_moment(date, "scheduleDate"),
        breakpoints=breakpoints(request) or (),
    )
    url = execution_url(request, start)
    if not flag(request, "wait"):
        return json_answer({**await start_execution(request, start), "url": url})
    async with request.app[LIVE_VIEW].watch(key, new=not is_taken_over()) as live:
        created = await start_execution(request, start, live)
        await live.until(lambda seen: seen.is_over, request.app[SITE].wait_timeout)
        if live.is_over:
            request.app[LIVE_VIEW].keep(live)
        return json_answer({**(live.document or created), "url": url})


async def validate_creation(request: web.Request) -> web.StreamResponse:
    """What a creation with these inputs would say, input by input, without creating anything."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    saved = find_flow(request, namespace, flow_id, integer(request, "revision", least=1))
    flow = saved.flow
    key = ExecutionKey(tenant(request), request.app[NEW_IDENTIFIER]())
    async with read_form(request) as form:
        place_files(form, key, flow)
        variables = flow_variables(key, flow, saved.revision)
        resolved = evaluate_inputs(flow.inputs, form.values, means(request, variables), variables)
        answer = evaluated(resolved) + unasked_of(flow.inputs, form.values)
    cipher = request.app.get(CIPHER)
    values = {each.input.id: opened(each.value, cipher, tenant_id=key.tenant) for each in resolved}
    checks = failed_checks(request, flow, {**variables, "inputs": values})
    return json_answer(
        {
            "id": flow.id,
            "namespace": flow.namespace,
            "inputs": answer,
            "checks": [
                {"message": each.message, "style": each.style, "behavior": each.behavior} for each in checks
            ],
        }
    )


def _own_labels(given: list[Label]) -> list[Label]:
    for label in given:
        if label.key.startswith("system.") and label.key != "system.correlationId":
            raise Problem(422, f"the label `{label.key}` is set by the system only")
    return given


# --- read --------------------------------------------------------------------------------------------------------


async def get(request: web.Request) -> web.StreamResponse:
    """One execution with its task runs, or without by `taskRuns=false`; with `asOf=N` as it was after event N."""
    key = _key(request)
    if not flag(request, "taskRuns", default=True):
        return json_answer(await header(request, key, await moment_asked(request, key)))
    number = integer(request, "asOf", least=0, most=_LATEST_EVENT)
    if number is not None:
        return json_answer(await _as_of(request, key, number))
    live = request.app[LIVE_VIEW].get(key)
    if live is not None and live.body is not None and live.is_settled and live.is_whole:
        return raw_answer(live.body)
    index = request.app[INDEX]
    found = await index.get("executions", key.tenant, key.execution_id)
    is_newer = found is None or (live is not None and found.document["lastEvent"] <= live.number)
    if live is not None and live.body is not None and live.is_whole and is_newer:
        return raw_answer(live.body)
    if found is None:
        created = request.app[LIVE_VIEW].created(key)
        if created is None:
            raise not_found(f"the execution {key.execution_id}")
        return raw_answer(created)
    request.app[LIVE_VIEW].forget_created(key)
    return await _whole(request, index, key, found.body)


async def _whole(request: web.Request, index: Index, key: ExecutionKey, header: bytes) -> web.StreamResponse:
    """Put header and task runs together; what is more than a page is sent while it is read."""
    page_of_runs = await index.task_runs(key.tenant, key.execution_id, size=_RUNS_PER_PAGE)
    if page_of_runs.next is None and not _agrees(header, page_of_runs):
        # Documents are read as last written, and searches see them a moment later (a second on Elasticsearch).
        await index.refresh()
        page_of_runs = await index.task_runs(key.tenant, key.execution_id, size=_RUNS_PER_PAGE)
    start = header[:-1] + b',"taskRunList":['
    runs = b",".join([found.body for found in page_of_runs.results])
    if page_of_runs.next is None:
        return raw_answer(start + runs + b"]}")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(start + runs)
    after: str | None = page_of_runs.next
    while after is not None:
        page_of_runs = await index.task_runs(key.tenant, key.execution_id, size=_RUNS_PER_PAGE, after=after)
        after = page_of_runs.next
        if page_of_runs.results:
            await response.write(b"," + b",".join([found.body for found in page_of_runs.results]))
    await response.write(b"]}")
    await response.write_eof()
    return response


class _RunState(msgspec.Struct):
    current: str


class _Run(msgspec.Struct):
    state: _RunState


class _Header(msgspec.Struct, rename="camel"):
    task_run_count: dict[str, int]


_RUN_STATE = msgspec.json.Decoder(_Run)
_HEADER = msgspec.json.Decoder(_Header)


def _agrees(header: bytes, runs: Page) -> bool:
    """Whether the task runs that were found are those that the header counts: how many, and how they ended."""
    states = Counter(_RUN_STATE.decode(found.body).state.current for found in runs.results)
    counts = dict(_HEADER.decode(header).task_run_count)
    total = counts.pop("total", 0)
    return total == states.total() and all(states[state] == count for state, count in counts.items())


async def _as_of(request: web.Request, key: ExecutionKey, number: int) -> dict[str, Any]:
    try:
        snapshot = await as_of(request.app[INDEX], key.tenant, key.execution_id, number)
    except BaseMissing:
        raise Problem(410, "the first events of this execution are no longer kept") from None
    if snapshot is None:
        raise not_found(f"the execution {key.execution_id}")
    return {**snapshot.execution, "taskRunList": snapshot.task_runs}


async def search(request: web.Request) -> web.StreamResponse:
    """Find executions by filters, in either spelling."""
    return await _search(request, executions_filter(request))


async def list_of_flow(request: web.Request) -> web.StreamResponse:
    """The executions of one flow."""
    parts: list[Filter] = []
    for name in ("namespace", "flowId"):
        value = request.query.get(name)
        if not value:
            raise Problem(422, f"`{name}` is needed")
        parts.append(Match(name, Operation.EQUALS, value))
    return await _search(request, visible(request, AllOf((*parts, NORMAL))))


async def _search(request: web.Request, wanted_filter: Filter) -> web.StreamResponse:
    wanted = page(request)
    sorts = tuple(Sort(each.field, each.descending) for each in sorting(request))
    query = Query(
        kind="executions",
        filter=wanted_filter,
        sort=sorts or (Sort("state.startDate", True),),
        page=wanted.number,
        size=wanted.size,
    )
    found = await request.app[INDEX].search(tenant(request), query)
    return _raw_page([each.body for each in found.results], found.total or 0)


def _raw_page(bodies: list[bytes], total: int) -> web.Response:
    return raw_answer(b'{"results":[' + b",".join(bodies) + b'],"total":%d}' % total)


# --- follow ------------------------------------------------------------------------------------------------------


async def follow(request: web.Request) -> web.StreamResponse:
    """Server-sent events: an empty one, then the whole execution after each change, until it is over."""
    key = _key(request)
    view = request.app[LIVE_VIEW]
    async with view.watch(key) as live:
        if live.header is None and view.created(key) is None:
            raise not_found(f"the execution {key.execution_id}")
        async with EventStream(request) as stream:
            # Clients skip what has no data, and take anything else for an execution with a state (page 032).
            await stream.send(b"", event_id="start", name="start")
            seen = -1
            while True:
                body = live.body
                if body is not None and live.number != seen:
                    seen = live.number
                    name = "end" if live.is_over else "progress"
                    if name == "end":
                        view.keep(
                            live
                        )  # whoever saw the end here sees it elsewhere, too, before the index has it
                    await stream.send(body, event_id=name, name=name)
                    if name == "end":
                        break
                    await stream.pace(body)
                elif not await live.change(seen, event_streams.HEARTBEAT):
                    await stream.heartbeat()
            return stream.response


def _key(request: web.Request) -> ExecutionKey:
    return ExecutionKey(tenant(request), segment(request, "executionId"))
