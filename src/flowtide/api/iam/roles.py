"""Roles: requests in, roles listed, made, changed and deleted out (REC-02); managed ones stay as they are."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.iam import fields
from flowtide.api.iam.groups import suggested
from flowtide.api.listed import listed
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.api.security import read_permissions
from flowtide.model.access import Action, Permission
from flowtide.model.identity import Role
from flowtide.model.resources import ResourceKind
from flowtide.services.identity import MANAGED_ROLES

_LONGEST_NAME = 256


async def search(request: web.Request) -> web.StreamResponse:
    """The roles of the tenant, with those that are in every tenant."""
    results, total = listed(request, _summaries(request), words=("name",), fields=("id", "name"))
    return page_answer(results, total)


async def autocomplete(request: web.Request) -> web.StreamResponse:
    """Roles whose name has some text, and those with these ids."""
    return json_answer(suggested(await fields.read_object(request), _summaries(request)))


async def by_ids(request: web.Request) -> web.StreamResponse:
    """The roles with these ids."""
    ids = fields.texts(await fields.read_object(request), "ids") or ()
    found = request.app[RECOGNITION].identities.roles(tenant(request))
    return json_answer(
        [{**role_document(role_id, role), "deleted": False} for role_id, role in found if role_id in ids]
    )


async def get(request: web.Request) -> web.StreamResponse:
    """One role with its permissions."""
    return json_answer(role_document(*_role(request)))


async def create(request: web.Request) -> web.StreamResponse:
    """Create a role; it grants nothing until it is bound."""
    role = _read(await fields.read_object(request), Role(name=""))
    role_id = request.app[RECOGNITION].directory.new_id()
    await _save(request, role_id, role, expected_revision=0)
    return json_answer(role_document(role_id, role))


async def update(request: web.Request) -> web.StreamResponse:
    """Change a role, and with it what everybody may do to whom it is bound."""
    role_id, role = _changeable(request)
    changed = _read(await fields.read_object(request), role)
    await _save(request, role_id, changed)
    return json_answer(role_document(role_id, changed))


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a role with its bindings."""
    role_id, _ = _changeable(request)
    recognition, name, by = request.app[RECOGNITION], tenant(request), user(request)
    for binding_id, binding in recognition.identities.bindings(name):
        if binding.role_id == role_id:
            await recognition.directory.delete(ResourceKind.BINDING, name, binding_id, by=by)
    await recognition.directory.delete(ResourceKind.ROLE, name, role_id, by=by)
    return web.Response(status=204)


async def permissions(request: web.Request) -> web.StreamResponse:
    """The permissions that roles can hold."""
    return json_answer(list(Permission))


async def actions(request: web.Request) -> web.StreamResponse:
    """The actions that roles can hold of a permission."""
    return json_answer(list(Action))


def role_summary(role_id: str, role: Role) -> dict[str, Any]:
    """A role in a list."""
    return {
        "id": role_id,
        "name": role.name,
        "isDefault": role.is_default,
        "isManaged": role_id in MANAGED_ROLES,
        "permissionCount": len(role.permissions),
    }


def role_document(role_id: str, role: Role) -> dict[str, Any]:
    """A role in full."""
    return without_nulls(
        {
            "id": role_id,
            "name": role.name,
            "description": role.description,
            "permissions": {
                permission: [action for action in Action if action in held]
                for permission, held in sorted(role.permissions.items())
            },
            "isDefault": role.is_default,
            "isManaged": role_id in MANAGED_ROLES,
        }
    )


def _summaries(request: web.Request) -> list[dict[str, Any]]:
    found = request.app[RECOGNITION].identities.roles(tenant(request))
    return [role_summary(role_id, role) for role_id, role in found]


def _read(body: Any, role: Role) -> Role:
    if body.get("permissions") is None:
        raise Problem(422, "`permissions` is needed")
    try:
        held = read_permissions(body["permissions"])
    except ValueError as error:
        raise Problem(422, f"`permissions`: {error}") from None
    return msgspec.structs.replace(
        role,
        name=fields.needed(body, "name", longest=_LONGEST_NAME).strip(),
        permissions=held,
        description=fields.text(body, "description") if "description" in body else role.description,
        is_default=fields.flag(body, "isDefault", role.is_default),
    )


async def _save(
    request: web.Request, role_id: str, role: Role, *, expected_revision: int | None = None
) -> None:
    recognition, name, by = request.app[RECOGNITION], tenant(request), user(request)
    await recognition.directory.save(
        ResourceKind.ROLE, name, role_id, role, expected_revision=expected_revision, by=by
    )
    if not role.is_default:
        return
    for other_id, other in recognition.identities.roles(name):
        if other.is_default and other_id != role_id:  # there is one, the latest (SSO-06)
            plain = msgspec.structs.replace(other, is_default=False)
            await recognition.directory.save(ResourceKind.ROLE, name, other_id, plain, by=by)


def _role(request: web.Request) -> tuple[str, Role]:
    role_id = request.match_info["id"]
    role = request.app[RECOGNITION].identities.role(tenant(request), role_id)
    if role is None:
        raise not_found("the role")
    return role_id, role


def _changeable(request: web.Request) -> tuple[str, Role]:
    role_id, role = _role(request)
    if role_id in MANAGED_ROLES:
        raise Problem(403, "Forbidden: this role is the same in every tenant; create another one")
    return role_id, role
