"""Graphs: what a flow consists of, drawn, and how flows depend on each other (page 464, E054, E060, E078, E089)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from flowtide.api.access import may
from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_text
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.flows import find_flow, parse
from flowtide.api.keys import CATALOG, INDEX, LIVE_VIEW
from flowtide.api.parameters import flag, integer, segment, tenant, texts
from flowtide.api.searches import flows_of
from flowtide.errors import FlowInvalid
from flowtide.index.queries import Match, Operation, Terms
from flowtide.log.keys import ExecutionKey
from flowtide.model.access import Action, Permission
from flowtide.model.flow import Flow
from flowtide.model.flow_graph import Lookup, flow_graph
from flowtide.services.flow_links import FlowLinks, Link, Name

FLOW_LINKS: web.AppKey[FlowLinks] = web.AppKey("flow_links", FlowLinks)


# --- of a flow ---------------------------------------------------------------------------------------------------


async def of_flow(request: web.Request) -> web.StreamResponse:
    """The graph of a saved flow; `subflows` are the tasks that show the flow that they run."""
    saved = find_flow(
        request, segment(request, "namespace"), segment(request, "id"), integer(request, "revision", least=1)
    )
    return json_answer(_drawn(request, saved.flow))


async def of_source(request: web.Request) -> web.StreamResponse:
    """The graph of a flow that need not be saved."""
    flow = (await parse(request, await read_text(request))).valid()
    return json_answer(_drawn(request, flow))


async def of_execution(request: web.Request) -> web.StreamResponse:
    """The graph of an execution's flow, with how many runs of each task are in which state."""
    key = key_of(request)
    header = await header_of(request, key)
    saved = find_flow(request, header["namespace"], header["flowId"], header["flowRevision"])
    graph = _drawn(request, saved.flow)
    states = await _states(request, key)
    # What an opened subflow shows belongs to other executions.
    others = tuple(
        f"{each['cluster']['uid'].removeprefix('cluster_')}."
        for each in graph["clusters"]
        if each["cluster"]["type"].endswith(".SubflowGraphCluster")
    )
    for node in graph["nodes"]:
        counts = states.get(node.get("task", {}).get("id"))
        if counts and not node["uid"].startswith(others):
            node["states"] = counts
    return json_answer(graph)


async def _states(request: web.Request, key: ExecutionKey) -> dict[str, dict[str, int]]:
    """Task id -> state -> how many task runs."""
    live = request.app[LIVE_VIEW].get(key)
    counts: dict[str, Counter[str]] = {}
    if live is not None and live.is_whole and live.document is not None:
        for run in live.document["taskRunList"]:
            counts.setdefault(run["taskId"], Counter())[run["state"]["current"]] += 1
        return {task_id: dict(found) for task_id, found in counts.items()}
    buckets = await request.app[INDEX].aggregate(
        key.tenant,
        "task_runs",
        filter=Match("executionId", Operation.EQUALS, key.execution_id),
        groups=[Terms("taskId"), Terms("state")],
    )
    for bucket in buckets:
        task_id, state = bucket.keys
        counts.setdefault(str(task_id), Counter())[str(state)] = bucket.count
    return {task_id: dict(found) for task_id, found in counts.items()}


def _drawn(request: web.Request, flow: Flow) -> dict[str, Any]:
    return flow_graph(flow, opened=texts(request, "subflows"), lookup=_lookup(request))


def _lookup(request: web.Request) -> Lookup:
    catalog, owner = request.app[CATALOG], tenant(request)

    def lookup(namespace: str, flow_id: str, revision: int | None) -> Flow | None:
        saved = catalog.flow(owner, namespace, flow_id, revision)
        if saved is None or (saved.deleted and revision is None):
            return None
        if not (may(request, namespace, Permission.FLOW, Action.READ) or may(request, namespace)):
            return None
        try:
            return saved.flow
        except FlowInvalid:
            return None

    return lookup


# --- between flows -----------------------------------------------------------------------------------------------


async def dependencies(request: web.Request) -> web.StreamResponse:
    """The flows that a flow leads to, and unless `destinationOnly` those that lead to it; `expandAll` goes on."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    find_flow(request, namespace, flow_id)
    nodes, links = await around(request, (namespace, flow_id))
    return json_answer(_topology(tenant(request), nodes, links))


async def dependencies_of_namespace(request: web.Request) -> web.StreamResponse:
    """All flows of a namespace, those that depend on them, and those that they depend on."""
    namespace = segment(request, "namespace")
    links = await request.app[FLOW_LINKS].among(flows_of(request))
    own = sorted(name for name in links.names if name[0] == namespace)
    found = links.within(own, destinations_only=flag(request, "destinationOnly"))
    return json_answer(_topology(tenant(request), *found))


async def around(request: web.Request, name: Name) -> tuple[list[Name], list[Link]]:
    """The flows around one as the query string asks for them."""
    links = await request.app[FLOW_LINKS].among(flows_of(request))
    return links.of(
        name, destinations_only=flag(request, "destinationOnly"), all_levels=flag(request, "expandAll")
    )


def _topology(owner: str, nodes: Iterable[Name], links: Iterable[Link]) -> dict[str, Any]:
    return {
        "nodes": [{"uid": _uid(owner, name), "namespace": name[0], "id": name[1]} for name in nodes],
        "edges": [
            {
                "source": _uid(owner, link.source),
                "target": _uid(owner, link.target),
                "relation": link.relation.value,
            }
            for link in links
        ],
    }


def _uid(owner: str, name: Name) -> str:
    return f"{owner}_{name[0]}_{name[1]}"
