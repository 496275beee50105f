"""Credentials over HTTP: those of the tenant by `{id}`, those of namespaces by `{name}` (CRED-01, D §7.8).

A credential comes back as it was sent: it names secrets and holds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flowtide.api.access import authorized_namespaces
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_json
from flowtide.api.keys import CREDENTIALS, PLATFORMS
from flowtide.api.listed import listed
from flowtide.api.parameters import segment, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import within
from flowtide.errors import FlowtideError, ResourceConflict
from flowtide.model.records import format_date
from flowtide.services.credentials import SavedCredential
from flowtide.services.platform.namespaces import lineage

_FIELDS = ("name", "namespace", "type", "description")


async def list_of_tenant(request: web.Request) -> web.StreamResponse:
    """The credentials of the tenant and of its namespaces."""
    await request.app[PLATFORMS].fresh()
    allowed = authorized_namespaces(request)
    found = [
        each
        for each in request.app[CREDENTIALS].all(tenant(request))
        if allowed is None or (each.namespace is not None and within(each.namespace, allowed))
    ]
    results, total = listed(request, map(_wire, found), words=("name", "description"), fields=_FIELDS)
    return page_answer(results, total)


async def list_of_namespace(request: web.Request) -> web.StreamResponse:
    """The credentials of one namespace."""
    await request.app[PLATFORMS].fresh()
    found = request.app[CREDENTIALS].list(tenant(request), segment(request, "namespace"))
    results, total = listed(request, map(_wire, found), words=("name", "description"), fields=_FIELDS)
    return page_answer(results, total)


async def inherited(request: web.Request) -> web.StreamResponse:
    """The credentials that a namespace may use and does not have itself, the nearest level first."""
    await request.app[PLATFORMS].fresh()
    own = tenant(request)
    levels = []
    for owner in (*reversed(lineage(segment(request, "namespace"))[:-1]), None):
        found = [_wire(each) for each in request.app[CREDENTIALS].list(own, owner)]
        scope = {"scope": "TENANT"} if owner is None else {"scope": "NAMESPACE", "namespace": owner}
        if found:
            levels.append({**scope, "credentials": found})
    return json_answer({"levels": levels})


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new credential of the tenant or of a namespace; one of that name is a conflict."""
    document = await _document(request)
    saved = await request.app[CREDENTIALS].save(
        tenant(request), _owner(request), document, expected_revision=0, by=user(request)
    )
    return json_answer(_wire(saved))


async def get(request: web.Request) -> web.StreamResponse:
    """One credential; the secrets that it names are not shown."""
    return json_answer(_wire(_found(request)))


async def update(request: web.Request) -> web.StreamResponse:
    """Replace a credential; its name stays."""
    found = _found(request)
    document = await _document(request)
    if document.get("name", found.name) != found.name:
        raise Problem(422, f"`name` must be `{found.name}`: a credential cannot be renamed")
    saved = await request.app[CREDENTIALS].save(
        tenant(request), found.namespace, {**document, "name": found.name}, by=user(request)
    )
    return json_answer(_wire(saved))


async def delete(request: web.Request) -> web.StreamResponse:
    """Remove a credential."""
    found = _found(request)
    try:
        await request.app[CREDENTIALS].delete(tenant(request), found.namespace, found.name, by=user(request))
    except ResourceConflict:
        raise not_found(f"the credential `{found.name}`") from None
    return web.Response(status=204)


async def test(request: web.Request) -> web.StreamResponse:
    """Try to get a token, and say whether that works (CRED-06); the token is not shown."""
    found = _found(request)
    try:
        await request.app[CREDENTIALS].test(tenant(request), found)
    except FlowtideError as error:
        return json_answer({"success": False, "message": error.message})
    return json_answer({"success": True, "message": "a token was obtained"})


def _owner(request: web.Request) -> str | None:
    return segment(request, "namespace") if "namespace" in request.match_info else None


def _found(request: web.Request) -> SavedCredential:
    name = request.match_info.get("name") or request.match_info["id"]
    found = request.app[CREDENTIALS].get(tenant(request), _owner(request), name)
    if found is None:
        raise not_found(f"the credential `{name[:150]}`")
    return found


async def _document(request: web.Request) -> Mapping[str, Any]:
    document = await read_json(request)
    if not isinstance(document, Mapping):
        raise Problem(422, "the body must be an object with `type`, `name` and `authConfig`")
    return document


def _wire(saved: SavedCredential) -> dict[str, Any]:
    document = {name: value for name, value in saved.document.items() if value is not None}
    entry = {**document, "id": saved.name, "name": saved.name, "updated": format_date(saved.updated)}
    if saved.namespace is not None:
        entry["namespace"] = saved.namespace
    return entry
