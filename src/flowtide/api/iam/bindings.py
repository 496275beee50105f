"""Bindings of roles: requests in, bindings listed, made and deleted out (REC-03); they never change (IAM-04)."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_json
from flowtide.api.iam import fields
from flowtide.api.iam.documents import subject_type
from flowtide.api.listed import listed
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.identity import Binding, BindingType
from flowtide.model.resources import ResourceKind

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
_MOST_AT_ONCE = 1_000


async def search(request: web.Request) -> web.StreamResponse:
    """The bindings of the tenant; `id` is that of a binding or of whom it is for."""
    wanted = request.query.get("id")
    entries = [
        _document(request, binding_id, binding)
        for binding_id, binding in request.app[RECOGNITION].identities.bindings(tenant(request))
        if not wanted or wanted in (binding_id, binding.external_id)
    ]
    results, total = listed(request, entries, words=("id",), fields=("namespace", "type"))
    return page_answer(results, total)


async def get(request: web.Request) -> web.StreamResponse:
    """One binding."""
    return json_answer(_document(request, *_binding(request)))


async def create(request: web.Request) -> web.StreamResponse:
    """Bind a role to a user, service account or group, in a namespace or in the whole tenant."""
    binding = _read(request, await fields.read_object(request))
    return json_answer(await _made(request, binding))


async def create_many(request: web.Request) -> web.StreamResponse:
    """Bind many at once: all of them, or none when one cannot be."""
    body = await read_json(request)
    if not isinstance(body, list) or len(body) > _MOST_AT_ONCE:
        raise Problem(422, f"the body must be a list of at most {_MOST_AT_ONCE} bindings")
    bindings = [_read(request, each) for each in body]
    return json_answer([await _made(request, each) for each in bindings])


async def delete(request: web.Request) -> web.StreamResponse:
    """Take a role away."""
    binding_id, _ = _binding(request)
    await request.app[RECOGNITION].directory.delete(
        ResourceKind.BINDING, tenant(request), binding_id, by=user(request)
    )
    return web.Response(status=204)


def checked_namespace(value: str | None) -> str | None:
    """A namespace that something can be bound to; None for the whole tenant.  Raises Problem 422."""
    if value is None or value == "":
        return None
    if _NAMESPACE.fullmatch(value) is None:
        raise Problem(422, "a namespace has letters, digits, dots, `_` and `-`")
    return value


async def _made(request: web.Request, binding: Binding) -> dict[str, Any]:
    binding_id = await request.app[RECOGNITION].directory.bind(tenant(request), binding, by=user(request))
    return _document(request, binding_id, binding)


def _read(request: web.Request, body: Any) -> Binding:
    if not isinstance(body, dict):
        raise Problem(422, "a binding must be a JSON object")
    name, identities = tenant(request), request.app[RECOGNITION].identities
    type_ = BindingType.__members__.get(fields.needed(body, "type").upper())
    if type_ is None:
        raise Problem(422, "`type` must be USER or GROUP")
    external_id, role_id = fields.needed(body, "externalId"), fields.needed(body, "roleId")
    if type_ is BindingType.GROUP:
        if identities.group(name, external_id) is None:
            raise not_found("the group")
    elif identities.subject(external_id) is None:
        raise not_found("the user")
    if identities.role(name, role_id) is None:
        raise not_found("the role")
    namespace = checked_namespace(fields.text(body, "namespaceId") or fields.text(body, "namespace"))
    return Binding(type=type_, external_id=external_id, role_id=role_id, namespace=namespace)


def _binding(request: web.Request) -> tuple[str, Binding]:
    binding_id = request.match_info["id"]
    binding = request.app[RECOGNITION].identities.binding(tenant(request), binding_id)
    if binding is None:
        raise not_found("the binding")
    return binding_id, binding


def _document(request: web.Request, binding_id: str, binding: Binding) -> dict[str, Any]:
    name, identities = tenant(request), request.app[RECOGNITION].identities
    role = identities.role(name, binding.role_id)
    document: dict[str, Any] = {
        "id": binding_id,
        "type": binding.type,
        # As they were written: Terraform compares them.
        "externalId": binding.external_id,
        "roleId": binding.role_id,
    }
    if binding.namespace is not None:
        document["namespace"] = document["namespaceId"] = binding.namespace
    document["role"] = {"id": binding.role_id, "name": "" if role is None else role.name}
    if binding.type is BindingType.GROUP:
        group = identities.group(name, binding.external_id)
        document["group"] = {"id": binding.external_id, "name": "" if group is None else group.name}
        return document
    subject = identities.subject(binding.external_id)
    document["user"] = {"id": binding.external_id}
    if subject is not None:
        document["user"] |= {
            "username": subject.name,
            "displayName": subject.display_name,
            "type": subject_type(subject.type),
        }
    return document
