"""Groups and who is in them: requests in, groups and members out (REC-04, IAM-05, IAM-19).

Owners of a group may say who is in it without a permission (PERM-X11).
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.access import authorize, principal
from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.iam import fields
from flowtide.api.listed import listed
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.access import Action, Permission
from flowtide.model.identity import Group, MembershipType
from flowtide.services.identity import Identities, Subject
from flowtide.services.identity.groups import Groups

_MOST_SUGGESTED = 50
_LONGEST_NAME = 256


async def search(request: web.Request) -> web.StreamResponse:
    """The groups of the tenant."""
    results, total = listed(
        request, _summaries(request), words=("name",), fields=("id", "name", "description")
    )
    return page_answer(results, total)


async def autocomplete(request: web.Request) -> web.StreamResponse:
    """Groups whose name has some text, and those with these ids."""
    body = await fields.read_object(request)
    return json_answer(suggested(body, _summaries(request)))


async def by_ids(request: web.Request) -> web.StreamResponse:
    """The groups with these ids."""
    ids = fields.texts(await fields.read_object(request), "ids") or ()
    return json_answer([each for each in _summaries(request) if each["id"] in ids])


async def get(request: web.Request) -> web.StreamResponse:
    """One group."""
    return json_answer(_document(*_group(request)))


async def create(request: web.Request) -> web.StreamResponse:
    """Create a group, perhaps with members; 409 for a name that is taken."""
    body = await fields.read_object(request)
    name, by = tenant(request), user(request)
    group = Group(name=_name(body), description=fields.text(body, "description"))
    members = fields.texts(body, "membersId") or ()
    for subject_id in members:
        _subject(request, subject_id)
    groups = _groups(request)
    group_id = await groups.create(name, group, by=by)
    for subject_id in members:
        await groups.join(name, group_id, subject_id, by=by)
    return json_answer(_document(group_id, group))


async def update(request: web.Request) -> web.StreamResponse:
    """Change a group's name and description."""
    group_id, group = _group(request)
    body = await fields.read_object(request)
    changed = msgspec.structs.replace(
        group,
        name=_name(body),
        description=fields.text(body, "description") if "description" in body else group.description,
    )
    await _groups(request).update(tenant(request), group_id, changed, by=user(request))
    return json_answer(_document(group_id, changed))


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a group and what it granted; who was in it stays."""
    group_id, _ = _group(request)
    await _groups(request).delete(tenant(request), group_id, by=user(request))
    return web.Response(status=204)


async def members(request: web.Request) -> web.StreamResponse:
    """Who is in a group."""
    group_id, _ = _group(request)
    _check(request, group_id, Action.READ)
    identities = request.app[RECOGNITION].identities
    found = []
    for subject_id, _ in identities.members(tenant(request), group_id):
        subject = identities.subject(subject_id)
        if subject is not None:
            found.append(_member(identities, tenant(request), subject))
    results, total = listed(
        request,
        sorted(found, key=lambda each: str(each["username"])),
        words=("username", "displayName"),
        fields=("id", "username", "displayName"),
    )
    return page_answer(results, total)


async def add_member(request: web.Request) -> web.StreamResponse:
    """Put a user or service account into a group, which lets them into the tenant."""
    group_id, _ = _group(request)
    _check(request, group_id, Action.CREATE)
    subject = _subject(request, request.match_info["userId"])
    await _groups(request).join(tenant(request), group_id, subject.id, by=user(request))
    return _member_answer(request, subject)


async def set_membership(request: web.Request) -> web.StreamResponse:
    """Make a member an owner of the group, or a plain member."""
    group_id, _ = _group(request)
    _check(request, group_id, Action.UPDATE)
    subject = _in_group(request, group_id)
    wanted = MembershipType.__members__.get(request.query.get("membership", "").upper())
    if wanted is None:
        raise Problem(422, "`membership` must be OWNER or MEMBER")
    await _groups(request).join(tenant(request), group_id, subject.id, membership=wanted, by=user(request))
    return _member_answer(request, subject)


async def remove_member(request: web.Request) -> web.StreamResponse:
    """Take somebody out of a group; whom no other group and no role keeps in the tenant leaves it, too."""
    group_id, _ = _group(request)
    _check(request, group_id, Action.DELETE)
    subject = _in_group(request, group_id)
    membership = request.app[RECOGNITION].identities.membership(tenant(request), group_id, subject.id)
    if membership is not None and membership.managed_externally:
        raise Problem(409, "who is in this group is said by an identity provider; change it there")
    await _groups(request).leave(tenant(request), group_id, subject.id, by=user(request))
    return _member_answer(request, subject)


async def set_groups(request: web.Request) -> web.StreamResponse:
    """Put a user or service account of the tenant into exactly these groups."""
    name, identities = tenant(request), request.app[RECOGNITION].identities
    subject = _subject(request, request.match_info["id"])
    if identities.access(name, subject.id) is None:
        raise Problem(400, "this user may not enter the tenant; let them in first")
    ids = fields.texts(await fields.read_object(request), "groupIds")
    if ids is None:
        raise Problem(422, "`groupIds` is needed")
    check_groups(request, ids)
    for group_id, _, membership in identities.groups_of(name, subject.id):
        if group_id not in ids and membership.managed_externally:
            raise Problem(409, "an identity provider says that the user is in a group that is left out")
    await _groups(request).replace_of(name, subject.id, ids, by=user(request))
    return web.Response(status=204)


def check_groups(request: web.Request, ids: Any) -> None:
    """Insist on groups that are there.  Raises Problem 404."""
    identities = request.app[RECOGNITION].identities
    for group_id in ids:
        if identities.group(tenant(request), group_id) is None:
            raise not_found(f"the group {group_id[:100]}")


def group_summary(group_id: str, group: Group) -> dict[str, Any]:
    """A group in a list."""
    return without_nulls(
        {
            "id": group_id,
            "name": group.name,
            "description": group.description,
            "securityIntegrationName": group.external,
        }
    )


def suggested(body: Any, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What fits an autocompletion: those with the ids, then those whose name has the text."""
    text, ids = (fields.text(body, "q") or "").casefold(), fields.texts(body, "ids") or ()
    chosen = [each for each in entries if each["id"] in ids]
    if ids and not text:
        return chosen
    others = [each for each in entries if each["id"] not in ids and text in str(each["name"]).casefold()]
    return [*chosen, *others[:_MOST_SUGGESTED]]


def _groups(request: web.Request) -> Groups:
    recognition = request.app[RECOGNITION]
    return Groups(recognition.identities, recognition.directory)


def _summaries(request: web.Request) -> list[dict[str, Any]]:
    found = request.app[RECOGNITION].identities.groups(tenant(request))
    entries = [group_summary(group_id, group) for group_id, group in found]
    return sorted(entries, key=lambda each: str(each["name"]))


def _document(group_id: str, group: Group) -> dict[str, Any]:
    return without_nulls({"id": group_id, "name": group.name, "description": group.description})


def _name(body: Any) -> str:
    return fields.needed(body, "name", longest=_LONGEST_NAME).strip()


def _group(request: web.Request) -> tuple[str, Group]:
    group_id = request.match_info["id"]
    group = request.app[RECOGNITION].identities.group(tenant(request), group_id)
    if group is None:
        raise not_found("the group")
    return group_id, group


def _subject(request: web.Request, subject_id: str) -> Subject:
    subject = request.app[RECOGNITION].identities.subject(subject_id)
    if subject is None:
        raise not_found(f"the user {subject_id[:100]}")
    return subject


def _in_group(request: web.Request, group_id: str) -> Subject:
    subject = _subject(request, request.match_info["userId"])
    if request.app[RECOGNITION].identities.membership(tenant(request), group_id, subject.id) is None:
        raise not_found("the user in this group")
    return subject


def _check(request: web.Request, group_id: str, action: Action) -> None:
    """Insist on the permission, unless the caller owns the group.  Raises Problem 403."""
    caller = principal(request)
    own = request.app[RECOGNITION].identities.membership(tenant(request), group_id, caller.id)
    if own is None or own.membership is not MembershipType.OWNER:
        authorize(request, None, Permission.GROUP_MEMBERSHIP, action)


def _member_answer(request: web.Request, subject: Subject) -> web.Response:
    return json_answer(_member(request.app[RECOGNITION].identities, tenant(request), subject))


def _member(identities: Identities, name: str, subject: Subject) -> dict[str, Any]:
    return {
        "id": subject.id,
        "username": subject.name,
        "displayName": subject.display_name,
        "groups": [
            {
                "id": group_id,
                "name": group.name,
                "external": membership.managed_externally,
                "membership": membership.membership,
            }
            for group_id, group, membership in identities.groups_of(name, subject.id)
        ],
    }
