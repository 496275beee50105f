"""The audit log over HTTP: searched, exported, compared; of one tenant, or of all of them for superadmins (AUD-05)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import yaml
from aiohttp import web

from flowtide.api.access import may
from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.bodies import read_json
from flowtide.api.filters import Condition, FilterContext, index_filter, read_conditions
from flowtide.api.keys import CATALOG, CLOCK, INDEX
from flowtide.api.listed import plain_conditions
from flowtide.api.parameters import page, sorting, tenant
from flowtide.api.problems import Problem, not_found
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.index.queries import AllOf, Filter, HasLabel, Match, Operation, Query, Sort
from flowtide.model.access import Action, Permission

_TEXT: Final = frozenset(
    {Operation.EQUALS, Operation.NOT_EQUALS, Operation.IN, Operation.NOT_IN, Operation.CONTAINS,
     Operation.STARTS_WITH, Operation.ENDS_WITH, Operation.PREFIX}
)  # fmt: skip  # reads better as a paragraph
_ORDER: Final = frozenset(
    {Operation.EQUALS, Operation.GREATER_THAN, Operation.GREATER_THAN_OR_EQUAL_TO, Operation.LESS_THAN,
     Operation.LESS_THAN_OR_EQUAL_TO}
)  # fmt: skip  # reads better as a paragraph
_FIELDS: Final = {
    "q": {Operation.EQUALS},
    "resource": _TEXT,
    "resources": _TEXT,
    "type": _TEXT,
    "action": _TEXT,
    "actions": _TEXT,
    "user": _TEXT,
    "userId": _TEXT,
    "namespace": _TEXT,
    "detailId": _TEXT,
    "details": {Operation.EQUALS, Operation.NOT_EQUALS},
    "labels": {Operation.EQUALS, Operation.NOT_EQUALS},
    "startDate": _ORDER,
    "endDate": _ORDER,
    "timeRange": {Operation.EQUALS},
}
_NAMES: Final = {
    "resources": "resource",
    "actions": "action",
    "type": "action",
    "user": "actor.id",
    "userId": "actor.id",
    "timestamp": "date",
    "details": "labels",
}
_COLUMNS: Final = (
    "date", "tenantId", "resource", "action", "userId", "userType", "ipAddress", "impersonatedBy", "details", "id"
)  # fmt: skip  # the head of a table
_PERMISSIONS: Final = {"KV_STORE": "KVSTORE", "NAMESPACE_FILE": "FLOW", "TRIGGER": "FLOW"}
"""The permission over a resource, where it has another name."""

_MOST_MERGED: Final = 10_000
_HISTORY: Final = 1_000


async def search(request: web.Request) -> web.StreamResponse:
    """A page of the tenant's audit log, the latest entries first."""
    wanted = page(request)
    query = Query(
        kind="audit_logs",
        filter=_filter(request),
        sort=_sorts(request),
        page=wanted.number,
        size=wanted.size,
    )
    found = await request.app[INDEX].search(tenant(request), query)
    return page_answer([_item(each.document) for each in found.results], found.total or 0)


async def search_all(request: web.Request) -> web.StreamResponse:
    """A page of the audit log of all tenants, and of what belongs to none."""
    wanted = page(request)
    if wanted.offset + wanted.size > _MOST_MERGED:
        raise Problem(
            422, f"only the first {_MOST_MERGED} entries of all tenants can be paged; narrow the search"
        )
    sorts = _sorts(request)
    if sorts[0].field != "date":
        raise Problem(400, "entries of all tenants are sorted by `date`")
    total = 0
    documents: list[Mapping[str, Any]] = []
    for each in _tenants(request):
        query = Query(
            kind="audit_logs", filter=_filter(request), sort=sorts, size=wanted.offset + wanted.size
        )
        found = await request.app[INDEX].search(each, query)
        total += found.total or 0
        documents += [one.document for one in found.results]
    documents.sort(key=lambda document: document["date"], reverse=sorts[0].descending)
    shown = documents[wanted.offset : wanted.offset + wanted.size]
    return page_answer([_item(document) for document in shown], total)


async def find(request: web.Request) -> web.StreamResponse:
    """The latest entry of a resource, with an action and details."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(422, "the body must be an object with `resource`, `type` and `detail`")
    parts: list[Filter] = []
    for name, field in (("resource", "resource"), ("type", "action")):
        if body.get(name):
            parts.append(Match(field, Operation.EQUALS, str(body[name])))
    detail = body.get("detail") or {}
    if not isinstance(detail, dict):
        raise Problem(422, "`detail` must be an object")
    parts += [HasLabel(str(key), str(value)) for key, value in detail.items() if not isinstance(value, dict)]
    query = Query(
        kind="audit_logs", filter=AllOf(tuple(parts)), sort=(Sort("date", True),), size=1, count=False
    )
    found = await request.app[INDEX].search(tenant(request), query)
    if not found.results:
        raise not_found("an audit entry of that kind")
    return json_answer(_item(found.results[0].document))


async def history(request: web.Request) -> web.StreamResponse:
    """The entries of one thing, the latest first; none of an unknown one."""
    wanted = request.match_info["detailId"]
    own = Match("detailId", Operation.EQUALS, wanted)
    parts: list[Filter] = [own]
    wanted_resources = request.query.getall("resource", []) + request.query.getall("resources", [])
    parts += [Match("resource", Operation.EQUALS, text) for text in wanted_resources]
    query = Query(
        kind="audit_logs", filter=AllOf(tuple(parts)), sort=(Sort("date", True),), size=_HISTORY, count=False
    )
    found = await request.app[INDEX].search(tenant(request), query)
    return json_answer([_item(each.document) for each in found.results if _may_see(request, each.document)])


async def diff(request: web.Request) -> web.StreamResponse:
    """A thing before and after a change; with `previousId` since that other entry."""
    document = await _entry(request, tenant(request), request.match_info["id"])
    if not _may_see(request, document):
        raise Problem(403, "Forbidden: this needs READ on the resource, or AUDITLOG READ")
    return await _diff(request, tenant(request))


async def diff_global(request: web.Request) -> web.StreamResponse:
    """The same, of what belongs to no tenant."""
    return await _diff(request, SYSTEM_TENANT)


async def export(request: web.Request) -> web.StreamResponse:
    """The entries as CSV, or as lines of JSON with `format=json`."""
    return await _export(request, [tenant(request)])


async def export_all(request: web.Request) -> web.StreamResponse:
    """The entries of all tenants as CSV, or as lines of JSON with `format=json`."""
    return await _export(request, _tenants(request))


def _may_see(request: web.Request, document: Mapping[str, Any]) -> bool:
    """Whether the caller may read the audit log, or the thing that an entry is about (PERM-X10)."""
    if may(request, None, Permission.AUDITLOG, Action.READ):
        return True
    name = _PERMISSIONS.get(document["resource"], document["resource"])
    if name not in Permission.__members__:
        return False
    return may(request, document.get("namespace"), Permission[name], Action.READ)


def _filter(request: web.Request) -> Filter:
    conditions = read_conditions(request.query, _FIELDS)
    conditions += plain_conditions(request.query, [name for name in _FIELDS if name != "labels"])
    context = FilterContext(now=request.app[CLOCK]())
    parts = []
    for each in conditions:
        if each.field == "timeRange" or each.field in ("startDate", "endDate"):
            parts.append(_dated(each, context))
            continue
        name = _NAMES.get(each.field, each.field)
        operation = each.operation
        if name != "labels" and operation is Operation.EQUALS and "," in each.value:
            operation = Operation.IN  # several resources or actions are sent so
        renamed = Condition(field=name, operation=operation, value=each.value, key=each.key)
        parts.append(index_filter([renamed], context))
    return AllOf(tuple(parts))


def _dated(condition: Condition, context: FilterContext) -> Filter:
    """`startDate` is the first moment and `endDate` the last one, unless the operation says otherwise."""
    operation = condition.operation
    if condition.field != "timeRange" and operation is Operation.EQUALS:
        first = condition.field == "startDate"
        operation = Operation.GREATER_THAN_OR_EQUAL_TO if first else Operation.LESS_THAN_OR_EQUAL_TO
    return index_filter(
        [Condition(field=condition.field, operation=operation, value=condition.value)], context
    )


def _sorts(request: web.Request) -> tuple[Sort, ...]:
    wanted = tuple(Sort(_NAMES.get(each.field, each.field), each.descending) for each in sorting(request))
    return wanted or (Sort("date", True),)


def _tenants(request: web.Request) -> list[str]:
    return sorted({SYSTEM_TENANT, tenant(request), *request.app[CATALOG].tenants()})


async def _diff(request: web.Request, owner: str) -> web.StreamResponse:
    document = await _entry(request, owner, request.match_info["id"])
    before = document.get("before")
    previous = request.query.get("previousId")
    if previous:
        before = (await _entry(request, owner, previous)).get("after")
    return json_answer(without_nulls({"before": _text(before), "after": _text(document.get("after"))}))


async def _entry(request: web.Request, owner: str, identifier: str) -> Mapping[str, Any]:
    found = await request.app[INDEX].get("audit_logs", owner, identifier)
    if found is None:
        raise not_found(f"the audit entry `{identifier[:100]}`")
    return found.document


def _text(value: Any) -> str | None:
    """A body as people read it: the source where it has one, YAML otherwise."""
    if value is None:
        return None
    if isinstance(value, dict) and set(value) == {"source"}:
        return str(value["source"])
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


async def _export(request: web.Request, tenants: Sequence[str]) -> web.StreamResponse:
    as_json = request.query.get("format", "csv").lower() == "json"
    condition = _filter(request)
    response = web.StreamResponse()
    response.content_type = "application/x-ndjson" if as_json else "text/csv"
    suffix = "jsonl" if as_json else "csv"
    response.headers["Content-Disposition"] = f'attachment; filename="audit-logs.{suffix}"'
    await response.prepare(request)
    if not as_json:
        await response.write(_line(_COLUMNS))
    async for document in _every(request, tenants, condition):
        content = json.dumps(document).encode() + b"\n" if as_json else _line(_row(document))
        await response.write(content)
    await response.write_eof()
    return response


async def _every(
    request: web.Request, tenants: Sequence[str], condition: Filter
) -> AsyncIterator[Mapping[str, Any]]:
    for each in tenants:
        after: str | None = None
        while True:
            query = Query(
                kind="audit_logs",
                filter=condition,
                sort=(Sort("date"),),
                size=1_000,
                after=after,
                count=False,
            )
            found = await request.app[INDEX].search(each, query)
            for one in found.results:
                yield one.document
            after = found.next
            if after is None:
                break


def _row(document: Mapping[str, Any]) -> list[str]:
    actor = document["actor"]
    details = " ".join(f"{key}:{value}" for key, value in document.get("details", {}).items())
    values = (
        document["date"], document["tenantId"], document["resource"], document["action"], actor["id"],
        actor.get("type"), actor.get("ipAddress"), actor.get("impersonatedBy"), details, document["id"],
    )  # fmt: skip  # a row
    return [_harmless(str(value or "")) for value in values]


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _line(values: Sequence[str]) -> bytes:
    target = io.StringIO()
    csv.writer(target).writerow(values)
    return target.getvalue().encode()


def _item(document: Mapping[str, Any]) -> dict[str, Any]:
    actor = document["actor"]
    details = document.get("details", {})
    entry = without_nulls(
        {
            "id": document["id"],
            "tenantId": None if document["tenantId"] == SYSTEM_TENANT else document["tenantId"],
            "type": document["action"],
            "date": document["date"],
            "userId": actor["id"],
            "ipAddress": actor.get("ipAddress"),
            "impersonatedBy": actor.get("impersonatedBy"),
            "detail": {"type": document["resource"], "resourceType": document["resource"], **details},
        }
    )
    kind = (
        "SERVICE_ACCOUNT" if actor.get("type") == "SERVICE_ACCOUNT" else "STANDARD"
    )  # clients know these two
    user = {"id": actor["id"], "username": actor["id"], "email": actor["id"], "type": kind}
    return {"auditLog": entry, "user": user}
