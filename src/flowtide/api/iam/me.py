"""The caller themselves: profile, permissions, password and tokens; whoever is logged in may ask (GAP-04)."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import json_answer, without_nulls
from flowtide.api.iam import fields, sessions, tokens
from flowtide.api.iam.documents import auths_of
from flowtide.api.logins import opened
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION, WRONG, address_of
from flowtide.model.access import LoginWay, SubjectType
from flowtide.model.identity import MembershipType, User


async def get(request: web.Request) -> web.StreamResponse:
    """Who is logged in, and which tenants they may enter."""
    caller, identities = principal(request), request.app[RECOGNITION].identities
    user = identities.user(caller.id)
    tenants = identities.tenants_of(caller.id)
    if identities.is_configured(caller.id):
        tenants = identities.tenants()
    profile = {"username": caller.name}
    if user is not None:
        profile = without_nulls(
            {
                "email": user.email,
                "firstName": user.first_name,
                "lastName": user.last_name,
                "username": user.email,
            }
        )
    owned = [
        {"id": group_id, "name": group.name, "tenantId": name}
        for name, _ in tenants
        for group_id, group, membership in identities.groups_of(name, caller.id)
        if membership.membership is MembershipType.OWNER
    ]
    return json_answer(
        without_nulls(
            {
                "id": caller.id,
                "type": "STANDARD" if caller.type is SubjectType.USER else "SERVICE_ACCOUNT",
                "superAdmin": caller.super_admin,
                "instanceOwner": caller.super_admin,
                "restricted": user is not None and user.restricted,
                "profile": profile,
                "auths": [] if user is None else auths_of(identities, caller.id, user),
                "tenants": [
                    without_nulls({"id": name, "name": tenant.name, "logo": tenant.logo})
                    for name, tenant in tenants
                ],
                "ownedGroups": owned,
                "impersonatedBy": caller.impersonator,
            }
        )
    )


async def permissions(request: web.Request) -> web.StreamResponse:
    """What the caller may do in a tenant: everywhere, and in single namespaces with all below them."""
    caller, identities = principal(request), request.app[RECOGNITION].identities
    tenant = request.match_info["tenantId"]
    grants = identities.grants(caller.id, tenant)
    if not grants.has_access:
        raise not_found(f"the tenant `{tenant[:100]}`")

    def shown(held: object) -> dict[str, list[str]]:
        assert isinstance(held, dict)
        return {name: sorted(actions) for name, actions in sorted(held.items())}

    return json_answer(
        {
            "permissions": shown(dict(grants.everywhere)),
            "namespaces": {name: shown(dict(held)) for name, held in sorted(grants.within.items())},
        }
    )


async def update(request: web.Request) -> web.StreamResponse:
    """Change one's own name; the e-mail address is for a superadmin to change, since it is what one logs in with."""
    caller, recognition = principal(request), request.app[RECOGNITION]
    user = _changeable(request)
    body = await fields.read_object(request)
    wanted = fields.text(body, "email")
    if wanted is not None and wanted.casefold() != user.email.casefold() and not caller.super_admin:
        raise Problem(403, "Forbidden: only a superadmin changes an e-mail address")
    changed = msgspec.structs.replace(
        user,
        email=fields.email(body) if wanted is not None else user.email,
        first_name=fields.text(body, "firstName") if "firstName" in body else user.first_name,
        last_name=fields.text(body, "lastName") if "lastName" in body else user.last_name,
    )
    await recognition.directory.update_user(caller.id, changed, by=caller.name)
    return await get(request)


async def change_password(request: web.Request) -> web.StreamResponse:
    """Change one's own password, which ends one's other sessions (AUTH-08)."""
    caller, recognition = principal(request), request.app[RECOGNITION]
    _changeable(request)
    if recognition.identities.password(caller.id) is None:
        raise Problem(409, "you have no password here; change it where you log in")
    body = await fields.read_object(request)
    old, new = fields.needed(body, "oldPassword"), fields.needed(body, "newPassword")
    try:
        await recognition.login(caller.name, old, address_of(request))
    except Problem as problem:
        if problem.status != 401:
            raise
        # 401 would make browsers ask for a login.
        raise Problem(422, f"the old password was not taken: {WRONG}") from None
    await recognition.directory.set_password(caller.id, new, by=caller.name)
    answer = json_answer({})
    if caller.way is LoginWay.SESSION:
        return await opened(request, recognition, caller.id, caller.name, answer=answer, goes_on=True)
    return answer


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """One's own logins by browser, with the one that asks."""
    caller = principal(request)
    return sessions.listing(request, caller.id, own=caller.session_id)


async def end_session(request: web.Request) -> web.StreamResponse:
    """End one of one's own logins."""
    return await sessions.ending(request, principal(request).id)


async def end_other_sessions(request: web.Request) -> web.StreamResponse:
    """End all of one's own logins but the one that asks."""
    caller = principal(request)
    if caller.impersonator is not None:
        raise Problem(403, "Forbidden: this account must not be changed")
    await request.app[RECOGNITION].directory.end_sessions(caller.id, but=caller.session_id, by=caller.name)
    return web.Response(status=204)


async def list_tokens(request: web.Request) -> web.StreamResponse:
    """One's own API tokens, without the tokens."""
    return tokens.listing(request, principal(request).id)


async def create_token(request: web.Request) -> web.StreamResponse:
    """Make an API token of one's own; it is shown this once."""
    caller = principal(request)
    if caller.impersonator is not None:
        raise Problem(403, "Forbidden: acting as somebody else makes no tokens, which would outlast it")
    return await tokens.creation(request, caller.type, caller.id)


async def delete_token(request: web.Request) -> web.StreamResponse:
    """Delete an API token of one's own."""
    return await tokens.deletion(request, principal(request).id)


def _changeable(request: web.Request) -> User:
    caller, identities = principal(request), request.app[RECOGNITION].identities
    user = identities.user(caller.id)
    if user is None:
        raise Problem(403, "Forbidden: a service account has no profile")
    if identities.is_configured(caller.id):
        raise Problem(409, "this user stands in the configuration; change it there")
    if user.restricted or caller.impersonator is not None:
        raise Problem(403, "Forbidden: this account must not be changed")
    return user
