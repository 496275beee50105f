"""The installation over HTTP: its servers with their liveness, and the maintenance (INS-02 to INS-04, MM-01).

In come heartbeats from the index and the saved setting; out go lists, and saves of the setting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.filters import FilterContext, index_filter, read_conditions
from flowtide.api.keys import CATALOG, CLOCK, DEDICATED, INDEX, PLATFORMS, RESOURCES, SECRETS
from flowtide.api.listed import plain_conditions
from flowtide.api.parameters import page, sorting, user
from flowtide.api.problems import Problem, not_found
from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.index.queries import AllOf, Match, Operation, Query, Sort
from flowtide.model.instance import MAINTENANCE, Maintenance
from flowtide.model.records import encode
from flowtide.model.resources import ResourceKind
from flowtide.model.services import ServiceState, ServiceType
from flowtide.services import secret_rotation

_LISTS: Final = frozenset({Operation.EQUALS, Operation.NOT_EQUALS, Operation.IN, Operation.NOT_IN})
_FIELDS: Final = {"q": {Operation.EQUALS}, "type": _LISTS, "state": _LISTS, "id": _LISTS}
_NAMES: Final = {
    "createdAt": "started",
    "updatedAt": "heartbeat",
    "hostname": "host",
    "server.hostname": "host",
}
_ALIVE: Final = (ServiceState.CREATED.value, ServiceState.RUNNING.value, ServiceState.MAINTENANCE.value)
_MOST: Final = 10_000
_DRAINED: Final = (ServiceType.EXECUTOR, ServiceType.WORKER)


async def search_services(request: web.Request) -> web.StreamResponse:
    """The servers that are known, by state and type."""
    wanted = page(request)
    conditions = read_conditions(request.query, _FIELDS) + plain_conditions(request.query, tuple(_FIELDS))
    context = FilterContext(now=request.app[CLOCK]())
    filters = tuple(index_filter([each], context) for each in conditions)
    sorts = tuple(Sort(_NAMES.get(each.field, each.field), each.descending) for each in sorting(request))
    query = Query(
        kind="services", filter=AllOf(filters), sort=sorts or (Sort("type"), Sort("started", True)),
        page=wanted.number, size=wanted.size,
    )  # fmt: skip  # a query
    found = await request.app[INDEX].search(SYSTEM_TENANT, query)
    return page_answer([_service(each.document) for each in found.results], found.total or 0)


async def active_services(request: web.Request) -> web.StreamResponse:
    """How many servers of each type live."""
    counts: dict[str, int] = {}
    for document in await living(request):
        counts[document["type"]] = counts.get(document["type"], 0) + 1
    services = [{"type": kind, "total": count} for kind, count in sorted(counts.items())]
    return json_answer({"total": sum(counts.values()), "services": services})


async def service(request: web.Request) -> web.StreamResponse:
    """One server with its properties, how it last was and since when."""
    found = await request.app[INDEX].get("services", SYSTEM_TENANT, request.match_info["id"])
    if found is None:
        raise not_found("the server")
    return json_answer(details(found.document))


async def metrics(request: web.Request) -> web.StreamResponse:
    """What the servers of a type say of themselves in numbers, such as their threads."""
    try:
        kind = ServiceType(request.match_info["serviceType"].upper())
    except ValueError:
        raise Problem(422, f"the type of a server is one of {', '.join(ServiceType)}") from None
    return json_answer([each for document in await living(request, kind) for each in _metrics(document)])


async def enter_maintenance(request: web.Request) -> web.StreamResponse:
    """Let no execution begin and workers begin nothing; what runs may finish, what is asked for waits."""
    setting = request.app[CATALOG].get(ResourceKind.SETTING, SYSTEM_TENANT, MAINTENANCE)
    if setting is None or setting.deleted:
        body = encode(Maintenance(since=request.app[CLOCK]()))
        await request.app[RESOURCES].save(
            ResourceKind.SETTING, SYSTEM_TENANT, MAINTENANCE, body, by=user(request)
        )
    return json_answer(await _status(request))


async def exit_maintenance(request: web.Request) -> web.StreamResponse:
    """Let everything that waits begin."""
    try:
        await request.app[RESOURCES].delete(
            ResourceKind.SETTING, SYSTEM_TENANT, MAINTENANCE, by=user(request)
        )
    except ResourceConflict:
        return json_answer(await _status(request))  # it is not in maintenance
    return json_answer(await _status(request))


async def maintenance_status(request: web.Request) -> web.StreamResponse:
    """Whether the installation is in maintenance, and which servers have come to rest."""
    await request.app[PLATFORMS].fresh()
    return json_answer(await _status(request))


async def _status(request: web.Request) -> dict[str, Any]:
    setting = request.app[CATALOG].get(ResourceKind.SETTING, SYSTEM_TENANT, MAINTENANCE)
    on = setting is not None and not setting.deleted
    services = {kind.value: {"total": 0, "inMaintenance": 0} for kind in ServiceType}
    for document in await living(request):
        counts = services[document["type"]]
        counts["total"] += 1
        counts["inMaintenance"] += document["state"] == ServiceState.MAINTENANCE
    ready = on and all(services[kind]["total"] == services[kind]["inMaintenance"] for kind in _DRAINED)
    return {"maintenance": on, "ready": ready, "services": services}


async def living(request: web.Request, kind: ServiceType | None = None) -> list[Mapping[str, Any]]:
    """The heartbeats of the servers that live."""
    filters = [Match("state", Operation.IN, list(_ALIVE))]
    if kind is not None:
        filters.append(Match("type", Operation.EQUALS, kind.value))
    query = Query(
        kind="services", filter=AllOf(tuple(filters)), sort=(Sort("started"),), size=_MOST, count=False
    )
    found = await request.app[INDEX].search(SYSTEM_TENANT, query)
    return [each.document for each in found.results]


async def encrypt_again(request: web.Request) -> web.StreamResponse:
    """Encrypt all secrets with the present key, after it was changed; says how many used another one."""
    app = request.app
    await app[PLATFORMS].fresh()
    counts = await secret_rotation.encrypt_again(
        catalog=app[CATALOG],
        client=app[RESOURCES],
        secrets=app[SECRETS],
        dedicated=app[DEDICATED],
        by=user(request),
    )
    return json_answer(counts)


async def unsupported_plugins(request: web.Request) -> web.StreamResponse:
    """Versioned plugins: they are Python packages here, one version each, so every call is refused."""
    await asyncio.sleep(0)
    raise Problem(
        403,
        "versioned plugins are switched off: the plugins of this installation are Python packages in its environment; "
        "install or upgrade them with pip and start the servers again",
    )


async def no_worker_credentials(request: web.Request) -> web.StreamResponse:
    """Worker credentials: workers take their jobs from the log, with the log's own authentication."""
    await asyncio.sleep(0)
    raise Problem(
        403, "workers have no credentials of their own: they log in to the log, as its settings say"
    )


async def no_quotas(request: web.Request) -> web.StreamResponse:
    """The quota limits: there are none."""
    return json_answer([])


async def reset_quota(request: web.Request) -> web.StreamResponse:
    """Reset a quota limit: there are none."""
    await asyncio.sleep(0)
    raise Problem(404, "Quota limit not found")


def _service(document: Mapping[str, Any]) -> dict[str, Any]:
    properties = document.get("properties", {})
    return {
        "id": document["id"],
        "type": document["type"],
        "state": document["state"],
        "server": {
            "id": document["host"],
            "type": properties.get("serverType", "SERVER"),
            "version": document["version"],
            "hostname": document["host"],
            "props": {},
            "metrics": [],
        },
        "createdAt": document["started"],
        "updatedAt": document["heartbeat"],
    }


def details(document: Mapping[str, Any]) -> dict[str, Any]:
    """A server as it shows itself."""
    shown = _service(document)
    shown["server"] |= {"props": {}, "metrics": []}
    event = without_nulls(
        {
            "ts": document["heartbeat"],
            "type": "service.state.updated",
            "state": document["state"],
            "value": document.get("reason"),
        }
    )
    created = {
        "ts": document["started"],
        "type": "service.state.updated",
        "state": ServiceState.CREATED.value,
    }
    return shown | {
        "props": dict(document.get("properties", {})),
        "metrics": _metrics(document),
        "events": [created, event],
    }


def _metrics(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    tags = [{"key": "service_id", "value": document["id"]}]
    return [
        {"name": f"{document['type'].lower()}.{name}", "type": "gauge", "value": int(value), "tags": tags}
        for name, value in document.get("properties", {}).items()
        if str(value).isdigit() and name != "managementPort"
    ]
