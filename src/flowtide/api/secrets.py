"""Secrets of namespaces over HTTP (SEC-24): keys, descriptions and tags come out, values only go in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flowtide.api.access import authorized_namespaces
from flowtide.api.answers import json_answer, without_nulls
from flowtide.api.bodies import read_json
from flowtide.api.keys import PLATFORMS, SECRETS
from flowtide.api.listed import listed
from flowtide.api.parameters import segment, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import within
from flowtide.model.saved_secrets import SecretTag
from flowtide.services.platform.namespaces import lineage
from flowtide.services.secret_store import KnownSecret

_FIELDS = ("namespace", "key", "description")


async def search(request: web.Request) -> web.StreamResponse:
    """The secrets of the namespaces that the caller may see, by filters; never their values."""
    return await _answer(request, None)


async def list_of_namespace(request: web.Request) -> web.StreamResponse:
    """The secrets of one namespace (deprecated: /secrets with a filter); never their values."""
    return await _answer(request, segment(request, "namespace"))


async def inherited(request: web.Request) -> web.StreamResponse:
    """The keys that flows of a namespace see, by the namespace that has them; its own ones too."""
    await request.app[PLATFORMS].fresh()
    store = request.app[SECRETS]
    names = {
        owner: [known.key for known in store.known(tenant(request), owner)]
        for owner in reversed(lineage(segment(request, "namespace")))
    }
    return json_answer({owner: keys for owner, keys in names.items() if keys})


async def put(request: web.Request) -> web.StreamResponse:
    """Create or replace a secret, or several ones; the answer has what is known of the namespace's, theirs first."""
    namespace = segment(request, "namespace")
    body = await read_json(request)
    documents = body if isinstance(body, list) else [body]
    values: list[tuple[str, str, str | None, list[SecretTag]]] = []
    for document in documents:
        if not isinstance(document, Mapping):
            raise Problem(422, "a secret must be an object with `key` and `value`")
        key, value = document.get("key"), document.get("value")
        if not isinstance(key, str) or not key or not isinstance(value, str) or not value:
            raise Problem(422, "a secret needs `key` and `value`, both texts that are not empty")
        values.append((key, value, _description(document), _tags(document)))
    for key, value, description, tags in values:
        await request.app[SECRETS].put(
            tenant(request), namespace, key, value, description=description, tags=tags, by=user(request)
        )
    return _known_after(request, namespace, [key for key, *_ in values])


async def patch(request: web.Request) -> web.StreamResponse:
    """Change the description and the tags of a secret; its value stays."""
    namespace, key = segment(request, "namespace"), request.match_info["key"]
    document = await read_json(request)
    if not isinstance(document, Mapping):
        raise Problem(422, "the body must be an object with `description` and `tags`")
    known = request.app[SECRETS].get(tenant(request), namespace, key)
    if known is None:
        raise not_found(f"the secret `{key[:256]}` in the namespace `{namespace}`")
    if document.get("key") not in (None, key):
        raise Problem(422, "a secret cannot be renamed: create another one")
    await request.app[SECRETS].describe(
        tenant(request),
        namespace,
        key,
        description=_description(document) if "description" in document else known.description,
        tags=_tags(document) if "tags" in document else known.tags,
        by=user(request),
    )
    return _known_after(request, namespace, [key])


async def delete(request: web.Request) -> web.StreamResponse:
    """Remove a secret."""
    namespace, key = segment(request, "namespace"), request.match_info["key"]
    if not await request.app[SECRETS].delete(tenant(request), namespace, key, by=user(request)):
        raise not_found(f"the secret `{key[:256]}` in the namespace `{namespace}`")
    return web.Response(status=204)


async def _answer(request: web.Request, namespace: str | None) -> web.StreamResponse:
    await request.app[PLATFORMS].fresh()
    store = request.app[SECRETS]
    allowed = authorized_namespaces(request) if namespace is None else None
    entries = [
        _entry(known) for known in store.known(tenant(request), namespace) if within(known.namespace, allowed)
    ]
    fields = _FIELDS if namespace is None else _FIELDS[1:]
    results, total = listed(request, entries, words=("key",), fields=fields)
    return json_answer(
        {"readOnly": store.is_read_only(tenant(request), namespace), "results": results, "total": total}
    )


def _known_after(request: web.Request, namespace: str, first: list[str]) -> web.Response:
    entries = [_entry(known) for known in request.app[SECRETS].known(tenant(request), namespace)]
    entries.sort(key=lambda entry: entry["key"] not in first)
    return json_answer(entries)


def _entry(known: KnownSecret) -> dict[str, Any]:
    return without_nulls(
        {
            "namespace": known.namespace,
            "key": known.key,
            "description": known.description,
            "tags": [{"key": tag.key, "value": tag.value} for tag in known.tags],
        }
    )


def _description(document: Mapping[str, Any]) -> str | None:
    description = document.get("description")
    if description is not None and (not isinstance(description, str) or len(description) > 10_000):
        raise Problem(422, "`description` must be a text of at most 10000 characters")
    return description or None


def _tags(document: Mapping[str, Any]) -> list[SecretTag]:
    tags = document.get("tags") or []
    if isinstance(tags, Mapping):
        tags = [{"key": key, "value": value} for key, value in tags.items()]
    if not isinstance(tags, list) or len(tags) > 100:
        raise Problem(422, "`tags` must be a list of at most 100 objects with `key` and `value`")
    read = []
    for tag in tags:
        if not isinstance(tag, Mapping) or not isinstance(tag.get("key"), str) or "value" not in tag:
            raise Problem(422, "a tag must be an object with `key` and `value`")
        read.append(SecretTag(key=tag["key"], value=str(tag["value"])))
    return read
