"""The set-up of an instance by API: the first superadmin, once (catalogue H, IAM-11, IAM-13).

In comes a name, a password and perhaps a tenant; out goes the user, or 405 once there is somebody who can log in.
State: none; a saved mark keeps two visitors from both being the first.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer, without_nulls
from flowtide.api.auditing import acting_as
from flowtide.api.iam import fields
from flowtide.api.iam.documents import user_document
from flowtide.api.iam.tenants import check_tenant_id
from flowtide.api.keys import CATALOG, CLOCK, RESOURCES, SITE
from flowtide.api.oidc_logins import login_links
from flowtide.api.problems import Problem
from flowtide.api.recognition import RECOGNITION
from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.identity import Binding, BindingType, Tenant, User
from flowtide.model.records import Value, encode
from flowtide.model.resources import ResourceKind
from flowtide.services.identity.roles import ADMIN
from flowtide.services.identity.tables import DEFAULT_TENANT

_MARK = "flowtide.set-up"
_PATIENCE = timedelta(minutes=1)  # after which a set-up that nobody finished may be begun anew


class _Mark(Value, frozen=True):
    at: datetime


async def state(request: web.Request) -> web.StreamResponse:
    """Whether the set-up is done, what a password must be like, and until then what the instance stands on (SET-01)."""
    recognition = request.app[RECOGNITION]
    await recognition.catch_up()
    done = recognition.is_set_up
    shown = {
        "done": done,
        "passwordRegexp": recognition.security.password_rule,
        "haveAuthNotBasic": bool(login_links(request.app)),
        **({} if done else request.app[SITE].backends),  # for who sets it up; later it is nobody's business
    }
    return json_answer(without_nulls(shown))


async def set_up(request: web.Request) -> web.StreamResponse:
    """Create the first user: a superadmin, and an administrator of the tenant.  405 once somebody can log in."""
    recognition = request.app[RECOGNITION]
    body = await fields.read_object(request)
    user = User(
        email=fields.email({"email": body.get("username", body.get("email"))}),
        created=request.app[CLOCK](),
        first_name=fields.text(body, "firstName"),
        last_name=fields.text(body, "lastName"),
        super_admin=True,
    )
    password = fields.needed(body, "password")
    wrong = recognition.passwords.errors(password)
    if wrong:
        raise Problem(422, "; ".join(wrong))
    wanted = body.get("tenant") or {}
    if not isinstance(wanted, dict):
        raise Problem(422, "`tenant` must be an object with `id` and `name`")
    tenant_id = fields.text(wanted, "id") or DEFAULT_TENANT
    if tenant_id != DEFAULT_TENANT:
        check_tenant_id(tenant_id)
    name = fields.text(wanted, "name") or tenant_id
    with acting_as(request, user.email):
        user_id = await _made(request, user, password, tenant_id, name)
    return json_answer(user_document(recognition.identities, user_id, user))


async def _made(request: web.Request, user: User, password: str, tenant_id: str, name: str) -> str:
    await begin(request)
    recognition = request.app[RECOGNITION]
    directory = recognition.directory
    if recognition.identities.tenant(tenant_id) is None:
        await directory.create_tenant(
            tenant_id, Tenant(name=name, created=request.app[CLOCK]()), by=user.email
        )
    # The user comes last of what can fail: before it, the set-up can be begun anew.
    user_id = await directory.create_user(user, password=password, by=user.email)
    for each in dict.fromkeys((tenant_id, DEFAULT_TENANT)):
        await directory.grant_access(each, user_id, by=user.email)
        await directory.bind(
            each, Binding(type=BindingType.USER, external_id=user_id, role_id=ADMIN), by=user.email
        )
    return user_id


async def begin(request: web.Request) -> None:
    """Be the only one who sets up.  Raises Problem 405 when it is done, 409 while somebody else does it."""
    recognition = request.app[RECOGNITION]
    await recognition.catch_up()
    if recognition.is_set_up:
        raise Problem(405, "Method Not Allowed: the instance is set up already")
    known = request.app[CATALOG].get(ResourceKind.SETTING, SYSTEM_TENANT, _MARK)
    now, revision = request.app[CLOCK](), 0
    other = Problem(409, "somebody else sets the instance up just now; look again in a minute")
    if known is not None and not known.deleted:
        if now - msgspec.json.decode(known.body, type=_Mark).at < _PATIENCE:
            raise other
        revision = known.revision
    try:
        await request.app[RESOURCES].save(
            ResourceKind.SETTING, SYSTEM_TENANT, _MARK, encode(_Mark(at=now)), revision
        )
    except ResourceConflict:
        raise other from None
