"""Executions as tables: a CSV document of those that filters find, and the values that a field of them has."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.filters import camel_case
from flowtide.api.keys import INDEX
from flowtide.api.parameters import integer, tenant
from flowtide.api.problems import Problem
from flowtide.api.searches import csv_line, csv_response, executions_filter
from flowtide.index.queries import Terms

_COLUMNS = (
    "id", "namespace", "flowId", "flowRevision", "state", "startDate", "endDate", "duration", "labels", "trigger",
    "parentId", "originalId", "kind", "scheduleDate",
)  # fmt: skip  # reads better as a paragraph
_FIELDS = {
    "namespace": "namespace",
    "flowId": "flowId",
    "flowRevision": "flowRevision",
    "state": "state",
    "kind": "kind",
    "triggerId": "triggerId",
    "parentId": "parentId",
    "triggerExecutionId": "parentId",
}
_PORTION = 100  # lines that are made before others have their turn
_MOST_VALUES = 10_000


async def export(request: web.Request) -> web.StreamResponse:
    """All executions that filters find, as CSV."""
    wanted = executions_filter(request)
    response = await csv_response(request, "executions.csv", _COLUMNS)
    async for portion in request.app[INDEX].scan(tenant(request), "executions", wanted, size=_PORTION):
        await response.write(b"".join([csv_line(_row(found.document)) for found in portion]))
    await response.write_eof()
    return response


def _row(document: dict[str, Any]) -> list[Any]:
    state = document["state"]
    shown = {
        **document,
        "state": state["current"],
        "startDate": state["startDate"],
        "endDate": state.get("endDate"),
        "duration": state.get("duration"),
        "labels": {label["key"]: label["value"] for label in document.get("labels", ())},
        "trigger": (document.get("trigger") or {}).get("id"),
    }
    return [shown.get(name) for name in _COLUMNS]


async def distinct_values(request: web.Request) -> web.StreamResponse:
    """The values that a field has among the executions that filters find."""
    name = request.query.get("field")
    if not name:
        raise Problem(422, "`field` is needed")
    field = _FIELDS.get(camel_case(name))
    if field is None:
        raise Problem(
            400, f"the values of `{name[:100]}` cannot be listed; those of {', '.join(_FIELDS)} can"
        )
    size = integer(request, "size", least=1, most=_MOST_VALUES, status=422) or 100
    buckets = await request.app[INDEX].aggregate(
        tenant(request), "executions", filter=executions_filter(request), groups=[Terms(field)]
    )
    return json_answer([str(bucket.keys[0]) for bucket in buckets[:size]])
