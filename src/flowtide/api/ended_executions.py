"""Executions that are over and are asked for something: found, read from the index, commanded, answered.

Shared by restarts, replays, changes of status and labels, for one execution and for many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_texts
from flowtide.api.execution_documents import authorize_all
from flowtide.api.keys import INDEX, LIVE_VIEW, LOG, SITE
from flowtide.api.parameters import segment, tenant
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import executions_filter
from flowtide.index.queries import AllOf, Match, Operation
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Message
from flowtide.model.commands import Command
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.services.live_view import LiveExecution
from flowtide.services.past import Past, PastMissing, read_past

_SECOND_LOOK = timedelta(seconds=1)
_PORTION = 500  # executions of a query that are asked at once
_AT_ONCE = 24  # of many executions, how many are told at the same time: they share transactions of the log
_MESSAGES = 50  # that one append carries
_LIKELY_ID = 256

Action = Callable[[web.Request, ExecutionKey], Awaitable[None]]
"""What is done to one of many executions; raises Problem when it cannot be done."""


def execution_key(request: web.Request) -> ExecutionKey:
    """The execution that the path names.  Raises Problem 404."""
    return ExecutionKey(tenant(request), segment(request, "executionId"))


@asynccontextmanager
async def watched(
    request: web.Request, key: ExecutionKey, *, over: bool = True
) -> AsyncIterator[LiveExecution]:
    """Watch an execution.  Raises Problem 404, and 409 when it is not over although it has to be."""
    view = request.app[LIVE_VIEW]
    async with view.watch(key) as live:
        if live.header is None and view.created(key) is not None:
            await live.until(lambda seen: seen.header is not None, request.app[SITE].answer_timeout)
        if live.header is None:
            raise not_found(f"the execution {key.execution_id}")
        # What the index shows may be a moment old; the log will tell.
        if over and not live.is_over and not await live.until(lambda seen: seen.is_over, _SECOND_LOOK):
            raise Problem(409, f"the execution {key.execution_id} is not over but {live.state}")
        yield live


async def past_of(
    request: web.Request, key: ExecutionKey, live: LiveExecution | None, *, closed: bool = True
) -> Past:
    """The execution as its events tell it.  Raises Problem 503 when the index does not have all of them."""
    last = live.number if live is not None else 0
    try:
        return await read_past(
            request.app[INDEX],
            key,
            last_event=last,
            closed=closed,
            patience=request.app[SITE].answer_timeout,
        )
    except PastMissing as error:
        raise Problem(503, f"{error}; try again in a moment") from None


async def send(request: web.Request, key: ExecutionKey, commands: Sequence[Command]) -> None:
    """Give an execution commands, in their order.  Raises LogUnavailable, MessageTooLarge."""
    for first in range(0, len(commands), _MESSAGES):
        await request.app[LOG].append(
            [
                Message(topic="execution_commands", key=str(key), value=encode(command))
                for command in commands[first : first + _MESSAGES]
            ]
        )


async def effect(request: web.Request, live: LiveExecution, noun: str, before: int) -> bool:
    """Wait until a command led to events; False when it did not within the time for answers."""
    return await live.until(lambda seen: seen.causes[noun] > before, request.app[SITE].answer_timeout)


# --- many --------------------------------------------------------------------------------------------------------


async def for_ids(
    request: web.Request,
    action: Action,
    *,
    allowed: Callable[[str], bool],
    refusal: str,
    ids: Sequence[str] | None = None,
) -> web.StreamResponse:
    """Do something to the executions of the body's ids: to all of them or to none.

    An unknown or unfit one refuses the request with what is wrong with each (BulkErrorResponse).
    """
    name = tenant(request)
    wanted = list(dict.fromkeys(await read_texts(request) if ids is None else ids))
    found = await request.app[INDEX].get_many("executions", [(name, each) for each in wanted])
    await authorize_all(request, wanted, found)
    invalid: dict[str, str] = {}
    for each in wanted:
        live = request.app[LIVE_VIEW].get(ExecutionKey(name, each))
        document = found.get((name, each))
        state = live.state if live is not None else None
        if state is None and document is not None:
            state = str(document.document["state"]["current"])
        if state is None:
            invalid[each[:_LIKELY_ID]] = "does not exist"
        elif not allowed(state):
            invalid[each[:_LIKELY_ID]] = refusal.format(state=state)
    if invalid:
        return json_answer(
            {"message": "some executions cannot be told so; none was", "invalids": invalid}, status=422
        )
    return await answer_for(request, action, [ExecutionKey(name, each) for each in wanted])


async def for_query(
    request: web.Request, action: Action, *, allowed: Callable[[str], bool]
) -> web.StreamResponse:
    """Do something to those executions that filters find and that are fit for it."""
    states = [state.value for state in State if allowed(state.value)]
    wanted = AllOf((executions_filter(request), Match("state", Operation.IN, states)))
    name = tenant(request)
    # Those found first: what is done to them may make new ones that fit too.
    keys = [
        ExecutionKey(name, found.id)
        async for portion in request.app[INDEX].scan(name, "executions", wanted, size=_PORTION)
        for found in portion
    ]
    return await answer_for(request, action, keys)


async def answer_for(
    request: web.Request, action: Action, keys: Sequence[ExecutionKey]
) -> web.StreamResponse:
    """Do something to all of these, some at a time.  Raises LogUnavailable, IndexUnavailable."""
    failures: dict[str, str] = {}
    left = iter(keys)

    async def act() -> None:
        for key in left:  # all take from one row, so that no more of them stand in memory than act at once
            try:
                await action(request, key)
            except Problem as problem:
                failures[key.execution_id] = problem.message

    try:
        async with asyncio.TaskGroup() as group:  # when one cannot reach the log, the others end as well
            for _ in range(min(_AT_ONCE, len(keys))):
                group.create_task(act())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if failures:
        return json_answer(
            {"message": f"{len(keys) - len(failures)} of {len(keys)} were told so", "invalids": failures},
            status=422,
        )
    return json_answer({"count": len(keys)})
