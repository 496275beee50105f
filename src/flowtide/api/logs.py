"""Log lines: search, by execution, as text, and as they come (G_endpoints, logs)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from flowtide.api import event_streams
from flowtide.api.answers import raw_answer
from flowtide.api.event_streams import EventStream
from flowtide.api.filters import read_level
from flowtide.api.index_progress import is_indexed
from flowtide.api.keys import INDEX, LIVE_VIEW, LOG_LINES
from flowtide.api.parameters import integer, page, segment, sorting, tenant
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import logs_filter, of_flow
from flowtide.index.port import at_least
from flowtide.index.queries import AllOf, Filter, Match, Operation, Query, Sort
from flowtide.log.keys import ExecutionKey, TriggerKey
from flowtide.model.entries import LOG_DECODER, Level
from flowtide.model.records import UNREADABLE, format_date

_PAGE = 1_000
_QUIET = timedelta(
    seconds=2
)  # after the end of the execution: no line for so long means that there are no more


async def search(request: web.Request) -> web.StreamResponse:
    """Find log lines by filters, in either spelling."""
    wanted = page(request)
    sorts = tuple(Sort(each.field, each.descending) for each in sorting(request))
    query = Query(
        kind="logs",
        filter=logs_filter(request),
        sort=sorts or (Sort("timestamp", True),),
        page=wanted.number,
        size=wanted.size,
    )
    found = await request.app[INDEX].search(tenant(request), query)
    bodies = b",".join([each.body for each in found.results])
    return raw_answer(b'{"results":[' + bodies + b'],"total":%d,"type":"OFFSET"}' % (found.total or 0))


async def list_of_execution(request: web.Request) -> web.StreamResponse:
    """All lines of an execution, by time."""
    response: web.StreamResponse | None = None
    first = True
    async for bodies, is_last in _lines(request):
        content = b",".join(bodies)
        if is_last and response is None:
            return raw_answer(b"[" + content + b"]")
        if response is None:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
        await response.write((b"[" if first else b",") + content + (b"]" if is_last else b""))
        first = False
    assert response is not None
    await response.write_eof()
    return response


async def download(request: web.Request) -> web.StreamResponse:
    """All lines of an execution as text."""
    key = _key(request)
    disposition = f'attachment; filename="{key.execution_id}.log"'
    response = web.StreamResponse(
        headers={"Content-Type": "text/plain; charset=utf-8", "Content-Disposition": disposition}
    )
    async for bodies, _ in _lines(request):
        if not response.prepared:
            await response.prepare(request)
        await response.write("".join([_as_text(body) for body in bodies]).encode(errors="replace"))
    await response.write_eof()
    return response


async def follow(request: web.Request) -> web.StreamResponse:
    """Server-sent events: an empty one, then each line, those that are there already first."""
    key, minimum = _key(request), _minimum_level(request)
    view = request.app[LIVE_VIEW]
    async with view.watch(key) as live:
        if live.header is None and view.created(key) is None:
            raise not_found(f"the execution {key.execution_id}")
        async with (
            request.app[LOG_LINES].follow(key, minimum) as lines,
            EventStream(request) as stream,
        ):
            await stream.send(b"{}", event_id="start", name="start")
            while True:
                over = live.is_over
                line = await lines.next(_QUIET if over else event_streams.HEARTBEAT)
                if line is not None:
                    await stream.send(line, event_id="progress", name="progress")
                elif over:
                    break
                else:
                    await stream.heartbeat()
            await stream.send(b"{}", event_id="end", name="end")
            return stream.response


async def delete_of_execution(request: web.Request) -> web.StreamResponse:
    """Delete lines of an execution: all of them, or those of a level, task, task run or attempt."""
    key = _key(request)
    minimum, attempt = _minimum_level(request), integer(request, "attempt", least=0)
    await _require_execution(request, key)
    parts: list[Filter] = [Match("executionId", Operation.EQUALS, key.execution_id)]
    if minimum is not Level.TRACE:
        parts.append(at_least(minimum))
    parts.extend(
        Match(name, Operation.EQUALS, request.query[name])
        for name in ("taskRunId", "taskId")
        if request.query.get(name)
    )
    if attempt is not None:
        parts.append(Match("attemptNumber", Operation.EQUALS, attempt))
    await _delete(request, key.tenant, str(key), AllOf(tuple(parts)))
    return web.Response(status=204)


async def delete_of_flow(request: web.Request) -> web.StreamResponse:
    """Delete the lines that a trigger of a flow wrote (`triggerId`)."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "flowId")
    trigger_id = request.query.get("triggerId")
    if not trigger_id:
        raise Problem(422, "`triggerId` is needed")
    owner = tenant(request)
    wanted = of_flow(namespace, flow_id, Match("triggerId", Operation.EQUALS, trigger_id))
    await _delete(request, owner, str(TriggerKey(owner, namespace, flow_id, trigger_id)), wanted)
    return web.Response(status=204)


async def _delete(request: web.Request, owner: str, key: str, wanted: Filter) -> None:
    """Lines that are still on their way to the index are waited for, so that they do not come afterwards."""
    if not await is_indexed(request, {key}, ("logs",)):
        raise Problem(503, "the index does not have all lines yet; try again in a moment")
    await request.app[INDEX].refresh()
    await request.app[INDEX].delete(owner, "logs", wanted)
    await request.app[INDEX].refresh()


async def _lines(request: web.Request) -> AsyncIterator[tuple[list[bytes], bool]]:
    """The lines that the parameters ask for, in portions, and whether a portion is the last one.

    Raises Problem 404 when there is no such execution.
    """
    key, index = _key(request), request.app[INDEX]
    minimum = _minimum_level(request)
    attempt = integer(request, "attempt", least=0)
    after: str | None = None
    first = True
    while True:
        found = await index.logs(
            key.tenant,
            key.execution_id,
            minimum_level=minimum,
            task_run_id=request.query.get("taskRunId") or None,
            task_id=request.query.get("taskId") or None,
            attempt=attempt,
            size=_PAGE,
            after=after,
        )
        if first and not found.results:
            await _require_execution(request, key)
        first = False
        after = found.next
        yield [each.body for each in found.results], after is None
        if after is None:
            return


async def _require_execution(request: web.Request, key: ExecutionKey) -> None:
    if request.app[LIVE_VIEW].get(key) is not None or request.app[LIVE_VIEW].created(key) is not None:
        return
    if await request.app[INDEX].get("executions", key.tenant, key.execution_id) is None:
        raise not_found(f"the execution {key.execution_id}")


def _as_text(body: bytes) -> str:
    try:
        entry = LOG_DECODER.decode(body)
    except UNREADABLE:
        return ""
    who = f" [{entry.task_id or entry.trigger_id}]" if entry.task_id or entry.trigger_id else ""
    return f"{format_date(entry.timestamp)} {entry.level.value}{who} {entry.message}\n"


def _minimum_level(request: web.Request) -> Level:
    text = request.query.get("minLevel") or request.query.get("filters[minLevel][EQUALS]")
    return read_level(text) if text else Level.TRACE


def _key(request: web.Request) -> ExecutionKey:
    return ExecutionKey(tenant(request), segment(request, "executionId"))
