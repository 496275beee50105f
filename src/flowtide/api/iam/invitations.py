"""Invitations to a tenant: requests in, invitations made, listed and accepted out (INV-01 to INV-04).

The link is all that a newcomer has to prove who they are, so it holds an id that nobody can guess.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.auditing import acting_as
from flowtide.api.iam import fields
from flowtide.api.iam.bindings import checked_namespace
from flowtide.api.iam.groups import check_groups, group_summary
from flowtide.api.iam.roles import role_summary
from flowtide.api.keys import CLOCK, SITE
from flowtide.api.listed import listed
from flowtide.api.logins import opened
from flowtide.api.mailing import MAILER, invitation_mail
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.access import SubjectType
from flowtide.model.identity import Invitation, InvitationStatus, InvitedRole, User
from flowtide.model.records import format_date
from flowtide.model.resources import ResourceKind
from flowtide.services.identity.invitations import Invitations, is_open


async def search(request: web.Request) -> web.StreamResponse:
    """The invitations to the tenant, the latest first."""
    results, total = listed(request, _entries(request), words=("email",), fields=("id", "email", "status"))
    return page_answer(results, total)


async def by_email(request: web.Request) -> web.StreamResponse:
    """The invitations of an e-mail address."""
    email = request.match_info["email"].casefold()
    return json_answer([each for each in _entries(request) if str(each["email"]).casefold() == email])


async def get(request: web.Request) -> web.StreamResponse:
    """One invitation."""
    invitation_id = request.match_info["id"]
    invitation = request.app[RECOGNITION].identities.invitation(tenant(request), invitation_id)
    if invitation is None:
        raise not_found("the invitation")
    return json_answer(_detail(request, tenant(request), invitation_id, invitation))


async def create(request: web.Request) -> web.StreamResponse:
    """Invite somebody; with `createUserIfNotExist` they are let in at once, and nothing is left to accept."""
    body = await fields.read_object(request)
    recognition, now, name = request.app[RECOGNITION], request.app[CLOCK](), tenant(request)
    invitation = _read(request, body)
    user_id = recognition.identities.user_id(invitation.email)
    if user_id is not None and recognition.identities.access(name, user_id) is not None:
        raise Problem(409, "this user may enter the tenant already")
    invitations = _invitations(request)
    if fields.flag(body, "createUserIfNotExist"):
        if user_id is None:
            newcomer = User(email=invitation.email, created=now)
            user_id = await recognition.directory.create_user(newcomer, by=user(request))
        await invitations.give(name, user_id, invitation, by=user(request))
        return web.Response(status=204)
    if request.app[SITE].url is None:
        raise Problem(422, "set `kestra.url` to the public address of this server; the link needs it")
    await recognition.catch_up()
    if any(each == name for each, _, _ in invitations.of(invitation.email, now)):
        raise Problem(409, "there is an open invitation of this e-mail address already")
    invitation_id = recognition.directory.new_id()
    await recognition.directory.save(
        ResourceKind.INVITATION, name, invitation_id, invitation, expected_revision=0, by=user(request)
    )
    detail = _detail(request, name, invitation_id, invitation)
    known = recognition.identities.tenant(name)
    mail = invitation_mail(
        request.app[SITE].url or "",
        principal(request).name,
        name if known is None else known.name,
        detail["link"],
        invitation.expires,
    )
    request.app[MAILER].send(invitation.email, *mail)
    return json_answer(detail)


async def delete(request: web.Request) -> web.StreamResponse:
    """Take an invitation back."""
    deleted = await request.app[RECOGNITION].directory.delete(
        ResourceKind.INVITATION, tenant(request), request.match_info["id"], by=user(request)
    )
    if not deleted:
        raise not_found("the invitation")
    return web.Response(status=204)


async def of_caller(request: web.Request) -> web.StreamResponse:
    """The caller's own open invitations."""
    caller = principal(request)
    if caller.type is not SubjectType.USER:
        return json_answer([])
    found = _invitations(request).of(caller.name, request.app[CLOCK]())
    return json_answer([_record(request, *each) for each in found])


async def shown(request: web.Request) -> web.StreamResponse:
    """What whoever has the link is told: who is invited where, and whether they have to log in to accept."""
    name, invitation_id, invitation = await _open(request)
    identities = request.app[RECOGNITION].identities
    known = identities.tenant(name)
    return json_answer(
        {
            "id": invitation_id,
            "email": invitation.email,
            "tenantId": name,
            "tenantName": name if known is None else known.name,
            "expiredAt": format_date(invitation.expires),
            "userExists": identities.user_id(invitation.email) is not None,
        }
    )


async def accept(request: web.Request) -> web.StreamResponse:
    """Accept an invitation of one's own e-mail address."""
    caller = principal(request)
    name, invitation_id, invitation = await _open(request)
    if caller.type is not SubjectType.USER or caller.name.casefold() != invitation.email.casefold():
        raise Problem(403, "Forbidden: this invitation is of somebody else")
    if caller.impersonator is not None:
        raise Problem(403, "Forbidden: nobody accepts an invitation for somebody else")
    await _invitations(request).accept(
        name, invitation_id, caller.id, at=request.app[CLOCK](), by=caller.name
    )
    return json_answer({"tenantId": name})


async def create_user(request: web.Request) -> web.StreamResponse:
    """Accept an invitation as somebody new, who is logged in by the answer."""
    name, invitation_id, invitation = await _open(request)
    body = await fields.read_object(request)
    recognition, now = request.app[RECOGNITION], request.app[CLOCK]()
    newcomer = User(
        email=invitation.email,
        created=now,
        first_name=fields.needed(body, "firstName"),
        last_name=fields.needed(body, "lastName"),
    )
    password = fields.needed(body, "password")
    if recognition.identities.user_id(invitation.email) is not None:
        raise Problem(409, "there is a user of this e-mail address; log in to accept the invitation")
    by = invitation.email
    with acting_as(request, by):
        user_id = await recognition.directory.create_user(newcomer, password=password, by=by)
        await _invitations(request).accept(name, invitation_id, user_id, at=now, by=by)
    return await opened(request, recognition, user_id, invitation.email)


# Parts.


def _invitations(request: web.Request) -> Invitations:
    recognition = request.app[RECOGNITION]
    return Invitations(recognition.identities, recognition.directory)


async def _open(request: web.Request) -> tuple[str, str, Invitation]:
    """The invitation of the path.  One that is over is as good as none: 404 for both."""
    invitation_id = request.match_info["invitationId"]
    found = await _invitations(request).find(invitation_id)
    if found is None or not is_open(found[1], request.app[CLOCK]()):
        raise not_found("the invitation, or it is over,")
    return found[0], invitation_id, found[1]


def _read(request: web.Request, body: Any) -> Invitation:
    identities, name, now = request.app[RECOGNITION].identities, tenant(request), request.app[CLOCK]()
    super_admin = fields.superadmin(body)
    if super_admin and not principal(request).super_admin:
        raise Problem(403, "Forbidden: only a superadmin makes superadmins")
    group_ids = fields.texts(body, "groups") or ()
    check_groups(request, group_ids)
    given = body.get("roles") or []
    if not isinstance(given, list) or len(given) > 1_000 or not all(isinstance(each, dict) for each in given):
        raise Problem(422, "`roles` must be a list of objects")
    roles = []
    for each in given:
        role_id = fields.needed(each, "id")
        if identities.role(name, role_id) is None:
            raise not_found(f"the role {role_id[:100]}")
        namespaces = [checked_namespace(namespace) for namespace in fields.texts(each, "namespaces") or ()]
        roles.append(
            InvitedRole(role_id=role_id, namespaces=tuple(found for found in namespaces if found is not None))
        )
    return Invitation(
        email=fields.email(body),
        sent=now,
        expires=now + request.app[RECOGNITION].security.invitation_lifetime,
        roles=tuple(roles),
        group_ids=tuple(group_ids),
        super_admin=super_admin,
    )


def _entries(request: web.Request) -> list[dict[str, Any]]:
    found = request.app[RECOGNITION].identities.invitations(tenant(request))
    latest = sorted(found, key=lambda each: (each[1].sent, each[0]), reverse=True)
    return [_detail(request, tenant(request), *each) for each in latest]


def _detail(request: web.Request, name: str, invitation_id: str, invitation: Invitation) -> dict[str, Any]:
    identities = request.app[RECOGNITION].identities
    roles = [(each.role_id, identities.role(name, each.role_id)) for each in invitation.roles]
    groups = [(group_id, identities.group(name, group_id)) for group_id in invitation.group_ids]
    return without_nulls(
        {
            **_common(request, name, invitation_id, invitation),
            "roles": [role_summary(role_id, role) for role_id, role in roles if role is not None],
            "groups": [group_summary(group_id, group) for group_id, group in groups if group is not None],
        }
    )


def _record(request: web.Request, name: str, invitation_id: str, invitation: Invitation) -> dict[str, Any]:
    """An invitation as whom it is for sees it."""
    bindings = [
        {"type": "USER", "externalId": "", "roleId": each.role_id, "namespaceId": namespace, "deleted": False}
        for each in invitation.roles
        for namespace in each.namespaces or (None,)
    ]
    return without_nulls(
        {
            **_common(request, name, invitation_id, invitation),
            "isExpired": not is_open(invitation, request.app[CLOCK]()),
            "bindings": [without_nulls(each) for each in bindings],
            "groupIds": list(invitation.group_ids),
            "userType": "STANDARD",
            "deleted": False,
        }
    )


def _common(request: web.Request, name: str, invitation_id: str, invitation: Invitation) -> dict[str, Any]:
    site = request.app[SITE]
    opening = is_open(invitation, request.app[CLOCK]())
    status = str(invitation.status)
    if invitation.status is InvitationStatus.PENDING and not opening:
        status = "EXPIRED"
    link = None
    if opening and site.url is not None:
        link = f"{site.url.rstrip('/')}/ui/invitations/{invitation_id}"
    accepted = None if invitation.accepted is None else format_date(invitation.accepted)
    return {
        "id": invitation_id,
        "tenantId": name,
        "email": invitation.email,
        "status": status,
        "sentAt": format_date(invitation.sent),
        "expiredAt": format_date(invitation.expires),
        "acceptedAt": accepted,
        "superAdmin": invitation.super_admin,
        "instanceOwner": invitation.super_admin,
        "link": link,
    }
