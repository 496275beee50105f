"""Tenants, for superadmins: requests in, tenants listed, made, changed and deleted out (TEN-06, TEN-08, REC-01)."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.auditing import actor_of
from flowtide.api.bodies import read_body
from flowtide.api.dedicated import SETTINGS, sealed_settings
from flowtide.api.iam import fields
from flowtide.api.iam.documents import tenant_document
from flowtide.api.keys import AUDIT, CLOCK, DEDICATED
from flowtide.api.listed import listed
from flowtide.api.parameters import flag, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.audit import AuditAction
from flowtide.model.identity import Binding, BindingType, Tenant
from flowtide.services.identity.roles import ADMIN
from flowtide.services.identity.tables import DEFAULT_TENANT

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: What stands at the place of the tenant in paths without one (TRAP-12).
RESERVED = frozenset(
    {
        "acls", "ai", "apps", "assets", "auditlogs", "auths", "banners", "basicauth", "bindings", "blueprints",
        "cluster", "clusters", "concurrency-limit", "configs", "credentials", "dashboards", "executions", "flows",
        "groups", "instance", "integrations", "invitation", "invitations", "kill-switches", "kv", "license",
        "license-info", "login", "logs", "me", "metrics", "namespaces", "notifications", "outputs", "pebble",
        "plugins", "roles", "schemas", "secrets", "security-integrations", "service-accounts", "setup", "stats",
        "templates", "tenant-access", "tenants", "tests", "triggers", "ui", "undefined", "users", "worker-groups",
        "worker-queues",
    }
)  # fmt: skip  # reads better as a paragraph
_COLOURS = ("title", "titleColor", "primaryColor", "backgroundColor", "tileColor", "buttonTextColor")
_LARGEST_LOGO_BYTES = 512 * 1024


async def search(request: web.Request) -> web.StreamResponse:
    """Every tenant."""
    entries = [_document(request, name, each) for name, each in request.app[RECOGNITION].identities.tenants()]
    results, total = listed(request, entries, words=("id", "name"), fields=("id", "name"))
    return page_answer(results, total)


async def get(request: web.Request) -> web.StreamResponse:
    """One tenant."""
    return json_answer(_document(request, *_tenant(request)))


async def create(request: web.Request) -> web.StreamResponse:
    """Create a tenant; who does is let in and becomes its administrator (TEN-09)."""
    body = await fields.read_object(request)
    tenant_id = fields.needed(body, "id", longest=64)
    check_tenant_id(tenant_id)
    tenant = await _changed(request, tenant_id, Tenant(name="", created=request.app[CLOCK]()), body)
    directory, caller = request.app[RECOGNITION].directory, principal(request)
    await directory.create_tenant(tenant_id, tenant, by=user(request))
    await directory.grant_access(tenant_id, caller.id, type_=caller.type, by=user(request))
    administrator = Binding(type=BindingType.USER, external_id=caller.id, role_id=ADMIN)
    await directory.bind(tenant_id, administrator, by=user(request))
    return json_answer(_document(request, tenant_id, tenant))


async def update(request: web.Request) -> web.StreamResponse:
    """Change a tenant's name and settings; its id stays."""
    tenant_id, tenant = _tenant(request)
    body = await fields.read_object(request)
    if body.get("id", tenant_id) != tenant_id:
        raise Problem(422, f"the body is of another tenant than the path: `{tenant_id}`")
    changed = await _changed(request, tenant_id, tenant, body)
    await request.app[RECOGNITION].directory.update_tenant(tenant_id, changed, by=user(request))
    return json_answer(_document(request, tenant_id, changed))


async def delete(request: web.Request) -> web.StreamResponse:
    """Close a tenant for everybody at once, and remove everything of it; it may be made again after that.

    With `keepHistory=true` executions, logs, metrics, pairs and files stay (TEN-08), and the id stays taken.
    """
    tenant_id, tenant = _tenant(request)
    if tenant_id == DEFAULT_TENANT:
        raise Problem(409, f"the tenant `{DEFAULT_TENANT}` is always there")
    await request.app[RECOGNITION].directory.delete_tenant(
        tenant_id, keep_history=flag(request, "keepHistory"), by=user(request)
    )
    request.app[AUDIT].record(
        tenant=SYSTEM_TENANT,
        action=AuditAction.DELETE,
        resource="TENANT",
        actor=actor_of(request, user(request) or ""),
        details={"id": tenant_id},
        before=_document(request, tenant_id, tenant),
    )
    return web.Response(status=204)


async def get_catalog(request: web.Request) -> web.StreamResponse:
    """How the catalogue of apps looks."""
    return json_answer(_tenant(request)[1].app_catalog_config or {})


async def set_catalog(request: web.Request) -> web.StreamResponse:
    """Say how the catalogue of apps looks; its logo stays."""
    tenant_id, tenant = _tenant(request)
    body = await fields.read_object(request)
    logo = (tenant.app_catalog_config or {}).get("logo")
    config = without_nulls({**{name: fields.text(body, name) for name in _COLOURS}, "logo": logo})
    await _save(request, tenant_id, msgspec.structs.replace(tenant, app_catalog_config=config))
    return json_answer(config)


async def set_catalog_logo(request: web.Request) -> web.StreamResponse:
    """Give the catalogue of apps a logo."""
    tenant_id, tenant = _tenant(request)
    config = {**(tenant.app_catalog_config or {}), "logo": await _logo(request)}
    await _save(request, tenant_id, msgspec.structs.replace(tenant, app_catalog_config=config))
    return json_answer(config)


async def delete_catalog_logo(request: web.Request) -> web.StreamResponse:
    """Take the logo of the catalogue of apps away."""
    tenant_id, tenant = _tenant(request)
    config = {name: value for name, value in (tenant.app_catalog_config or {}).items() if name != "logo"}
    await _save(request, tenant_id, msgspec.structs.replace(tenant, app_catalog_config=config))
    return web.Response(status=204)


async def set_logo(request: web.Request) -> web.StreamResponse:
    """Give a tenant a logo."""
    tenant_id, tenant = _tenant(request)
    changed = msgspec.structs.replace(tenant, logo=await _logo(request))
    await _save(request, tenant_id, changed)
    return json_answer(_document(request, tenant_id, changed))


def check_tenant_id(tenant_id: str) -> None:
    """Insist on an id that a path can have.  Raises Problem 422."""
    if _ID.fullmatch(tenant_id) is None or tenant_id in RESERVED:
        raise Problem(
            422,
            "the id of a tenant has at most 64 of a-z, 0-9, _ and -, begins with a letter or digit, and is no word"
            " of the API",
        )


def _tenant(request: web.Request) -> tuple[str, Tenant]:
    tenant_id = request.match_info["id"]
    tenant = request.app[RECOGNITION].identities.tenant(tenant_id)
    if tenant is None:
        raise not_found(f"the tenant `{tenant_id[:100]}`")
    return tenant_id, tenant


def _document(request: web.Request, tenant_id: str, tenant: Tenant) -> dict[str, Any]:
    return request.app[DEDICATED].shown(tenant_id, None, tenant_document(tenant_id, tenant))


async def _changed(request: web.Request, tenant_id: str, tenant: Tenant, body: Mapping[str, Any]) -> Tenant:
    """A tenant as a body says; what it does not name is not there any more, but for logo and catalogue."""
    settings = await sealed_settings(request, tenant_id, None, without_nulls(dict(body)))
    config = body.get("appCatalogConfig")
    if config is not None and not isinstance(config, Mapping):
        raise Problem(422, "`appCatalogConfig` must be an object")
    catalog = tenant.app_catalog_config
    if config is not None:
        catalog = without_nulls({name: fields.text(config, name) for name in _COLOURS})
    return msgspec.structs.replace(
        tenant,
        name=fields.needed(body, "name", longest=256),
        app_catalog_config=catalog,
        require_existing_namespace=settings.get("requireExistingNamespace"),
        **{snake_case(name): settings.get(name) for name in SETTINGS},
    )


def snake_case(name: str) -> str:
    """The field of the record of a field of the document."""
    return re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", name)


async def _save(request: web.Request, tenant_id: str, tenant: Tenant) -> None:
    await request.app[RECOGNITION].directory.update_tenant(tenant_id, tenant, by=user(request))


async def _logo(request: web.Request) -> str:
    """A picture, as a multipart part or as the body, as a `data:` address; what is no picture is refused."""
    content = await read_body(request, _LARGEST_LOGO_BYTES + 4_096)
    if request.content_type.startswith("multipart/"):
        content = _part(content)
    for beginning, kind in ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif")):
        if content.startswith(beginning) and len(content) <= _LARGEST_LOGO_BYTES:
            return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    raise Problem(422, f"a logo is a PNG, JPEG or GIF of at most {_LARGEST_LOGO_BYTES} bytes")


def _part(content: bytes) -> bytes:
    """The content of the one part of a multipart body."""
    boundary, _, rest = content.partition(b"\r\n")
    _, _, body = rest.partition(b"\r\n\r\n")
    return body.partition(b"\r\n" + boundary)[0]
