"""Users of the instance, for superadmins: requests in, users listed, made, changed and deleted out (REC-05)."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.iam import fields, sessions, tokens
from flowtide.api.iam.documents import auths_of, user_document, user_summary
from flowtide.api.keys import CLOCK
from flowtide.api.listed import listed
from flowtide.api.logins import opened
from flowtide.api.parameters import user as caller_name
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.access import SubjectType
from flowtide.model.identity import GroupMembership, User
from flowtide.model.resources import ResourceKind


async def search(request: web.Request) -> web.StreamResponse:
    """Every user of the instance."""
    identities = request.app[RECOGNITION].identities
    entries = [user_summary(identities, user_id, user) for user_id, user in identities.users()]
    results, total = listed(
        request,
        sorted(entries, key=lambda each: str(each["username"])),
        words=("username", "displayName"),
        fields=("id", "username", "displayName"),
    )
    return page_answer(results, total)


async def get(request: web.Request) -> web.StreamResponse:
    """One user."""
    user_id, user = _user(request)
    return json_answer(user_document(request.app[RECOGNITION].identities, user_id, user))


async def create(request: web.Request) -> web.StreamResponse:
    """Create a user, perhaps with a password, access to tenants and groups."""
    recognition = request.app[RECOGNITION]
    body = await fields.read_object(request)
    tenants = _tenants(request, fields.texts(body, "tenants") or ())
    groups = fields.texts(body, "groups") or ()
    places = _places_of_groups(request, groups)
    user = User(
        email=fields.email(body),
        created=request.app[CLOCK](),
        first_name=fields.text(body, "firstName"),
        last_name=fields.text(body, "lastName"),
        description=fields.text(body, "description"),
        super_admin=fields.superadmin(body),
        restricted=fields.flag(body, "restricted"),
    )
    by = caller_name(request)
    user_id = await recognition.directory.create_user(
        user,
        password=fields.text(body, "password"),
        must_change=fields.flag(body, "mustChangePassword"),
        tenants=tenants,
        by=by,
    )
    await _join(request, user_id, places)
    document = user_document(recognition.identities, user_id, recognition.identities.user(user_id) or user)
    return json_answer(document, status=201)


async def update(request: web.Request) -> web.StreamResponse:
    """Save a user as the body says; what it does not name of tenants, groups and password stays."""
    recognition = request.app[RECOGNITION]
    user_id, user = _changeable(request)
    body = await fields.read_object(request)
    wanted = fields.texts(body, "tenants")
    groups = fields.texts(body, "groups")
    tenants = None if wanted is None else _tenants(request, wanted)
    places = _places_of_groups(request, groups or ())
    by = caller_name(request)
    changed = msgspec.structs.replace(
        user,
        email=fields.email(body),
        first_name=fields.text(body, "firstName"),
        last_name=fields.text(body, "lastName"),
        description=fields.text(body, "description") if "description" in body else user.description,
        super_admin=_keeps_a_superadmin(request, user_id, fields.superadmin(body, user.super_admin)),
        restricted=fields.flag(body, "restricted", user.restricted),
    )
    password = fields.text(body, "password")
    if changed != user:
        await recognition.directory.update_user(user_id, changed, by=by)
    if password is not None:
        must_change = fields.flag(body, "mustChangePassword")
        await recognition.directory.set_password(user_id, password, must_change=must_change, by=by)
    if tenants is not None:
        for tenant, _ in recognition.identities.tenants():
            if tenant in tenants:
                await recognition.directory.grant_access(tenant, user_id, by=by)
            elif recognition.identities.access(tenant, user_id) is not None:
                await recognition.directory.revoke_access(tenant, user_id, by=by)
    if groups is not None:
        for tenant, _ in recognition.identities.tenants():
            for group_id, _, _ in recognition.identities.groups_of(tenant, user_id):
                if group_id not in groups:
                    await recognition.directory.delete(
                        ResourceKind.GROUP_MEMBERSHIP, tenant, f"{group_id}/{user_id}", by=by
                    )
        await _join(request, user_id, places)
    return json_answer(user_document(recognition.identities, user_id, changed))


async def patch(request: web.Request) -> web.StreamResponse:
    """Change a user's names and e-mail address."""
    recognition = request.app[RECOGNITION]
    user_id, user = _changeable(request)
    body = await fields.read_object(request)
    changed = msgspec.structs.replace(
        user,
        email=fields.email(body) if body.get("email") is not None else user.email,
        first_name=fields.text(body, "firstName") if "firstName" in body else user.first_name,
        last_name=fields.text(body, "lastName") if "lastName" in body else user.last_name,
    )
    await recognition.directory.update_user(user_id, changed, by=caller_name(request))
    return json_answer(user_document(recognition.identities, user_id, changed))


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a user with its tokens, sessions, access and roles."""
    user_id, _ = _changeable(request)
    if user_id == principal(request).id:
        raise Problem(409, "nobody deletes themselves; ask another superadmin")
    _keeps_a_superadmin(request, user_id, False)
    await request.app[RECOGNITION].directory.delete_user(user_id, by=caller_name(request))
    return web.Response(status=204)


async def set_password(request: web.Request) -> web.StreamResponse:
    """Give a user another password, which ends a lock and all sessions (AUTH-10).

    With `mustChangePassword` it is only good for choosing another one.
    """
    user_id, user = _changeable(request)
    recognition = request.app[RECOGNITION]
    body = await fields.read_object(request)
    await recognition.directory.set_password(
        user_id,
        fields.needed(body, "password"),
        must_change=fields.flag(body, "mustChangePassword"),
        by=caller_name(request),
    )
    return json_answer(user_document(recognition.identities, user_id, user))


async def set_superadmin(request: web.Request) -> web.StreamResponse:
    """Make a user a superadmin, or not (IAM-12)."""
    user_id, user = _changeable(request)
    body = await fields.read_object(request)
    if "superAdmin" not in body and "instanceOwner" not in body:
        raise Problem(422, "`superAdmin` is needed")
    wanted = _keeps_a_superadmin(request, user_id, fields.superadmin(body))
    changed = msgspec.structs.replace(user, super_admin=wanted)
    await request.app[RECOGNITION].directory.update_user(user_id, changed, by=caller_name(request))
    return web.Response(status=204)


async def set_restricted(request: web.Request) -> web.StreamResponse:
    """Make a user a demonstration account, or not."""
    user_id, user = _changeable(request)
    body = await fields.read_object(request)
    if "restricted" not in body:
        raise Problem(422, "`restricted` is needed")
    changed = msgspec.structs.replace(user, restricted=fields.flag(body, "restricted"))
    await request.app[RECOGNITION].directory.update_user(user_id, changed, by=caller_name(request))
    return web.Response(status=204)


async def delete_auth(request: web.Request) -> web.StreamResponse:
    """Take one of its ways to log in from a user."""
    user_id, user = _changeable(request)
    recognition, by = request.app[RECOGNITION], caller_name(request)
    wanted = request.match_info["auth"].upper()
    ways = {
        str(each["id"]).upper(): str(each["id"]) for each in auths_of(recognition.identities, user_id, user)
    }
    if wanted == "BASIC_AUTH":
        wanted = "BASIC"
    if wanted not in ways:
        raise not_found("this way to log in")
    if wanted == "BASIC":
        await recognition.directory.remove_password(user_id, by=by)
    else:
        user = msgspec.structs.replace(
            user, logins=tuple(each for each in user.logins if each != ways[wanted])
        )
        await recognition.directory.update_user(user_id, user, by=by)
        await recognition.directory.end_sessions(user_id, by=by)
    return json_answer(user_document(recognition.identities, user_id, user))


async def end_sessions(request: web.Request) -> web.StreamResponse:
    """End every session of a user."""
    user_id, _ = _user(request)
    await request.app[RECOGNITION].directory.end_sessions(user_id, by=caller_name(request))
    return web.Response(status=204)


async def list_sessions(request: web.Request) -> web.StreamResponse:
    """The logins of a user by browser."""
    return sessions.listing(request, _user(request)[0])


async def end_session(request: web.Request) -> web.StreamResponse:
    """End one login of a user."""
    return await sessions.ending(request, _user(request)[0])


async def impersonate(request: web.Request) -> web.StreamResponse:
    """Act as a user: the answer's cookies are of a session that names both (IAM-14)."""
    user_id, user = _user(request)
    caller = principal(request)
    return await opened(
        request,
        request.app[RECOGNITION],
        user_id,
        user.email,
        way="IMPERSONATION",
        impersonator=caller.impersonator or caller.name,
    )


async def list_tokens(request: web.Request) -> web.StreamResponse:
    """The API tokens of a user, without the tokens."""
    return tokens.listing(request, _user(request)[0])


async def create_token(request: web.Request) -> web.StreamResponse:
    """Make an API token for a user; it is shown this once."""
    return await tokens.creation(request, SubjectType.USER, _user(request)[0])


async def delete_token(request: web.Request) -> web.StreamResponse:
    """Delete an API token of a user."""
    return await tokens.deletion(request, _user(request)[0])


def _user(request: web.Request) -> tuple[str, User]:
    user_id = request.match_info["id"]
    user = request.app[RECOGNITION].identities.user(user_id)
    if user is None:
        raise not_found("the user")
    return user_id, user


def _changeable(request: web.Request) -> tuple[str, User]:
    user_id, user = _user(request)
    if request.app[RECOGNITION].identities.is_configured(user_id):
        raise Problem(409, "this user stands in the configuration; change it there")
    return user_id, user


def _keeps_a_superadmin(request: web.Request, user_id: str, wanted: bool) -> bool:
    """Whether a user is to be a superadmin; the last one stays one, or nobody could make another."""
    identities = request.app[RECOGNITION].identities
    others = (user.super_admin for each, user in identities.users() if each != user_id)
    user = identities.user(user_id)
    if not wanted and user is not None and user.super_admin and not any(others):
        raise Problem(409, "this is the last superadmin; make another one first")
    return wanted


def _tenants(request: web.Request, names: object) -> list[str]:
    assert isinstance(names, list | tuple)
    for name in names:
        if request.app[RECOGNITION].identities.tenant(name) is None:
            raise not_found(f"the tenant `{name[:100]}`")
    return list(names)


def _places_of_groups(request: web.Request, groups: object) -> list[tuple[str, str]]:
    """The tenant of each group."""
    assert isinstance(groups, list | tuple)
    identities = request.app[RECOGNITION].identities
    places = []
    for group_id in groups:
        found = [name for name, _ in identities.tenants() if identities.group(name, group_id) is not None]
        if not found:
            raise not_found(f"the group {group_id[:100]}")
        places.append((found[0], group_id))
    return places


async def _join(request: web.Request, user_id: str, places: list[tuple[str, str]]) -> None:
    directory, identities = request.app[RECOGNITION].directory, request.app[RECOGNITION].identities
    by = caller_name(request)
    for tenant, group_id in places:
        await directory.grant_access(tenant, user_id, by=by)
        if identities.membership(tenant, group_id, user_id) is None:
            await directory.save(
                ResourceKind.GROUP_MEMBERSHIP, tenant, f"{group_id}/{user_id}", GroupMembership(), by=by
            )
