"""What the caller of a request may do: handlers ask here, and searches get their filter from here.

In comes a request whose caller is known; out go answers, filters, and Problem 403.  The rule of the route says which
permission and which actions are meant, unless the handler names others.  State: that a request was asked about, so
that a route which forgets to ask gives nothing to somebody who is bound to namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from flowtide.api.permissions import Place, Rule
from flowtide.api.problems import Problem
from flowtide.index.queries import AnyOf, Filter, Match, Operation
from flowtide.model.access import Action, Grants, Permission, Principal


@dataclass(slots=True)
class Access:
    """The caller of one request and what is known of their rights."""

    rule: Rule
    principal: Principal
    grants: Grants  # in the request's tenant
    asked: bool = False  # whether the handler asked for rows


PRINCIPAL = web.RequestKey("principal", Principal)  # absent on paths that need no login
ACCESS = web.RequestKey("access", Access)  # absent there, too


def principal(request: web.Request) -> Principal:
    """The caller.  Raises Problem 401 on a path that needs no login when nobody is logged in."""
    if PRINCIPAL not in request:
        raise Problem(401, "Unauthorized: log in")
    return request[PRINCIPAL]


def grants(request: web.Request) -> Grants | None:
    """What the caller may do in the request's tenant; None where no login is needed."""
    access = request.get(ACCESS)
    return None if access is None else access.grants


def may(
    request: web.Request,
    namespace: str | None,
    permission: Permission | None = None,
    action: Action | None = None,
) -> bool:
    """Whether the caller may act in a namespace, with None in the whole tenant.

    `permission` and `action` are those of the route by default.  On paths that need no login everything may be done
    that the handler does.
    """
    access = request.get(ACCESS)
    if access is None:
        return True
    access.asked = True
    chosen, actions = _meant(access.rule, permission, action)
    if chosen is None:
        return True
    return all(access.grants.allows(chosen, each, namespace) for each in actions)


def authorize(
    request: web.Request,
    namespace: str | None,
    permission: Permission | None = None,
    action: Action | None = None,
) -> None:
    """Insist on what `may` answers.  Raises Problem 403."""
    if not may(request, namespace, permission, action):
        access = request[ACCESS]
        chosen, actions = _meant(access.rule, permission, action)
        raise forbidden(chosen, actions, namespace)


def forbidden(
    permission: Permission | None, actions: Iterable[Action], namespace: str | None = None
) -> Problem:
    """The refusal."""
    what = "a superadmin" if permission is None else f"{permission} {', '.join(sorted(actions))}"
    where = "" if namespace is None else f" in namespace {namespace}"
    return Problem(403, f"Forbidden: this needs {what}{where}; ask an administrator for a role that has it")


def authorized_namespaces(
    request: web.Request, permission: Permission | None = None, action: Action | None = None
) -> frozenset[str] | None:
    """The namespaces, each with all below it, whose things the caller may see or change here; None means all."""
    access = request.get(ACCESS)
    if access is None:
        return None
    access.asked = True
    chosen, actions = _meant(access.rule, permission, action)
    if chosen is None:
        return None
    found: frozenset[str] | None = None
    for each in actions:
        allowed = access.grants.namespaces(chosen, each)
        if allowed is not None:
            found = allowed if found is None else _common(found, allowed)
    return found


def namespace_filter(
    request: web.Request,
    permission: Permission | None = None,
    action: Action | None = None,
    *,
    field: str = "namespace",
) -> Filter | None:
    """What limits a search to the namespaces that the caller may see; None for no limit."""
    names = authorized_namespaces(request, permission, action)
    if names is None:
        return None
    return AnyOf(tuple(Match(field, Operation.PREFIX, name) for name in sorted(names)))


def is_limited(access: Access) -> bool:
    """Whether the caller may act on some rows of the route, and not on others."""
    rule = access.rule
    return rule.place is Place.ROWS and not all(
        access.grants.allows(need.permission, action) for need in rule.needs[:1] for action in rule.rows
    )


def _meant(
    rule: Rule, permission: Permission | None, action: Action | None
) -> tuple[Permission | None, frozenset[Action]]:
    if permission is None:
        permission = rule.needs[0].permission if rule.needs else None
    actions = rule.rows if action is None else frozenset({action})
    return permission, actions


def _common(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """The namespaces that stand at or below one of both sets."""
    lower: set[str] = set()
    for one in some:
        for other in others:
            if one == other or one.startswith(f"{other}."):
                lower.add(one)
            elif other.startswith(f"{one}."):
                lower.add(other)
    return frozenset(lower)
