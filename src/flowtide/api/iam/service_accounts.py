"""Service accounts, of the instance and of a tenant: requests in, accounts and their tokens out (REC-06, SA-01).

What reaches beyond a tenant is for superadmins: an account that is a superadmin or that may enter other tenants is
not changed, and gets no token, by somebody who has rights in one tenant only.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.iam import fields, tokens
from flowtide.api.iam.documents import tenant_summaries
from flowtide.api.iam.groups import check_groups
from flowtide.api.keys import CLOCK
from flowtide.api.listed import listed
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.access import SubjectType
from flowtide.model.identity import ServiceAccount
from flowtide.model.resources import ResourceKind
from flowtide.services.identity.groups import Groups

# Of the instance, for superadmins.


async def search(request: web.Request) -> web.StreamResponse:
    """Every service account of the instance."""
    found = request.app[RECOGNITION].identities.service_accounts()
    entries = [_detail(request, account_id, account) for account_id, account in found]
    results, total = listed(request, _sorted(entries), words=("name", "description"), fields=("id", "name"))
    return page_answer(results, total)


async def get(request: web.Request) -> web.StreamResponse:
    """One service account."""
    return json_answer(_detail(request, *_account(request)))


async def create(request: web.Request) -> web.StreamResponse:
    """Create a service account that may enter these tenants."""
    body = await fields.read_object(request)
    recognition = request.app[RECOGNITION]
    wanted = fields.texts(body, "tenants") or ()
    for name in wanted:
        if recognition.identities.tenant(name) is None:
            raise not_found(f"the tenant `{name[:100]}`")
    account = _read(request, body)
    account_id = recognition.directory.new_id()
    await _save(request, account_id, account)
    for name in wanted:
        await recognition.directory.grant_access(
            name, account_id, type_=SubjectType.SERVICE_ACCOUNT, by=user(request)
        )
    return json_answer(_detail(request, account_id, account))


async def patch(request: web.Request) -> web.StreamResponse:
    """Change a service account's name and description."""
    account_id, account = _account(request)
    body = await fields.read_object(request)
    changed = msgspec.structs.replace(
        account,
        name=fields.name_of(body),
        description=fields.text(body, "description") if "description" in body else account.description,
    )
    await _save(request, account_id, changed)
    return json_answer(_detail(request, account_id, changed))


async def set_superadmin(request: web.Request) -> web.StreamResponse:
    """Make a service account a superadmin, or not (SA-06)."""
    account_id, account = _account(request)
    body = await fields.read_object(request)
    if "superAdmin" not in body and "instanceOwner" not in body:
        raise Problem(422, "`superAdmin` is needed")
    changed = msgspec.structs.replace(account, super_admin=fields.superadmin(body))
    await _save(request, account_id, changed)
    return web.Response(status=204)


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a service account with its tokens, access and roles."""
    account_id, _ = _account(request)
    await request.app[RECOGNITION].directory.delete_service_account(account_id, by=user(request))
    return web.Response(status=204)


async def list_tokens(request: web.Request) -> web.StreamResponse:
    """The API tokens of a service account, without the tokens."""
    return tokens.listing(request, _account(request)[0])


async def create_token(request: web.Request) -> web.StreamResponse:
    """Make an API token for a service account; it is shown this once."""
    return await tokens.creation(request, SubjectType.SERVICE_ACCOUNT, _account(request)[0])


async def delete_token(request: web.Request) -> web.StreamResponse:
    """Delete an API token of a service account."""
    return await tokens.deletion(request, _account(request)[0])


# Of a tenant.


async def search_in_tenant(request: web.Request) -> web.StreamResponse:
    """The service accounts that may enter the tenant."""
    identities = request.app[RECOGNITION].identities
    entries = [
        _response(request, account_id, account)
        for account_id, account in identities.service_accounts()
        if identities.access(tenant(request), account_id) is not None
    ]
    results, total = listed(request, _sorted(entries), words=("name", "description"), fields=("id", "name"))
    return page_answer(results, total)


async def get_in_tenant(request: web.Request) -> web.StreamResponse:
    """One service account of the tenant."""
    return json_answer(_response(request, *_own(request)))


async def create_in_tenant(request: web.Request) -> web.StreamResponse:
    """Create a service account in the tenant, perhaps in groups."""
    body = await fields.read_object(request)
    groups = _groups_of(request, body)
    account = _read(request, body)
    recognition, by, name = request.app[RECOGNITION], user(request), tenant(request)
    account_id = recognition.directory.new_id()
    await _save(request, account_id, account)
    await recognition.directory.grant_access(name, account_id, type_=SubjectType.SERVICE_ACCOUNT, by=by)
    if groups is not None:
        await _membership(request).replace_of(name, account_id, groups, by=by)
    return json_answer(_response(request, account_id, account))


async def update_in_tenant(request: web.Request) -> web.StreamResponse:
    """Change a service account of the tenant; groups that the body does not name stay."""
    account_id, account = _changeable(request)
    body = await fields.read_object(request)
    groups = _groups_of(request, body)
    changed = _read(request, body, account)
    await _save(request, account_id, changed)
    if groups is not None:
        await _membership(request).replace_of(tenant(request), account_id, groups, by=user(request))
    return json_answer(_response(request, account_id, changed))


async def delete_in_tenant(request: web.Request) -> web.StreamResponse:
    """Delete a service account of the tenant; one that may enter other tenants leaves this one only."""
    account_id, _ = _own(request)
    directory = request.app[RECOGNITION].directory
    if _reaches_beyond(request, account_id):
        await directory.revoke_access(tenant(request), account_id, by=user(request))
    else:
        await directory.delete_service_account(account_id, by=user(request))
    return web.Response(status=204)


async def list_tokens_in_tenant(request: web.Request) -> web.StreamResponse:
    """The API tokens of a service account of the tenant, without the tokens."""
    return tokens.listing(request, _own(request)[0])


async def create_token_in_tenant(request: web.Request) -> web.StreamResponse:
    """Make an API token for a service account of the tenant; it is shown this once."""
    return await tokens.creation(request, SubjectType.SERVICE_ACCOUNT, _changeable(request)[0])


async def delete_token_in_tenant(request: web.Request) -> web.StreamResponse:
    """Delete an API token of a service account of the tenant."""
    return await tokens.deletion(request, _changeable(request)[0])


# Parts.


def _read(request: web.Request, body: Any, account: ServiceAccount | None = None) -> ServiceAccount:
    before = account or ServiceAccount(name="", created=request.app[CLOCK]())
    super_admin = fields.superadmin(body, before.super_admin)
    if super_admin != before.super_admin and not principal(request).super_admin:
        raise Problem(403, "Forbidden: only a superadmin makes superadmins")
    return msgspec.structs.replace(
        before,
        name=fields.name_of(body),
        description=fields.text(body, "description") if "description" in body else before.description,
        super_admin=super_admin,
    )


async def _save(request: web.Request, account_id: str, account: ServiceAccount) -> None:
    await request.app[RECOGNITION].directory.save(
        ResourceKind.SERVICE_ACCOUNT, SYSTEM_TENANT, account_id, account, by=user(request)
    )


def _account(request: web.Request) -> tuple[str, ServiceAccount]:
    account_id = request.match_info["id"]
    account = request.app[RECOGNITION].identities.service_account(account_id)
    if account is None:
        raise not_found("the service account")
    return account_id, account


def _own(request: web.Request) -> tuple[str, ServiceAccount]:
    account_id, account = _account(request)
    if request.app[RECOGNITION].identities.access(tenant(request), account_id) is None:
        raise not_found("the service account")
    return account_id, account


def _changeable(request: web.Request) -> tuple[str, ServiceAccount]:
    account_id, account = _own(request)
    if _reaches_beyond(request, account_id) and not principal(request).super_admin:
        raise Problem(403, "Forbidden: this service account reaches beyond the tenant; ask a superadmin")
    return account_id, account


def _reaches_beyond(request: web.Request, account_id: str) -> bool:
    identities = request.app[RECOGNITION].identities
    account = identities.service_account(account_id)
    others = (name for name, _ in identities.tenants() if name != tenant(request))
    return (account is not None and account.super_admin) or any(
        identities.access(name, account_id) is not None for name in others
    )


def _groups_of(request: web.Request, body: Any) -> list[str] | None:
    given = body.get("groups")
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > 1_000:
        raise Problem(422, "`groups` must be a list")
    ids = [fields.needed(each if isinstance(each, dict) else {"id": each}, "id") for each in given]
    check_groups(request, ids)
    return ids


def _membership(request: web.Request) -> Groups:
    recognition = request.app[RECOGNITION]
    return Groups(recognition.identities, recognition.directory)


def _detail(request: web.Request, account_id: str, account: ServiceAccount) -> dict[str, Any]:
    tenants = tenant_summaries(request.app[RECOGNITION].identities, account_id)
    return without_nulls({**_common(account_id, account), "tenants": tenants})


def _response(request: web.Request, account_id: str, account: ServiceAccount) -> dict[str, Any]:
    found = request.app[RECOGNITION].identities.groups_of(tenant(request), account_id)
    return without_nulls(
        {**_common(account_id, account), "groups": [{"id": group_id} for group_id, _, _ in found]}
    )


def _common(account_id: str, account: ServiceAccount) -> dict[str, Any]:
    return {
        "id": account_id,
        "name": account.name,
        "description": account.description,
        "superAdmin": account.super_admin,
        "instanceOwner": account.super_admin,
    }


def _sorted(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda each: (str(each["name"]), str(each["id"])))
