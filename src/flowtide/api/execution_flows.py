"""Flows for people who run them: what an execution form shows, and how a flow's executions went (FlowForExecution)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces
from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_json
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.flows import find_flow, wire
from flowtide.api.keys import CATALOG, INDEX
from flowtide.api.parameters import integer, segment, tenant
from flowtide.api.problems import Problem
from flowtide.api.searches import NORMAL, flows_of, of_flow, within
from flowtide.errors import FlowInvalid
from flowtide.index.queries import Match, Operation, Query, Sort
from flowtide.model.flowables import ForEachItem, Pause, Subflow
from flowtide.model.states import TERMINAL
from flowtide.model.task import FlowableTask, Task
from flowtide.services.catalog import SavedFlow

_LEFT_OUT = frozenset(
    {
        "tasks",
        "errors",
        "finally",
        "afterExecution",
        "triggers",
        "listeners",
        "pluginDefaults",
        "checks",
        "sla",
    }
    | {"concurrency", "retry", "source"}
)
_AT_ONCE = 8
_MOST_FLOWS = 1_000
_RECENT = 100
"""Executions that an average is made of: how long the flow takes these days."""


# --- the flow ----------------------------------------------------------------------------------------------------


async def get_flow(request: web.Request) -> web.StreamResponse:
    """A flow as somebody sees it who may run it: inputs and tasks, but not what tasks are made of."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "flowId")
    saved = find_flow(request, namespace, flow_id, integer(request, "revision", least=1))
    return json_answer(flow_for_execution(saved))


async def get_flow_of_execution(request: web.Request) -> web.StreamResponse:
    """The revision of the flow that an execution runs."""
    header = await header_of(request, key_of(request))
    saved = find_flow(request, header["namespace"], header["flowId"], header["flowRevision"])
    return json_answer(flow_for_execution(saved))


async def namespaces(request: web.Request) -> web.StreamResponse:
    """The namespaces that have flows which can be run."""
    allowed = authorized_namespaces(request)
    found = {
        saved.key.namespace
        for saved in request.app[CATALOG].flows(tenant(request))
        if within(saved.key.namespace, allowed) and not _is_disabled(saved)
    }
    return json_answer(sorted(found))


async def flows(request: web.Request) -> web.StreamResponse:
    """The flows of a namespace that can be run."""
    namespace = segment(request, "namespace")
    found = [saved for saved in flows_of(request, namespace) if not _is_disabled(saved)]
    return json_answer([flow_for_execution(saved) for saved in found])


def flow_for_execution(saved: SavedFlow) -> dict[str, Any]:
    """The FlowForExecution of a flow."""
    shown = {name: value for name, value in wire(saved, with_source=False).items() if name not in _LEFT_OUT}
    if "labels" in shown:  # a map here, unlike that of a Flow
        shown["labels"] = {label["key"]: label["value"] for label in shown["labels"]}
    try:
        flow = saved.flow
    except FlowInvalid:
        return {**shown, "tasks": []}
    shown["tasks"] = _tasks(flow.tasks)
    for name, tasks in (
        ("errors", flow.errors), ("finally", flow.finally_), ("afterExecution", flow.after_execution),
    ):  # fmt: skip  # a table
        if tasks:
            shown[name] = _tasks(tasks)
    if flow.triggers:
        shown["triggers"] = [_named(each.id, each.type, each.version) for each in flow.triggers]
    return shown


def _tasks(tasks: Iterable[Task]) -> list[dict[str, Any]]:
    return [_task(task) for task in tasks]


def _task(task: Task) -> dict[str, Any]:
    shown = _named(task.id, task.type, task.version)
    if isinstance(task, Subflow | ForEachItem):
        shown["subflowId"] = {"namespace": task.namespace, "flowId": task.flow_id}
        if task.revision is not None:
            shown["subflowId"]["revision"] = task.revision
    elif isinstance(task, FlowableTask):
        inside = [
            each for branch in (*task.branches().values(), task.errors, task.finally_) for each in branch
        ]
        if inside:
            shown["tasks"] = _tasks(inside)
    if isinstance(task, Pause) and task.on_resume:
        shown["inputs"] = [
            each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in task.on_resume
        ]
    return shown


def _named(identifier: str, kind: str, version: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": identifier, "type": kind}
    if version is not None:
        shown["version"] = version
    return shown


def _is_disabled(saved: SavedFlow) -> bool:
    if "disabled" not in saved.source:
        return False
    try:
        return saved.flow.disabled
    except FlowInvalid:
        return True


# --- how its executions went -------------------------------------------------------------------------------------


async def latest(request: web.Request) -> web.StreamResponse:
    """The latest execution of each of the flows of the body; flows without one are left out."""
    names = flow_names(await read_json(request))
    if len(names) > _MOST_FLOWS:
        raise Problem(400, f"at most {_MOST_FLOWS} flows can be asked for at once")
    allowed = authorized_namespaces(request)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def find(namespace: str, flow_id: str) -> dict[str, Any] | None:
        query = Query(
            kind="executions",
            filter=of_flow(namespace, flow_id, NORMAL),
            sort=(Sort("startDate", True),),
            size=1,
            count=False,
        )
        async with gate:
            found = (await request.app[INDEX].search(tenant(request), query)).results
        return found[0].document if found else None

    wanted = [name for name in dict.fromkeys(names) if within(name[0], allowed)]
    found = await asyncio.gather(*(find(*name) for name in wanted))
    return json_answer(
        [
            {
                "id": each["id"],
                "flowId": each["flowId"],
                "namespace": each["namespace"],
                "startDate": each["state"]["startDate"],
                "status": each["state"]["current"],
            }
            for each in found
            if each is not None
        ]
    )


def flow_names(value: Any) -> list[tuple[str, str]]:
    """Flows as requests name them: a list of objects with `namespace` and `id`.  Raises Problem 400."""
    if not isinstance(value, list) or not all(
        isinstance(each, dict) and isinstance(each.get("namespace"), str) and isinstance(each.get("id"), str)
        for each in value
    ):
        raise Problem(400, "the body must be a JSON array of objects with `namespace` and `id`")
    return [(each["namespace"], each["id"]) for each in value]


async def average_duration(request: web.Request) -> web.StreamResponse:
    """How long the last executions of a flow took on average, in seconds, and how many those were."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "flowId")
    authorize(request, namespace)
    find_flow(request, namespace, flow_id)
    over = Match("state", Operation.IN, [state.value for state in TERMINAL])
    query = Query(
        kind="executions",
        filter=of_flow(namespace, flow_id, NORMAL, over),
        sort=(Sort("startDate", True),),
        size=_RECENT,
        count=False,
    )
    found = (await request.app[INDEX].search(tenant(request), query)).results
    seconds = [each.document.get("durationSeconds", 0.0) for each in found]
    if not seconds:
        return json_answer({"count": 0})
    return json_answer({"averageDuration": sum(seconds) / len(seconds), "count": len(seconds)})
