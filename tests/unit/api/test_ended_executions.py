"""What is done to many executions: some at once, one row for all, and an end when the log is away."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from flowtide.api.ended_executions import answer_for
from flowtide.api.problems import Problem
from flowtide.errors import LogUnavailable
from flowtide.log.keys import ExecutionKey

KEYS = [ExecutionKey("main", str(number)) for number in range(2_000)]


async def test_many_executions_are_told_some_at_a_time() -> None:
    """Of thousands only some are in work at the same time, and no more tasks than that stand in memory."""
    now, most, most_tasks, seen = 0, 0, 0, 0

    async def action(request: web.Request, key: ExecutionKey) -> None:
        nonlocal now, most, most_tasks, seen
        now, seen = now + 1, seen + 1
        most, most_tasks = max(most, now), max(most_tasks, len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        now -= 1
        if key.execution_id == "7":
            raise Problem(409, "not this one")

    response = await answer_for(make_mocked_request("POST", "/"), action, KEYS)
    assert seen == len(KEYS)
    assert 1 < most <= most_tasks < 100
    assert response.status == 422


async def test_nothing_more_is_told_when_the_log_is_away() -> None:
    """The first that cannot be told ends all, with the error that says why."""
    seen = 0

    async def action(request: web.Request, key: ExecutionKey) -> None:
        nonlocal seen
        seen += 1
        await asyncio.sleep(0)
        raise LogUnavailable("the log is away")

    with pytest.raises(LogUnavailable):
        await answer_for(make_mocked_request("POST", "/"), action, KEYS)
    assert seen < 100
