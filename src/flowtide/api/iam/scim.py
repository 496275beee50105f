"""Provisioning by SCIM 2.0 (SCIM-04 to SCIM-06): a provider's requests in, users and groups of one tenant out.

Users are of the instance and a provider is of a tenant: it lets them in and out, and changes the profile only of
whom it made itself, as long as they are in no other tenant and no superadmin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import without_nulls
from flowtide.api.iam.fields import EMAIL
from flowtide.api.iam.integrations import address_of_scim
from flowtide.api.iam.scim_messages import (
    GROUP_SCHEMA,
    USER_SCHEMA,
    ScimProblem,
    changes_of,
    filter_of,
    list_answer,
    members_of,
    read_resource,
    scim,
    scim_answer,
    truth,
)
from flowtide.api.keys import CLOCK
from flowtide.api.parameters import tenant, user
from flowtide.api.recognition import RECOGNITION
from flowtide.model.access import SubjectType
from flowtide.model.identity import Group, SecurityIntegration, User, UserProvider
from flowtide.model.records import format_date
from flowtide.services.identity import Directory, Identities
from flowtide.services.identity.groups import Groups

_LONGEST = 256
_CREATED = {"created": True}  # what the link of a user says whom the provider made


# Users.


@scim
async def list_users(request: web.Request) -> web.StreamResponse:
    """The users of the tenant, and those whom the provider let out of it."""
    _provisioning(request)
    wanted = filter_of(request, ("userName", "externalId", "id", "emails.value"))
    entries = [_user_document(request, user_id, each) for user_id, each in _users(request)]
    if wanted is not None:
        name, value = wanted
        if name in ("userName", "emails.value"):  # not case exact (RFC 7643, 4.1.1)
            entries = [each for each in entries if str(each["userName"]).casefold() == value.casefold()]
        else:
            entries = [each for each in entries if each.get(name) == value]
    return list_answer(request, sorted(entries, key=lambda each: str(each["userName"])))


@scim
async def get_user(request: web.Request) -> web.StreamResponse:
    """One user."""
    _provisioning(request)
    return scim_answer(_user_document(request, *_user(request)))


@scim
async def create_user(request: web.Request) -> web.StreamResponse:
    """Make a user, or let one in who is in another tenant."""
    integration_id, _ = _provisioning(request)
    body = await read_resource(request)
    email = _text(body, "userName")
    if email is None or EMAIL.fullmatch(email) is None:
        raise ScimProblem(400, "`userName` must be an e-mail address", "invalidValue")
    directory, identities, by = _directory(request), _identities(request), user(request)
    await identities.catch_up()
    user_id = identities.user_id(email)
    if user_id is not None and any(user_id == each for each, _ in _users(request)):
        raise ScimProblem(409, f"there is a user {email} already", "uniqueness")
    external_id = _text(body, "externalId") or ""
    link = UserProvider(external_id=external_id, integration_id=integration_id, tenant=tenant(request))
    if user_id is None:
        name = body.get("name") if isinstance(body.get("name"), dict) else {}
        assert isinstance(name, dict)
        made = User(
            email=email,
            created=request.app[CLOCK](),
            first_name=_text(name, "givenName"),
            last_name=_text(name, "familyName"),
            providers=(msgspec.structs.replace(link, attributes=_CREATED),),
        )
        user_id = await directory.create_user(made, by=by)
    elif not identities.is_configured(user_id):
        known = identities.user(user_id)
        assert known is not None
        linked = msgspec.structs.replace(known, providers=(*known.providers, link))
        await directory.update_user(user_id, linked, by=by)
    if truth(body.get("active", True)):
        await directory.grant_access(tenant(request), user_id, by=by)
    return scim_answer(_user_document(request, user_id, _existing(request, user_id)), 201)


@scim
async def replace_user(request: web.Request) -> web.StreamResponse:
    """Save a user as the provider knows it."""
    _provisioning(request)
    user_id, known = _user(request)
    body = await read_resource(request)
    name = body.get("name") if isinstance(body.get("name"), dict) else {}
    assert isinstance(name, dict)
    changes = {f"name.{part}": value for part, value in name.items()}
    changes |= {part: body[part] for part in ("userName", "externalId", "active") if part in body}
    await _change_user(request, user_id, known, changes)
    return scim_answer(_user_document(request, user_id, _existing(request, user_id)))


@scim
async def patch_user(request: web.Request) -> web.StreamResponse:
    """Change what the operations name; `active: false` lets the user out of the tenant."""
    _provisioning(request)
    user_id, known = _user(request)
    changes: dict[str, Any] = {}
    for verb, path, value in changes_of(await read_resource(request)):
        changes[path] = None if verb == "remove" else value
    await _change_user(request, user_id, known, changes)
    return scim_answer(_user_document(request, user_id, _existing(request, user_id)))


@scim
async def delete_user(request: web.Request) -> web.StreamResponse:
    """Let a user out of the tenant; the user stays (SCIM-04)."""
    integration_id, _ = _provisioning(request)
    user_id, known = _user(request)
    directory, by = _directory(request), user(request)
    await directory.revoke_access(tenant(request), user_id, by=by)
    kept = tuple(each for each in known.providers if each.integration_id != integration_id)
    if kept != known.providers:
        await directory.update_user(user_id, msgspec.structs.replace(known, providers=kept), by=by)
    return web.Response(status=204)


# Groups.


@scim
async def list_groups(request: web.Request) -> web.StreamResponse:
    """The groups of the tenant."""
    _provisioning(request)
    wanted = filter_of(request, ("displayName", "externalId", "id"))
    found = _identities(request).groups(tenant(request))
    entries = [_group_document(request, group_id, each) for group_id, each in found]
    if wanted is not None:
        entries = [each for each in entries if each.get(wanted[0]) == wanted[1]]
    return list_answer(request, sorted(entries, key=lambda each: str(each["displayName"])))


@scim
async def get_group(request: web.Request) -> web.StreamResponse:
    """One group with its members."""
    _provisioning(request)
    return scim_answer(_group_document(request, *_group(request)))


@scim
async def create_group(request: web.Request) -> web.StreamResponse:
    """Make a group with its members."""
    _, integration = _provisioning(request)
    body = await read_resource(request)
    members = _checked(request, members_of(body.get("members")))
    group = Group(
        name=_group_name(body.get("displayName")),
        external=integration.name,
        external_id=_text(body, "externalId"),
    )
    group_id = await _groups(request).create(tenant(request), group, by=user(request))
    await _set_members(request, group_id, members)
    return scim_answer(_group_document(request, group_id, group), 201)


@scim
async def replace_group(request: web.Request) -> web.StreamResponse:
    """Save a group as the provider knows it, members included."""
    _, integration = _provisioning(request)
    group_id, known = _group(request)
    body = await read_resource(request)
    members = _checked(request, members_of(body.get("members")))
    changed = msgspec.structs.replace(
        known,
        name=_group_name(body.get("displayName")),
        external=integration.name,
        external_id=_text(body, "externalId") or known.external_id,
    )
    await _groups(request).update(tenant(request), group_id, changed, by=user(request))
    await _set_members(request, group_id, members)
    return scim_answer(_group_document(request, group_id, changed))


@scim
async def patch_group(request: web.Request) -> web.StreamResponse:
    """Add and remove members, or rename the group: all of the operations, or none when one cannot be."""
    _, integration = _provisioning(request)
    group_id, known = _group(request)
    before = [subject_id for subject_id, _ in _identities(request).members(tenant(request), group_id)]
    members, changed = list(before), msgspec.structs.replace(known, external=integration.name)
    for verb, path, value in changes_of(await read_resource(request)):
        if path == "members":
            named = members_of(value)
            if verb == "remove":
                members = [] if value is None else [each for each in members if each not in named]
            else:
                members = list(dict.fromkeys([*(members if verb == "add" else ()), *named]))
        elif path == "displayName" and verb != "remove":
            changed = msgspec.structs.replace(changed, name=_group_name(value))
        elif path == "externalId":
            changed = msgspec.structs.replace(changed, external_id=_text({"externalId": value}, "externalId"))
    _checked(request, [each for each in members if each not in before])
    await _groups(request).update(tenant(request), group_id, changed, by=user(request))
    await _set_members(request, group_id, members)
    return scim_answer(_group_document(request, group_id, changed))


@scim
async def delete_group(request: web.Request) -> web.StreamResponse:
    """Delete a group; who was in it stays."""
    _provisioning(request)
    group_id, _ = _group(request)
    await _groups(request).delete(tenant(request), group_id, by=user(request))
    return web.Response(status=204)


# Parts.


def _identities(request: web.Request) -> Identities:
    return request.app[RECOGNITION].identities


def _directory(request: web.Request) -> Directory:
    return request.app[RECOGNITION].directory


def _groups(request: web.Request) -> Groups:
    return Groups(_identities(request), _directory(request))


def _provisioning(request: web.Request) -> tuple[str, SecurityIntegration]:
    """The provisioning of the path, which must be enabled, and not be asked with the secret of another one."""
    integration_id = request.match_info["integration"]
    integration = _identities(request).integration(tenant(request), integration_id)
    if integration is None:
        raise ScimProblem(404, "there is no such provisioning")
    if not integration.enabled:
        raise ScimProblem(403, "this provisioning is disabled")
    account = _identities(request).service_account(principal(request).id)
    if account is not None and account.integration_id not in (None, integration_id):
        raise ScimProblem(403, "this is the secret of another provisioning")
    return integration_id, integration


def provisioning_of(request: web.Request) -> None:
    """Insist on a provisioning that takes requests.  Raises ScimProblem 403, 404."""
    _provisioning(request)


def _users(request: web.Request) -> list[tuple[str, User]]:
    identities, integration_id = _identities(request), request.match_info["integration"]
    return [
        (user_id, each)
        for user_id, each in identities.users()
        if identities.access(tenant(request), user_id) is not None
        or any(link.integration_id == integration_id for link in each.providers)
    ]


def _user(request: web.Request) -> tuple[str, User]:
    user_id = request.match_info["id"]
    for each, found in _users(request):
        if each == user_id:
            return each, found
    raise ScimProblem(404, "there is no such user")


def _existing(request: web.Request, user_id: str) -> User:
    found = _identities(request).user(user_id)
    if found is None:
        raise ScimProblem(404, "there is no such user")
    return found


def _group(request: web.Request) -> tuple[str, Group]:
    group_id = request.match_info["id"]
    group = _identities(request).group(tenant(request), group_id)
    if group is None:
        raise ScimProblem(404, "there is no such group")
    return group_id, group


async def _change_user(request: web.Request, user_id: str, known: User, changes: Mapping[str, Any]) -> None:
    identities, directory, by = _identities(request), _directory(request), user(request)
    integration_id, name = request.match_info["integration"], tenant(request)
    active = truth(changes["active"]) if changes.get("active") is not None else None
    changed = known
    link = next((each for each in known.providers if each.integration_id == integration_id), None)
    others = any(
        identities.access(each, user_id) is not None for each, _ in identities.tenants() if each != name
    )
    own = link is not None and link.attributes == _CREATED and not others and not known.super_admin
    email = _text(changes, "userName")
    if email is not None and email.casefold() != known.email.casefold():
        if not own:
            raise ScimProblem(400, "`userName` of a user that is not of this tenant only stays", "mutability")
        if EMAIL.fullmatch(email) is None:
            raise ScimProblem(400, "`userName` must be an e-mail address", "invalidValue")
        changed = msgspec.structs.replace(changed, email=email)
    if own:
        for path, attribute in (("name.givenName", "first_name"), ("name.familyName", "last_name")):
            if path in changes:
                changed = msgspec.structs.replace(changed, **{attribute: _text(changes, path)})
    if "externalId" in changes:
        external_id = _text(changes, "externalId") or ""
        base = link or UserProvider(external_id="", integration_id=integration_id, tenant=name)
        renamed = msgspec.structs.replace(base, external_id=external_id)
        kept = tuple(each for each in known.providers if each.integration_id != integration_id)
        changed = msgspec.structs.replace(changed, providers=(*kept, renamed))
    elif active is False and link is None:
        # So that the provider still finds whom it let out.
        fresh = UserProvider(external_id="", integration_id=integration_id, tenant=name)
        changed = msgspec.structs.replace(changed, providers=(*changed.providers, fresh))
    if changed != known:
        await directory.update_user(user_id, changed, by=by)
    if active is True:
        await directory.grant_access(name, user_id, by=by)
    elif active is False:
        await directory.revoke_access(name, user_id, by=by)


def _checked(request: web.Request, ids: Sequence[str]) -> list[str]:
    """Members must be in the tenant: a group must not let somebody in who was let out."""
    for each in ids:
        if _identities(request).access(tenant(request), each) is None:
            raise ScimProblem(400, f"there is no active user {each[:100]}", "invalidValue")
    return list(ids)


async def _set_members(request: web.Request, group_id: str, members: Sequence[str]) -> None:
    groups, name, by = _groups(request), tenant(request), user(request)
    before = dict(_identities(request).members(name, group_id))
    for subject_id in before:
        subject = _identities(request).subject(subject_id)
        program = subject is not None and subject.type is SubjectType.SERVICE_ACCOUNT
        if subject_id not in members and not program:  # providers do not know of service accounts
            await groups.leave(name, group_id, subject_id, keep_access=True, by=by)
    for subject_id in members:
        known = before.get(subject_id)
        if known is None or not known.managed_externally:
            await groups.join(name, group_id, subject_id, managed_externally=True, by=by)


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
        raise ScimProblem(400, f"`{name}` must be a text of at most {_LONGEST} characters", "invalidValue")
    return value.strip()


def _group_name(value: Any) -> str:
    name = _text({"displayName": value}, "displayName")
    if not name:
        raise ScimProblem(400, "`displayName` is needed", "invalidValue")
    return name


def _user_document(request: web.Request, user_id: str, known: User) -> dict[str, Any]:
    identities, integration_id = _identities(request), request.match_info["integration"]
    link = next((each for each in known.providers if each.integration_id == integration_id), None)
    return without_nulls(
        {
            "schemas": [USER_SCHEMA],
            "id": user_id,
            "externalId": None if link is None else link.external_id or None,
            "userName": known.email,
            "name": without_nulls({"givenName": known.first_name, "familyName": known.last_name}),
            "displayName": known.display_name,
            "emails": [{"value": known.email, "type": "work", "primary": True}],
            "active": identities.access(tenant(request), user_id) is not None,
            "groups": [
                {"value": group_id, "display": group.name, "type": "direct"}
                for group_id, group, _ in identities.groups_of(tenant(request), user_id)
            ],
            "meta": {
                "resourceType": "User",
                "created": format_date(known.created),
                "location": f"{address_of_scim(request, integration_id)}/Users/{user_id}",
            },
        }
    )


def _group_document(request: web.Request, group_id: str, group: Group) -> dict[str, Any]:
    identities, integration_id = _identities(request), request.match_info["integration"]
    members = None
    if "members" not in request.query.get("excludedAttributes", "").split(","):
        members = []
        for subject_id, _ in identities.members(tenant(request), group_id):
            subject = identities.subject(subject_id)
            if subject is not None and subject.type is SubjectType.USER:
                members.append({"value": subject_id, "display": subject.name, "type": "User"})
    return without_nulls(
        {
            "schemas": [GROUP_SCHEMA],
            "id": group_id,
            "externalId": group.external_id,
            "displayName": group.name,
            "members": members,
            "meta": {
                "resourceType": "Group",
                "location": f"{address_of_scim(request, integration_id)}/Groups/{group_id}",
            },
        }
    )
