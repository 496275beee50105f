"""Worker groups over HTTP (WG-01): `/instance/workergroups` for 1.3, `/instance/worker-groups` for 2.0 (catalogue H).

A group's id is its key.  Groups that nobody saved work as well; those saved may be kept for some tenants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer, without_nulls
from flowtide.api.bodies import read_json
from flowtide.api.instance import details, living
from flowtide.api.keys import CATALOG, PLATFORMS, RESOURCES
from flowtide.api.parameters import flag, user
from flowtide.api.problems import Problem, not_found
from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.instance import WORKER_GROUP_DECODER, WorkerGroupBody
from flowtide.model.records import encode
from flowtide.model.resources import ResourceKind
from flowtide.model.services import ServiceType
from flowtide.services.worker_groups import GROUP_PROPERTY

_KIND = ResourceKind.WORKER_GROUP
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


async def search(request: web.Request) -> web.StreamResponse:
    """All worker groups, with how many workers of each live."""
    await request.app[PLATFORMS].fresh()
    workers = await _workers(request)
    groups = [
        _wire(WORKER_GROUP_DECODER.decode(saved.body)) | {"activeWorkers": len(workers.get(key, []))}
        for key, saved in request.app[CATALOG].list(_KIND, SYSTEM_TENANT)
    ]
    return json_answer({"workerGroups": groups})


async def get(request: web.Request) -> web.StreamResponse:
    """A worker group with its workers."""
    body = _found(request)
    workers = (await _workers(request)).get(body.key, [])
    return json_answer(_wire(body) | {"activeWorkers": len(workers), "workers": workers})


async def workers(request: web.Request) -> web.StreamResponse:
    """The workers of a group that live."""
    return json_answer({"workers": (await _workers(request)).get(_found(request).key, [])})


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new worker group; one of that key is a conflict."""
    return await _save(request, await _body(request), 0)


async def update(request: web.Request) -> web.StreamResponse:
    """Change the description and the tenants of a worker group."""
    known, body = _found(request), await _body(request)
    if body.key != known.key:
        raise Problem(
            422, "the key of a worker group stays, because workers and flows name it: create another one"
        )
    return await _save(request, body, None)


async def delete(request: web.Request) -> web.StreamResponse:
    """Forget a worker group; one with workers only with `force=true`."""
    body = _found(request)
    if (await _workers(request)).get(body.key) and not flag(request, "force"):
        raise Problem(409, f"workers of the group `{body.key}` live; stop them first, or say `force=true`")
    await request.app[RESOURCES].delete(_KIND, SYSTEM_TENANT, body.key, by=user(request))
    return web.Response(status=204)


async def _workers(request: web.Request) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for document in await living(request, ServiceType.WORKER):
        group = document.get("properties", {}).get(GROUP_PROPERTY)
        if group:
            found.setdefault(group, []).append(details(document))
    return found


def _found(request: web.Request) -> WorkerGroupBody:
    identifier = request.match_info["id"]
    saved = request.app[CATALOG].get(_KIND, SYSTEM_TENANT, identifier)
    if saved is None or saved.deleted:
        raise not_found(f"the worker group `{identifier[:128]}`")
    return WORKER_GROUP_DECODER.decode(saved.body)


async def _body(request: web.Request) -> WorkerGroupBody:
    document = await read_json(request)
    if not isinstance(document, Mapping):
        raise Problem(422, "the body must be an object with `key`")
    key, tenants = document.get("key"), document.get("allowedTenants")
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        raise Problem(422, "`key` must have letters, digits, `.`, `_` and `-`, at most 128")
    if tenants is not None and not (
        isinstance(tenants, list) and all(isinstance(each, str) for each in tenants)
    ):
        raise Problem(422, "`allowedTenants` must be a list of tenants")
    description = document.get("description")
    if description is not None and not isinstance(description, str):
        raise Problem(422, "`description` must be a text")
    return WorkerGroupBody(
        key=key, description=description, allowed_tenants=tuple(tenants) if tenants else None
    )


async def _save(request: web.Request, body: WorkerGroupBody, expected: int | None) -> web.StreamResponse:
    try:
        await request.app[RESOURCES].save(
            _KIND, SYSTEM_TENANT, body.key, encode(body), expected, by=user(request)
        )
    except ResourceConflict:
        raise Problem(409, f"there is a worker group `{body.key}` already") from None
    return json_answer(_wire(body))


def _wire(body: WorkerGroupBody) -> dict[str, Any]:
    tenants = None if body.allowed_tenants is None else list(body.allowed_tenants)
    return without_nulls(
        {"id": body.key, "key": body.key, "description": body.description, "allowedTenants": tenants}
    )
