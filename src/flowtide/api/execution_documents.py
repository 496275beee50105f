"""Executions as they are now, read where they are known best: the live view first, then the index.

In comes the key of an execution, out go its document or its task runs; Problem 404 for one that is not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces
from flowtide.api.keys import INDEX, LIVE_VIEW
from flowtide.api.parameters import segment, tenant
from flowtide.api.problems import Problem, not_found
from flowtide.index.queries import Found
from flowtide.log.keys import ExecutionKey

_RUNS_PER_PAGE = 1_000


def key_of(request: web.Request) -> ExecutionKey:
    """The execution that the path names.  Raises Problem 404."""
    return ExecutionKey(tenant(request), segment(request, "executionId"))


async def header_of(request: web.Request, key: ExecutionKey) -> dict[str, Any]:
    """The execution's document without its task runs.  Raises Problem 404."""
    view = request.app[LIVE_VIEW]
    live = view.get(key)
    if live is not None and live.header is not None and live.is_settled:
        return live.header
    found = await request.app[INDEX].get("executions", key.tenant, key.execution_id)
    is_newer = live is not None and (found is None or found.document["lastEvent"] <= live.number)
    if live is not None and live.header is not None and is_newer:
        return live.header
    if found is not None:
        return found.document
    created = view.created(key)
    if created is None:
        raise not_found(f"the execution {key.execution_id}")
    document: dict[str, Any] = msgspec.json.decode(created)
    return document


async def authorize_all(
    request: web.Request, ids: Iterable[str], found: Mapping[tuple[str, str], Found]
) -> None:
    """Insist that the caller may do to each of these executions what the route is for; unknown ones are passed over.

    `found` are the documents that the index gave already.  Raises Problem 403.
    """
    if authorized_namespaces(request) is None:
        return
    name = tenant(request)
    for each in ids:
        known = found.get((name, each))
        try:
            document = await header_of(request, ExecutionKey(name, each)) if known is None else known.document
        except Problem:
            continue
        authorize(request, str(document["namespace"]))


async def runs_of(request: web.Request, key: ExecutionKey) -> AsyncIterator[dict[str, Any]]:
    """The task runs of an execution in the order of their creation."""
    live = request.app[LIVE_VIEW].get(key)
    if live is not None and live.is_whole and live.document is not None:
        for run in live.document["taskRunList"]:
            yield run
        return
    index = request.app[INDEX]
    after: str | None = None
    while True:
        page = await index.task_runs(key.tenant, key.execution_id, size=_RUNS_PER_PAGE, after=after)
        for found in page.results:
            yield found.document
        after = page.next
        if after is None:
            return


async def run_of(request: web.Request, key: ExecutionKey, run_id: str) -> dict[str, Any] | None:
    """One task run of an execution; None when it has none of this id."""
    live = request.app[LIVE_VIEW].get(key)
    if live is not None and live.is_whole and live.document is not None:
        return next((run for run in live.document["taskRunList"] if run["id"] == run_id), None)
    found = await request.app[INDEX].get("task_runs", key.tenant, run_id)
    if found is None or found.document["executionId"] != key.execution_id:
        return None
    return found.document
