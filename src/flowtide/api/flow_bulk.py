"""Flows, many at once: switched off and on, deleted, by their names or by filters."""

from __future__ import annotations

from aiohttp import web

from flowtide.api.access import authorize
from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_json
from flowtide.api.execution_flows import flow_names
from flowtide.api.flows import delete_saved, find_flow, parse, save
from flowtide.api.problems import Problem
from flowtide.api.searches import found_flows
from flowtide.errors import FlowInvalid
from flowtide.model.source_edits import with_disabled
from flowtide.services.catalog import SavedFlow

_MOST_FLOWS = 10_000


async def disable_by_ids(request: web.Request) -> web.StreamResponse:
    """Switch flows off; those that are off already do not count."""
    return await _switch(request, await named_flows(request), disabled=True)


async def disable_by_query(request: web.Request) -> web.StreamResponse:
    """Switch the flows off that filters find."""
    return await _switch(request, await found_flows(request), disabled=True)


async def enable_by_ids(request: web.Request) -> web.StreamResponse:
    """Switch flows on; those that are on already do not count."""
    return await _switch(request, await named_flows(request), disabled=False)


async def enable_by_query(request: web.Request) -> web.StreamResponse:
    """Switch the flows on that filters find."""
    return await _switch(request, await found_flows(request), disabled=False)


async def delete_by_ids(request: web.Request) -> web.StreamResponse:
    """Delete the flows of `[{"namespace": ..., "id": ...}]`."""
    return await _delete(request, await named_flows(request))


async def delete_by_query(request: web.Request) -> web.StreamResponse:
    """Delete the flows that filters find."""
    return await _delete(request, await found_flows(request))


async def named_flows(request: web.Request) -> list[SavedFlow]:
    """The flows that the body names, each once.  Raises Problem 400, 403, 404."""
    names = list(dict.fromkeys(flow_names(await read_json(request))))
    if len(names) > _MOST_FLOWS:
        raise Problem(400, f"at most {_MOST_FLOWS} flows can be named at once")
    for namespace, _ in names:
        authorize(request, namespace)
    return [find_flow(request, namespace, flow_id) for namespace, flow_id in names]


async def _switch(request: web.Request, flows: list[SavedFlow], *, disabled: bool) -> web.StreamResponse:
    count = 0
    for saved in flows:
        try:
            if saved.flow.disabled is disabled:
                continue
        except FlowInvalid:
            continue  # it cannot be read here, and a source that cannot be read is not changed
        source = with_disabled(saved.source, disabled)
        flow = (await parse(request, source)).valid()
        await save(request, flow, source)
        count += 1
    return json_answer({"count": count})


async def _delete(request: web.Request, flows: list[SavedFlow]) -> web.StreamResponse:
    count = 0
    for saved in flows:
        count += await delete_saved(request, saved)
    return json_answer({"count": count})
