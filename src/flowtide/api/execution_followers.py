"""Followers of executions that belong together: those that came of one cause, in the flows around that of one of them.

Server-sent events: the state of each, and of each again when it changes, until all are over (E082).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from aiohttp import web

from flowtide.api import event_streams
from flowtide.api.event_streams import EventStream
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.graphs import around
from flowtide.api.keys import INDEX, LIVE_VIEW
from flowtide.api.searches import visible
from flowtide.index.documents import CORRELATION, Document
from flowtide.index.queries import HasLabel, Query, Sort
from flowtide.model.records import encode
from flowtide.model.states import TERMINAL

_TERMINAL = frozenset(state.value for state in TERMINAL)
_LOOK = timedelta(milliseconds=500)
_QUIET = timedelta(seconds=2)
"""After the end of all that are known: none came for so long, and none will."""

_MOST = 1_000  # executions that are followed


async def follow_dependencies(request: web.Request) -> web.StreamResponse:
    """Follow the executions of the same correlation id in the flows around that of the execution."""
    key = key_of(request)
    header = await header_of(request, key)
    own = (header["namespace"], header["flowId"])
    names, _ = await around(request, own)
    flows = set(names) | {own}
    correlation = next(
        (label["value"] for label in header.get("labels", ()) if label["key"] == CORRELATION),
        key.execution_id,
    )
    query = Query(
        kind="executions",
        filter=visible(request, HasLabel(CORRELATION, correlation)),
        sort=(Sort("startDate"),),
        size=_MOST,
        count=False,
    )
    loop, index = asyncio.get_running_loop(), request.app[INDEX]
    shown: dict[str, int] = {}
    found: dict[str, Document] = {}
    looked: int | None = None
    async with request.app[LIVE_VIEW].watch(key) as live, EventStream(request) as stream:
        await stream.send(b"{}", event_id="start", name="start")
        changed = beaten = loop.time()
        while True:
            written = index.writes("executions")
            if (
                written is None or written != looked
            ):  # most of the time nothing is new for hundreds of followers
                looked = written
                found = {each.id: each.document for each in (await index.search(key.tenant, query)).results}
            if live.header is not None:
                found[key.execution_id] = live.header
            elif key.execution_id not in found:
                found[key.execution_id] = header
            for identifier, document in found.items():
                if (document["namespace"], document["flowId"]) not in flows:
                    continue
                number = int(document.get("lastEvent", 0))
                if shown.get(identifier, -1) < number:
                    shown[identifier] = number
                    changed = beaten = loop.time()
                    await stream.send(encode(_status(document)), event_id=identifier, name="progress")
            all_over = all(each["state"]["current"] in _TERMINAL for each in found.values())
            if all_over and loop.time() - changed >= _QUIET.total_seconds():
                break
            if loop.time() - beaten >= event_streams.HEARTBEAT.total_seconds():
                beaten = loop.time()
                await stream.heartbeat()
            await live.change(live.number, _LOOK)
        await stream.send(b"{}", event_id="end", name="end")
        return stream.response


def _status(document: Document) -> dict[str, Any]:
    return {
        "executionId": document["id"],
        "tenantId": document["tenantId"],
        "namespace": document["namespace"],
        "flowId": document["flowId"],
        "state": document["state"],
    }
