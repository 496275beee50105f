"""What somebody may do: permissions and actions (IAM-06, IAM-07), the caller of a request, and what roles grant.

In come roles bound to a tenant or to namespaces; out comes whether an action is allowed.  No state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_LONGEST_NAMESPACE = 256  # characters; real ones have 150 at most


class Permission(StrEnum):
    """What kind of thing a role speaks of."""

    FLOW = "FLOW"
    EXECUTION = "EXECUTION"
    TEMPLATE = "TEMPLATE"
    NAMESPACE = "NAMESPACE"
    KVSTORE = "KVSTORE"
    DASHBOARD = "DASHBOARD"
    SECRET = "SECRET"  # noqa: S105 - the name of a permission
    CREDENTIAL = "CREDENTIAL"
    BLUEPRINT = "BLUEPRINT"
    APP = "APP"
    APPEXECUTION = "APPEXECUTION"
    ASSET = "ASSET"
    TEST = "TEST"
    AUDITLOG = "AUDITLOG"
    USER = "USER"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"
    GROUP = "GROUP"
    GROUP_MEMBERSHIP = "GROUP_MEMBERSHIP"
    ROLE = "ROLE"
    BINDING = "BINDING"
    INVITATION = "INVITATION"
    TENANT_ACCESS = "TENANT_ACCESS"
    IMPERSONATE = "IMPERSONATE"
    SETTING = "SETTING"  # assignable, asked for nowhere (PERM-X14)
    AI_COPILOT = "AI_COPILOT"


class Action(StrEnum):
    """What is done to it."""

    CREATE = "CREATE"
    READ = "READ"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


PERMISSION_ALIASES: Mapping[str, Permission] = {
    "CREDENTIALS": Permission.CREDENTIAL,  # IAM-07
    "USERS": Permission.USER,  # TRAP-08, as the role of SCIM spells them
    "GROUPS": Permission.GROUP,
    "BINDINGS": Permission.BINDING,
}

TENANT_WIDE: frozenset[Permission] = frozenset(
    {
        Permission.DASHBOARD, Permission.BLUEPRINT, Permission.AUDITLOG, Permission.USER,
        Permission.SERVICE_ACCOUNT, Permission.GROUP, Permission.GROUP_MEMBERSHIP, Permission.ROLE,
        Permission.BINDING, Permission.INVITATION, Permission.TENANT_ACCESS, Permission.IMPERSONATE,
        Permission.SETTING, Permission.AI_COPILOT,
    }
)  # fmt: skip  # reads better as a paragraph
"""Permissions that only a binding without a namespace gives (TRAP-03)."""

SUPERADMIN_PERMISSIONS: frozenset[Permission] = frozenset(
    {
        Permission.USER, Permission.SERVICE_ACCOUNT, Permission.GROUP, Permission.GROUP_MEMBERSHIP,
        Permission.ROLE, Permission.BINDING, Permission.INVITATION, Permission.TENANT_ACCESS,
        Permission.IMPERSONATE,
    }
)  # fmt: skip  # reads better as a paragraph
"""What a superadmin may do in every tenant without a binding: who may do what, and nothing else (IAM-09, IAM-10)."""

Permissions = Mapping[Permission, frozenset[Action]]
"""What a role holds."""

EVERYTHING: Permissions = {permission: frozenset(Action) for permission in Permission}


class SubjectType(StrEnum):
    """Who can call."""

    USER = "USER"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"


class LoginWay(StrEnum):
    """How a caller was recognised."""

    PASSWORD = "PASSWORD"  # noqa: S105 - HTTP Basic
    TOKEN = "TOKEN"  # noqa: S105 - an API token
    SESSION = "SESSION"  # a signed session token, as cookie or as Bearer


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """The caller of a request."""

    id: str  # of the user or service account; what bindings and audit records name
    name: str  # the e-mail address of a user, the name of a service account
    type: SubjectType = SubjectType.USER
    super_admin: bool = False
    way: LoginWay = LoginWay.PASSWORD
    token_id: str | None = None  # with which API token
    session_id: str | None = None  # in which session
    by_cookie: bool = False  # whether the browser sent the credentials of its own accord (CSRF)
    impersonator: str | None = None  # the name of who acts as this one (IAM-14)


@dataclass(frozen=True, slots=True)
class Grants:
    """What somebody may do in one tenant: the union of all roles bound to them (IAM-02); there are no denials."""

    everywhere: Permissions  # from bindings without a namespace
    within: Mapping[str, Permissions]  # from bindings to a namespace, which count below it, too (IAM-03)
    has_access: bool = True  # whether they may enter the tenant at all (TEN-03)

    def allows(self, permission: Permission, action: Action | None, namespace: str | None = None) -> bool:
        """Whether an action is allowed, None for any of the four.

        `namespace` None asks for the whole tenant: a binding to a namespace is then not enough.
        """
        if _has(self.everywhere, permission, action):
            return True
        if namespace is None or not self.within or permission in TENANT_WIDE:
            return False
        return any(
            _has(held, permission, action)
            for held in map(self.within.get, _with_parents(namespace))
            if held is not None
        )

    def allows_somewhere(self, permission: Permission, action: Action | None) -> bool:
        """Whether an action is allowed in the tenant or in at least one namespace."""
        if _has(self.everywhere, permission, action):
            return True
        return permission not in TENANT_WIDE and any(
            _has(held, permission, action) for held in self.within.values()
        )

    def namespaces(self, permission: Permission, action: Action | None) -> frozenset[str] | None:
        """The namespaces, each with all below it, where an action is allowed; None means everywhere."""
        if _has(self.everywhere, permission, action):
            return None
        if permission in TENANT_WIDE:
            return frozenset()
        found = {name for name, held in self.within.items() if _has(held, permission, action)}
        return frozenset(name for name in found if not any(each in found for each in _parents(name)))


NOTHING = Grants(everywhere={}, within={}, has_access=False)


def union(permissions: Iterable[Permissions]) -> Permissions:
    """Everything that any of them holds."""
    united: dict[Permission, frozenset[Action]] = {}
    for each in permissions:
        for permission, actions in each.items():
            united[permission] = united.get(permission, frozenset()) | actions
    return united


def _has(held: Permissions, permission: Permission, action: Action | None) -> bool:
    actions = held.get(permission)
    if actions is None:
        return False
    return bool(actions) if action is None else action in actions


def _with_parents(namespace: str) -> list[str]:
    return [namespace, *_parents(namespace)]


def _parents(namespace: str) -> list[str]:
    """The namespaces above, at dots: `prod` is above `prod.a`, and not above `production` (IAM-03)."""
    parents: list[str] = []
    if len(namespace) > _LONGEST_NAMESPACE:
        return parents  # no namespace is called so, and the work for its beginnings grows with the square
    while "." in namespace:
        namespace = namespace.rpartition(".")[0]
        parents.append(namespace)
    return parents
