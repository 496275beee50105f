"""Executions are deleted: one, those of many ids, or those that filters find, with what they left behind.

One that still runs is ended first, so that it gives its slot back and no worker goes on with it; what is removed is
gone when the answer comes (see `services.platform.records`).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web

from flowtide.api.access import authorize
from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_texts
from flowtide.api.ended_executions import send
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.index_progress import is_indexed
from flowtide.api.keys import CLOCK, INDEX, LIVE_VIEW, PLATFORMS, SITE
from flowtide.api.parameters import flag, tenant, user
from flowtide.api.problems import Problem
from flowtide.api.searches import executions_filter
from flowtide.index.queries import AllOf, Match, Operation, Query, Sort
from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import KillExecution
from flowtide.model.events import EVENT_DECODER, ExecutionClosed, ExecutionEnded
from flowtide.model.platform import ExecutionSelection
from flowtide.model.states import TERMINAL
from flowtide.services.live_view import LiveExecution

_TOPICS = ("execution_events", "logs", "metrics")
_TERMINAL = frozenset(state.value for state in TERMINAL)
_PORTION = 100
_AT_ONCE = 8
_LIKELY_ID = 256
_NOT_YET = "is about to end and cannot be deleted yet; try again"


@dataclass(frozen=True, kw_only=True)
class _Also:
    """What goes with the executions."""

    logs: bool
    metrics: bool
    files: bool


def _also(request: web.Request) -> _Also:
    return _Also(
        logs=flag(request, "deleteLogs", True),
        metrics=flag(request, "deleteMetrics", True),
        files=flag(request, "deleteStorage", True),
    )


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete an execution with its logs, metrics and files; one that runs is ended first."""
    key, also = key_of(request), _also(request)
    await header_of(request, key)
    if await _remove(request, [key], also):
        raise Problem(409, f"the execution {key.execution_id} {_NOT_YET}")
    return web.Response(status=204)


async def delete_by_ids(request: web.Request) -> web.StreamResponse:
    """Delete the executions of these ids; all must be over unless `includeNonTerminated=true`."""
    name, also = tenant(request), _also(request)
    with_running = flag(request, "includeNonTerminated")
    ids = list(dict.fromkeys(await read_texts(request)))
    invalid: dict[str, str] = {}
    for each in ids:
        try:
            header = await header_of(request, ExecutionKey(name, each))
        except Problem:
            invalid[each[:_LIKELY_ID]] = "does not exist"
            continue
        authorize(request, header["namespace"])
        state = header["state"]["current"]
        if not with_running and state not in _TERMINAL:
            invalid[each[:_LIKELY_ID]] = f"is not over but {state}"
    if invalid:
        return json_answer(
            {"message": "some executions cannot be deleted; none was", "invalids": invalid}, status=422
        )
    return await _remove_all(request, [ExecutionKey(name, each) for each in ids], also)


async def delete_by_query(request: web.Request) -> web.StreamResponse:
    """Delete the executions that filters find; those that run only with `includeNonTerminated=true`."""
    name, also = tenant(request), _also(request)
    wanted = executions_filter(request)
    if not flag(request, "includeNonTerminated"):
        wanted = AllOf((*wanted.parts, Match("state", Operation.IN, sorted(_TERMINAL))))
    keys = [
        ExecutionKey(name, found.id)
        async for portion in request.app[INDEX].scan(name, "executions", wanted, size=_PORTION)
        for found in portion
    ]
    return await _remove_all(request, keys, also)


async def _remove_all(request: web.Request, keys: list[ExecutionKey], also: _Also) -> web.StreamResponse:
    failures: dict[str, str] = {}
    for first in range(0, len(keys), _PORTION):
        failures.update(await _remove(request, keys[first : first + _PORTION], also))
    if failures:
        message = f"{len(keys) - len(failures)} of {len(keys)} were deleted"
        return json_answer({"message": message, "invalids": failures}, status=422)
    return json_answer({"count": len(keys)})


async def _remove(request: web.Request, keys: list[ExecutionKey], also: _Also) -> dict[str, str]:
    """Remove executions, at most a portion of them; gives why some could not be.  Raises Problem 503.

    (1) End those that run.  (2) Wait until the index has all that they wrote, or it would come afterwards.
    (3) Remove them.  (4) Only when the index is refreshed, searches no longer find them.
    """
    index, view = request.app[INDEX], request.app[LIVE_VIEW]
    gate = asyncio.Semaphore(_AT_ONCE)
    async with AsyncExitStack() as stack:

        async def watched(key: ExecutionKey) -> LiveExecution:
            async with gate:
                return await stack.enter_async_context(view.watch(key))

        lives = await asyncio.gather(*(watched(key) for key in keys))
        are_closed = await asyncio.gather(*(_ended(request, live) for live in lives))
        ended = [live for live, is_closed in zip(lives, are_closed, strict=True) if is_closed]
        if ended:
            if not await is_indexed(request, {str(live.key) for live in ended}, _TOPICS):
                raise Problem(503, "the index does not have all of this yet; try again in a moment")
            await index.refresh()
            await (
                request.app[PLATFORMS]
                .of(ended[0].key.tenant)
                .records.purge_executions(
                    ExecutionSelection(execution_ids=[live.key.execution_id for live in ended]),
                    executions=True,
                    logs=also.logs,
                    metrics=also.metrics,
                    files=also.files,
                    batch=_PORTION,
                )
            )
            for live in ended:
                view.forget_created(live.key)
                live.purge()
            await index.refresh()
    gone = {live.key for live in ended}
    return {key.execution_id: _NOT_YET for key in keys if key not in gone}


async def _ended(request: web.Request, live: LiveExecution) -> bool:
    """End it if it runs; whether nothing of it goes on within the time for answers."""
    app = request.app
    patience = app[SITE].answer_timeout
    if live.header is None and app[LIVE_VIEW].created(live.key) is not None:
        await live.until(lambda seen: seen.header is not None, patience)
    if live.header is not None and not live.is_over:
        await send(request, live.key, [KillExecution(at=app[CLOCK](), by=user(request))])
    if live.is_over and await _is_closed(request, live.key):
        return True
    return await live.until(lambda seen: seen.is_closed, patience)


async def _is_closed(request: web.Request, key: ExecutionKey) -> bool:
    """Whether the index knows that nothing follows any more: tasks may run after the end of an execution."""
    query = Query(
        kind="events",
        filter=AllOf(
            (
                Match("executionId", Operation.EQUALS, key.execution_id),
                Match("type", Operation.IN, [ExecutionEnded.__name__, ExecutionClosed.__name__]),
            )
        ),
        sort=(Sort("number", True),),
        size=1,
        count=False,
    )
    found = (await request.app[INDEX].search(key.tenant, query)).results
    if not found:
        return False
    event = EVENT_DECODER.decode(found[0].body)
    return isinstance(event, ExecutionClosed) or (isinstance(event, ExecutionEnded) and event.closed)
