"""Who may come in: the middleware that finds the tenant, recognises the caller and asks the table of permissions.

In comes a matched request; out goes the handler's answer, or Problem 401, 403, 404.  A refusal is decided on a state
that has everything that was saved before the request, on whichever webserver.  State: none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from flowtide.api.access import ACCESS, PRINCIPAL, Access, forbidden, is_limited
from flowtide.api.execution_documents import header_of, key_of
from flowtide.api.index_progress import note_own_write, own_writes_seen
from flowtide.api.keys import SITE, TENANT, USER
from flowtide.api.permissions import Caller, Place, Rule
from flowtide.api.problems import Problem
from flowtide.api.recognition import RECOGNITION, SAFE, Recognition, is_same_origin
from flowtide.api.route import PATTERNS, PREFIX, Route
from flowtide.api.routes import meant
from flowtide.api.unserved import unserved
from flowtide.model.access import Action, Grants, LoginWay, Permission, Principal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

IMPERSONATE = "X-Kestra-Impersonate"
_WEBHOOKS = "/executions/webhook/"
_UNKNOWN = Rule(method="*", path="", caller=Caller.SUPERADMIN)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request through to its handler, or refuse it."""
    site, recognition = request.app[SITE], request.app[RECOGNITION]
    path = request.rel_url.raw_path  # what the router saw: escapes must not open other paths
    resource = request.match_info.route.resource
    pattern = None if resource is None else resource.canonical
    if not (path if pattern is None else pattern).startswith(site.context_path + PREFIX):
        return await handler(request)  # logins, pages, and what is not there for anybody
    route = meant(request, request.app[PATTERNS].get(f"{request.method} {pattern}"))
    tenant = request.match_info.get("tenant", recognition.security.fallback_tenant)
    opened = recognition.authentication.is_open(path.removeprefix(site.context_path))
    if opened or (route is not None and route.open and not _webhook_is_closed(request, route)):
        if route is not None and _is_for_own_pages(request, route) and not is_same_origin(request):
            raise Problem(403, "Forbidden: a page of another origin must not set anything up here")
        await _insist_on_tenant(recognition, tenant)
        request[TENANT] = tenant
        answer = await handler(request)
        if route is not None:
            await note_own_write(request, route, answer)
        return answer
    principal = await recognition.principal(request)
    if principal.by_cookie and request.method not in SAFE and not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not act for you")
    await _insist_on_tenant(recognition, tenant)
    request[TENANT] = tenant
    wanted = request.headers.get(IMPERSONATE)
    if wanted:
        in_tenant = route is not None and "{tenant}" in route.path
        principal = await _impersonated(recognition, principal, wanted, tenant if in_tenant else None)
    request[PRINCIPAL] = principal
    request[USER] = principal.name
    if route is None:
        known = unserved(request.method, path.removeprefix(site.context_path + PREFIX))
        if known is not None:
            raise Problem(501, f"Not Implemented: {known.reason}")
        return await handler(request)  # 404 or 405
    access = Access(
        rule=route.permission or _UNKNOWN,
        principal=principal,
        grants=recognition.identities.grants(principal.id, tenant),
    )
    request[ACCESS] = access
    async with own_writes_seen(request, route):
        await _check(request, recognition, access, tenant)
        answer = await handler(request)
    await note_own_write(request, route, answer)
    if not access.asked and not answer.prepared and answer.status < 400 and is_limited(access):
        # The handler showed or changed rows without asking whose they are: its answer is withheld.
        raise forbidden(access.rule.needs[0].permission, access.rule.rows)
    return answer


async def _insist_on_tenant(recognition: Recognition, tenant: str) -> None:
    if recognition.identities.tenant(tenant) is None:
        await recognition.catch_up()
        if recognition.identities.tenant(tenant) is None:
            raise Problem(404, f"Not Found: the tenant `{tenant[:100]}` does not exist")


async def _impersonated(
    recognition: Recognition, caller: Principal, email: str, tenant: str | None
) -> Principal:
    """Somebody else, on the wish of a caller who may (IAM-14); nobody becomes more than they are (TRAP-42)."""
    grants = recognition.identities.grants(caller.id, tenant) if tenant is not None else None
    allowed = grants is not None and grants.allows(Permission.IMPERSONATE, Action.READ)
    if not caller.super_admin and not allowed:
        raise forbidden(Permission.IMPERSONATE, (Action.READ,))
    user_id = recognition.identities.user_id(email.strip())
    if user_id is None:
        await recognition.catch_up()
        user_id = recognition.identities.user_id(email.strip())
    if user_id is None:
        raise Problem(403, "Forbidden: there is no such user to act as")
    found = recognition.principal_of(user_id, LoginWay.PASSWORD)
    if found.super_admin and not caller.super_admin:
        raise Problem(403, "Forbidden: only a superadmin acts as a superadmin")
    return replace(
        found,
        way=caller.way,
        token_id=caller.token_id,
        session_id=caller.session_id,
        by_cookie=caller.by_cookie,
        impersonator=caller.impersonator or caller.name,
    )


async def _check(request: web.Request, recognition: Recognition, access: Access, tenant: str) -> None:
    refusal = await _refusal(request, access)
    if refusal is None:
        return
    await recognition.catch_up()
    fresh = recognition.principal_of(access.principal.id, access.principal.way)
    access.principal = replace(access.principal, super_admin=fresh.super_admin)
    request[PRINCIPAL] = access.principal
    access.grants = recognition.identities.grants(access.principal.id, tenant)
    refusal = await _refusal(request, access)
    if refusal is not None:
        raise refusal


async def _refusal(request: web.Request, access: Access) -> Problem | None:
    """Why the caller may not; None when they may."""
    rule, grants = access.rule, access.grants
    match rule.caller:
        case Caller.OPEN | Caller.LOGIN:
            return None
        case Caller.SUPERADMIN:
            return None if access.principal.super_admin else forbidden(None, ())
        case Caller.TENANT:
            return None if grants.has_access else _no_access(request)
        case Caller.PERMITTED:
            if not grants.has_access:
                return _no_access(request)
            return await _missing(request, rule, grants)


async def _missing(request: web.Request, rule: Rule, grants: Grants) -> Problem | None:
    """The first need of the rule that is not met."""
    if all(need.met(grants, None) for need in rule.needs):
        return None
    namespace: str | None = None
    if rule.place is Place.PATH:
        namespace = request.match_info[rule.parameter]
    elif rule.place is Place.EXECUTION and all(need.met_somewhere(grants) for need in rule.needs):
        document = await header_of(request, key_of(request))
        namespace = str(document["namespace"])
    for need in rule.needs:
        met = (
            need.met_somewhere(grants)
            if rule.place in (Place.ROWS, Place.NOWHERE)
            else need.met(grants, namespace)
        )
        if not met:
            return forbidden(need.permission, need.actions, namespace)
    return None


def _no_access(request: web.Request) -> Problem:
    return Problem(403, f"Forbidden: you have no access to the tenant `{request[TENANT]}`; ask for it")


def _is_for_own_pages(request: web.Request, route: Route) -> bool:
    """Whether the request changes something by a way that is open, such as the first set-up; webhooks are for all."""
    return route.open and request.method not in SAFE and _WEBHOOKS not in route.path


def _webhook_is_closed(request: web.Request, route: Route) -> bool:
    return request.app[SITE].webhook_requires_login and _WEBHOOKS in route.path
