"""Provisionings by SCIM 2.0 as an administrator sees them: requests in, integrations and, once, their secret out.

Each has a service account of its own with the role `SCIMProvisioner`; its token is the secret (SCIM-01 to SCIM-03).
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.iam import fields
from flowtide.api.keys import CLOCK, SITE
from flowtide.api.listed import listed
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.access import Action, Permission, SubjectType
from flowtide.model.identifiers import derived_identifier
from flowtide.model.identity import Binding, BindingType, Role, SecurityIntegration, ServiceAccount
from flowtide.model.resources import ResourceKind

_ROLE_NAME = "SCIMProvisioner"
_LONGEST_NAME = 256
_TYPES = ("SCIM", "SCIM2.0", "SCIM 2.0", "SCIM_2_0")
_ROLE = Role(
    name=_ROLE_NAME,
    description="What a provisioning by SCIM may do",
    permissions={
        Permission.GROUP: frozenset(Action),
        Permission.USER: frozenset({Action.CREATE, Action.READ, Action.UPDATE}),
        Permission.BINDING: frozenset(Action),
    },
)


async def search(request: web.Request) -> web.StreamResponse:
    """The provisionings of the tenant."""
    found = request.app[RECOGNITION].identities.integrations(tenant(request))
    entries = [_document(request, integration_id, each) for integration_id, each in found]
    results, total = listed(
        request, sorted(entries, key=lambda each: str(each["name"])), words=("name",), fields=("id", "name")
    )
    return page_answer(results, total)


async def get(request: web.Request) -> web.StreamResponse:
    """One provisioning, without its secret."""
    return json_answer(_document(request, *_integration(request)))


async def create(request: web.Request) -> web.StreamResponse:
    """Create a provisioning; its secret is shown this once."""
    body = await fields.read_object(request)
    recognition, name, by = request.app[RECOGNITION], tenant(request), user(request)
    given = (fields.text(body, "type") or "SCIM").upper()
    if given not in _TYPES:
        raise Problem(422, "`type` must be SCIM")
    title = fields.needed(body, "name", longest=_LONGEST_NAME).strip()
    if any(each.name == title for _, each in recognition.identities.integrations(name)):
        raise Problem(409, f"there is a provisioning `{title}` already")
    integration_id = recognition.directory.new_id()
    account_id = recognition.directory.new_id()
    integration = SecurityIntegration(
        name=title,
        created=request.app[CLOCK](),
        description=fields.text(body, "description"),
        enabled=fields.flag(body, "enabled", True),
        service_account_id=account_id,
    )
    account = ServiceAccount(
        name=f"scim-{integration_id.lower()}",
        created=integration.created,
        description=f"Provisioning {title}",
        integration_id=integration_id,
    )
    role_id = derived_identifier(name, "role", _ROLE_NAME)
    if recognition.identities.role(name, role_id) is None:
        await recognition.directory.save(ResourceKind.ROLE, name, role_id, _ROLE, by=by)
    await recognition.directory.save(ResourceKind.SERVICE_ACCOUNT, SYSTEM_TENANT, account_id, account, by=by)
    await recognition.directory.grant_access(name, account_id, type_=SubjectType.SERVICE_ACCOUNT, by=by)
    binding = Binding(type=BindingType.USER, external_id=account_id, role_id=role_id)
    await recognition.directory.bind(name, binding, by=by)
    await _save(request, integration_id, integration)
    _, full, _ = await recognition.directory.create_token(
        SubjectType.SERVICE_ACCOUNT, account_id, "scim", by=by
    )
    document = _document(request, integration_id, integration)
    return json_answer({**document, "secretToken": full}, headers={"Cache-Control": "no-store"})


async def enable(request: web.Request) -> web.StreamResponse:
    """Take requests of the provider again."""
    return await _switched(request, enabled=True)


async def disable(request: web.Request) -> web.StreamResponse:
    """Take no requests of the provider any more (SCIM-02)."""
    return await _switched(request, enabled=False)


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a provisioning with its service account; users and groups stay, and can be changed by hand again."""
    integration_id, integration = _integration(request)
    recognition, name, by = request.app[RECOGNITION], tenant(request), user(request)
    if integration.service_account_id is not None:
        await recognition.directory.delete_service_account(integration.service_account_id, by=by)
    for group_id, group in recognition.identities.groups(name):
        if group.external != integration.name:
            continue
        for subject_id, membership in recognition.identities.members(name, group_id):
            own = msgspec.structs.replace(membership, managed_externally=False)
            await recognition.directory.save(
                ResourceKind.GROUP_MEMBERSHIP, name, f"{group_id}/{subject_id}", own, by=by
            )
        own_group = msgspec.structs.replace(group, external=None, external_id=None)
        await recognition.directory.save(ResourceKind.GROUP, name, group_id, own_group, by=by)
    await recognition.directory.delete(ResourceKind.SECURITY_INTEGRATION, name, integration_id, by=by)
    return web.Response(status=204)


async def _switched(request: web.Request, *, enabled: bool) -> web.Response:
    integration_id, integration = _integration(request)
    changed = msgspec.structs.replace(integration, enabled=enabled)
    await _save(request, integration_id, changed)
    return json_answer(_document(request, integration_id, changed))


async def _save(request: web.Request, integration_id: str, integration: SecurityIntegration) -> None:
    await request.app[RECOGNITION].directory.save(
        ResourceKind.SECURITY_INTEGRATION, tenant(request), integration_id, integration, by=user(request)
    )


def _integration(request: web.Request) -> tuple[str, SecurityIntegration]:
    integration_id = request.match_info["id"]
    integration = request.app[RECOGNITION].identities.integration(tenant(request), integration_id)
    if integration is None:
        raise not_found("the provisioning")
    return integration_id, integration


def address_of_scim(request: web.Request, integration_id: str) -> str:
    """Where the provider sends its requests."""
    site = request.app[SITE]
    root = site.url.rstrip("/") if site.url is not None else f"{request.scheme}://{request.host}"
    if site.context_path and not root.endswith(site.context_path):
        root += site.context_path
    return f"{root}/api/v1/{tenant(request)}/integrations/{integration_id}/scim/v2"


def _document(request: web.Request, integration_id: str, integration: SecurityIntegration) -> dict[str, Any]:
    return without_nulls(
        {
            "id": integration_id,
            "name": integration.name,
            "type": "SCIM",
            "description": integration.description,
            "tenantId": tenant(request),
            "enabled": integration.enabled,
            "deleted": False,
            "uri": address_of_scim(request, integration_id),
        }
    )
