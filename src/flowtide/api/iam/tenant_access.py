"""Who may enter a tenant: requests in, people listed, let in and let out (TEN-03, PERM-TENANT_ACCESS)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.access import authorize, principal
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.iam import fields
from flowtide.api.iam.documents import auths_of, subject_groups
from flowtide.api.listed import listed
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.access import Action, Permission, SubjectType
from flowtide.services.identity import Subject

_MOST_SUGGESTED = 50


async def search(request: web.Request) -> web.StreamResponse:
    """The users who may enter the tenant."""
    results, total = listed(
        request,
        sorted(_entries(request), key=lambda each: str(each["username"])),
        words=("username", "displayName"),
        fields=("id", "username", "displayName"),
    )
    return page_answer(results, total)


async def autocomplete(request: web.Request) -> web.StreamResponse:
    """Users whose name has some text, or who have these ids; with `existingOnly` only those who may enter.

    Who may not enter is found by a superadmin alone, or by the whole address: a tenant does not tell who is in others.
    """
    body = await fields.read_object(request)
    text = (fields.text(body, "q") or fields.text(body, "username") or "").casefold()
    ids = fields.texts(body, "ids")
    entries = _entries(request)
    if not fields.flag(body, "existingOnly"):
        known = {str(each["id"]) for each in entries}
        identities = request.app[RECOGNITION].identities
        sees_all = principal(request).super_admin
        for user_id, each in identities.users():
            subject = identities.subject(user_id)
            if user_id in known or subject is None:
                continue
            if sees_all or each.email.casefold() == text:
                entries.append(_entry(request, subject))
    found = [
        each
        for each in entries
        if text in str(each["username"]).casefold() or text in str(each["displayName"]).casefold()
    ]
    if ids:
        chosen = [each for each in entries if each["id"] in ids]
        found = chosen + [each for each in found if each not in chosen] if text else chosen
    return json_answer(sorted(found, key=lambda each: str(each["username"]))[:_MOST_SUGGESTED])


async def get(request: web.Request) -> web.StreamResponse:
    """One user's access with its roles; one's own needs no permission (PERM-X11)."""
    name, identities = tenant(request), request.app[RECOGNITION].identities
    subject_id = request.match_info["userId"]
    if subject_id != principal(request).id:
        authorize(request, None, Permission.TENANT_ACCESS, Action.READ)
    subject = identities.subject(subject_id)
    access = identities.access(name, subject_id)
    if subject is None or (access is None and not identities.grants(subject_id, name).has_access):
        raise not_found("the user's access to this tenant")
    roles = []
    for binding, binding_id, group_id in identities.assignments(name, subject_id):
        role = identities.role(name, binding.role_id)
        if role is None:
            continue
        entry: dict[str, Any] = {
            "id": binding.role_id,
            "name": role.name,
            "origin": "BINDING" if group_id is None else "GROUP",
            "sourceId": binding_id if group_id is None else group_id,
            "permissions": [
                {"permission": permission, "actions": sorted(actions)}
                for permission, actions in sorted(role.permissions.items())
            ],
        }
        if binding.namespace is not None:
            entry["namespace"] = binding.namespace
        roles.append(entry)
    return json_answer(
        {
            "tenantId": name,
            "userId": subject_id,
            "username": subject.name,
            "displayName": subject.display_name,
            "groups": subject_groups(identities, name, subject_id),
            "roles": roles,
            "superAdmin": subject.super_admin,
            "instanceOwner": subject.super_admin,
        }
    )


async def create_by_email(request: web.Request) -> web.StreamResponse:
    """Let a user in by e-mail address; 409 for who may enter already."""
    email = fields.email(await fields.read_object(request))
    user_id = request.app[RECOGNITION].identities.user_id(email)
    if user_id is None:
        raise not_found("a user of this e-mail address")
    if not await _grant(request, user_id):
        raise Problem(409, "this user may enter the tenant already")
    return web.Response(status=204)


async def create(request: web.Request) -> web.StreamResponse:
    """Let a user or service account in by id."""
    subject_id = request.match_info["userId"]
    if request.app[RECOGNITION].identities.subject(subject_id) is None:
        raise not_found("the user")
    await _grant(request, subject_id)
    return web.Response(status=201)


async def delete(request: web.Request) -> web.StreamResponse:
    """Let a user out of the tenant, and of its groups and roles."""
    subject_id = request.match_info["userId"]
    directory = request.app[RECOGNITION].directory
    if not await directory.revoke_access(tenant(request), subject_id, by=user(request)):
        raise not_found("the user's access to this tenant")
    return web.Response(status=204)


async def _grant(request: web.Request, subject_id: str) -> bool:
    recognition = request.app[RECOGNITION]
    subject = recognition.identities.subject(subject_id)
    type_ = SubjectType.USER if subject is None else subject.type
    return await recognition.directory.grant_access(
        tenant(request), subject_id, type_=type_, by=user(request)
    )


def _entries(request: web.Request) -> list[dict[str, Any]]:
    identities = request.app[RECOGNITION].identities
    found = []
    for subject_id, access in identities.accesses(tenant(request)):
        subject = identities.subject(subject_id)
        if access.type is SubjectType.USER and subject is not None:
            found.append(_entry(request, subject))
    return found


def _entry(request: web.Request, subject: Subject) -> dict[str, Any]:
    identities = request.app[RECOGNITION].identities
    known = identities.user(subject.id)
    entry = {
        "id": subject.id,
        "username": subject.name,
        "displayName": subject.display_name,
        "groups": subject_groups(identities, tenant(request), subject.id),
        "auths": [] if known is None else auths_of(identities, subject.id, known),
    }
    if known is not None and known.description is not None:
        entry["description"] = known.description
    return entry
