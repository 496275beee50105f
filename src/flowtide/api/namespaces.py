"""Namespaces over HTTP: saved ones read back as they were sent; those that only flows name are there as well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import yaml
from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_body, read_form, read_json
from flowtide.api.dedicated import sealed_settings
from flowtide.api.filters import read_conditions
from flowtide.api.keys import DEDICATED, PLATFORMS, RESOURCES, SITE
from flowtide.api.parameters import flag, page, segment, sorting, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import within
from flowtide.errors import ResourceConflict
from flowtide.index.queries import Operation
from flowtide.model.documents import DocumentError, read_document
from flowtide.model.records import encode
from flowtide.model.resources import ResourceKind
from flowtide.services.platform.namespaces import (
    Namespaces,
    checked_document,
    lineage,
    plugin_defaults_of,
)

_KIND = ResourceKind.NAMESPACE


async def search(request: web.Request) -> web.StreamResponse:
    """Find namespaces by a part of their name; with `existing=true` only saved ones."""
    wanted = page(request)
    conditions = read_conditions(request.query, {"q": {Operation.EQUALS}, "namespace": {Operation.EQUALS}})
    texts = [each.value for each in conditions]
    if request.query.get("q"):
        texts.append(request.query["q"])
    namespaces = _namespaces(request)
    names = list(namespaces.saved()) if flag(request, "existing") else namespaces.names()
    allowed = authorized_namespaces(request)
    found = [
        name
        for name in names
        if within(name, allowed) and all(text.casefold() in name.casefold() for text in texts)
    ]
    for each in reversed(sorting(request)):
        if each.field != "id":
            raise Problem(400, "namespaces can be sorted by `id` only")
        found.sort(reverse=each.descending)
    shown = found[wanted.offset : wanted.offset + wanted.size]
    return page_answer([_wire(request, name) for name in shown], len(found))


async def autocomplete(request: web.Request) -> web.StreamResponse:
    """The names that have `q` in them, or are among `ids`."""
    body = await read_json(request) if request.can_read_body else {}
    if not isinstance(body, dict):
        raise Problem(400, "the body must be an object with `q` and `ids`")
    namespaces = _namespaces(request)
    names = list(namespaces.saved()) if body.get("existingOnly") else namespaces.names()
    allowed = authorized_namespaces(request)
    text, chosen = str(body.get("q") or "").casefold(), body.get("ids") or []
    return json_answer(
        [
            name
            for name in names
            if within(name, allowed) and text in name.casefold() and (not chosen or name in chosen)
        ]
    )


async def get(request: web.Request) -> web.StreamResponse:
    """A namespace as it was saved, or the fact that flows name it."""
    name = segment(request, "id")
    namespaces = _namespaces(request)
    if namespaces.find(name) is None and name not in namespaces.names():
        raise not_found(f"the namespace `{name}`")
    return json_answer(_wire(request, name))


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new namespace; one that exists is a conflict."""
    document = await _document(request)
    name = document.get("id")
    if not isinstance(name, str):
        raise Problem(422, "`id` must be the name of the namespace")
    authorize(request, name)
    return await _save(request, name, document, expected_revision=0)


async def update(request: web.Request) -> web.StreamResponse:
    """Replace what is saved of a namespace; one that only flows name is saved for the first time."""
    name = segment(request, "id")
    namespaces = _namespaces(request)
    if namespaces.find(name) is None and name not in namespaces.names():
        raise not_found(f"the namespace `{name}`")
    return await _save(request, name, await _document(request), expected_revision=None)


async def delete(request: web.Request) -> web.StreamResponse:
    """Forget what is saved of a namespace; its flows stay."""
    name = segment(request, "id")
    try:
        await request.app[RESOURCES].delete(_KIND, tenant(request), name, by=user(request))
    except ResourceConflict:
        raise not_found(f"the namespace `{name}`") from None
    return web.Response(status=204)


async def inherited_variables(request: web.Request) -> web.StreamResponse:
    """The variables that the namespaces above hand down."""
    return json_answer(_namespaces(request).variables(segment(request, "id"), own=False))


async def inherited_plugin_defaults(request: web.Request) -> web.StreamResponse:
    """The plugin defaults that the namespaces above hand down, the nearest first."""
    namespaces = _namespaces(request)
    answer = []
    for above in reversed(lineage(segment(request, "id"))[:-1]):
        for default in plugin_defaults_of(namespaces.find(above) or {}):
            entry = {"type": default.type, "forced": default.forced, "values": dict(default.values)}
            answer.append({**entry, "namespace": above})
    return json_answer(answer)


async def export_plugin_defaults(request: web.Request) -> web.StreamResponse:
    """The plugin defaults of a namespace as YAML."""
    name = segment(request, "id")
    saved = _namespaces(request).find(name)
    if saved is None:
        raise not_found(f"the namespace `{name}`")
    text = yaml.safe_dump(list(saved.get("pluginDefaults") or []), sort_keys=False, allow_unicode=True)
    return web.Response(
        body=text.encode(),
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{name}_plugin_defaults.yaml"',
        },
    )


async def import_plugin_defaults(request: web.Request) -> web.StreamResponse:
    """Replace the plugin defaults of a namespace by a YAML file; the answer has the types that were not read."""
    name = segment(request, "id")
    limit = request.app[SITE].body_limit_bytes
    async with read_form(request, limit) as form:
        content = (
            await asyncio.to_thread(form.files[0].content.read)
            if form.files
            else str(form.values.get("fileUpload", "")).encode()
        )
    try:
        defaults = (await asyncio.to_thread(read_document, content.decode())).value
    except UnicodeDecodeError as error:
        raise Problem(422, f"the file must be UTF-8; byte {error.start} is not") from None
    except DocumentError as error:
        raise Problem(422, f"the file is no YAML: {error.message}") from None
    if isinstance(defaults, dict):
        defaults = defaults.get("pluginDefaults")
    if not isinstance(defaults, list):
        raise Problem(422, "the file must be a list of plugin defaults")
    saved = _namespaces(request).find(name)
    if saved is None:
        raise not_found(f"the namespace `{name}`")
    await _save(request, name, {**_wire(request, name), "pluginDefaults": defaults}, expected_revision=None)
    return json_answer([])


async def _document(request: web.Request) -> Mapping[str, Any]:
    if not request.can_read_body:
        await read_body(request)
        raise Problem(400, "the body must be a namespace as JSON")
    document = await read_json(request)
    if not isinstance(document, dict):
        raise Problem(400, "the body must be a namespace as JSON")
    return {name: value for name, value in document.items() if value is not None}


async def _save(
    request: web.Request, name: str, document: Mapping[str, Any], *, expected_revision: int | None
) -> web.StreamResponse:
    checked_document(document, name)
    owner = tenant(request)
    document = await sealed_settings(request, owner, name, document)
    kept = {"id": name, **{key: value for key, value in document.items() if key != "deleted"}}
    try:
        await request.app[RESOURCES].save(
            _KIND, tenant(request), name, encode(kept), expected_revision, by=user(request)
        )
    except ResourceConflict as error:
        raise ResourceConflict(
            f"the namespace `{name}` exists already", key=error.key, revision=error.revision
        ) from None
    return json_answer(_wire(request, name))


def _namespaces(request: web.Request) -> Namespaces:
    return request.app[PLATFORMS].namespaces(tenant(request))


def _wire(request: web.Request, name: str) -> dict[str, Any]:
    document = {**(_namespaces(request).find(name) or {"id": name}), "deleted": False}
    return request.app[DEDICATED].shown(tenant(request), name, document)
