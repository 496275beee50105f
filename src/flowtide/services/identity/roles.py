"""The roles that are there in every tenant and that nobody changes (IAM-08).

Their content is not in the documentation; docs/explain/decisions/0048-identities.md says what was chosen.  No state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowtide.model.access import EVERYTHING, Action, Permission
from flowtide.model.identity import Role

ADMIN, DEVELOPER, EDITOR, LAUNCHER, VIEWER = "admin", "developer", "editor", "launcher", "viewer"

_READ = frozenset({Action.READ})
_ALL = frozenset(Action)

_SEEN = (
    Permission.FLOW, Permission.EXECUTION, Permission.TEMPLATE, Permission.NAMESPACE, Permission.KVSTORE,
    Permission.DASHBOARD, Permission.BLUEPRINT, Permission.APP, Permission.APPEXECUTION, Permission.ASSET,
    Permission.TEST,
)  # fmt: skip  # reads better as a paragraph
_WRITTEN = (
    Permission.FLOW, Permission.TEMPLATE, Permission.KVSTORE, Permission.DASHBOARD, Permission.BLUEPRINT,
    Permission.APP, Permission.ASSET, Permission.TEST, Permission.AI_COPILOT,
)  # fmt: skip  # reads better as a paragraph


def _more(
    base: Mapping[Permission, frozenset[Action]], *added: tuple[Iterable[Permission], frozenset[Action]]
) -> dict[Permission, frozenset[Action]]:
    held = dict(base)
    for permissions, actions in added:
        for permission in permissions:
            held[permission] = held.get(permission, frozenset()) | actions
    return held


_VIEWER = _more({}, (_SEEN, _READ))
_LAUNCHER = _more(
    _VIEWER,
    ((Permission.EXECUTION,), frozenset({Action.CREATE, Action.UPDATE})),
    ((Permission.APPEXECUTION,), frozenset({Action.UPDATE})),
)
_EDITOR = _more(_LAUNCHER, (_WRITTEN, _ALL))
_DEVELOPER = _more(
    _EDITOR, ((Permission.EXECUTION, Permission.SECRET, Permission.CREDENTIAL, Permission.NAMESPACE), _ALL)
)

MANAGED_ROLES: Mapping[str, Role] = {
    ADMIN: Role(name="Admin", permissions=dict(EVERYTHING), description="Everything in the tenant"),
    DEVELOPER: Role(
        name="Developer",
        permissions=_DEVELOPER,
        description="Builds flows and what they need, secrets included",
    ),
    EDITOR: Role(name="Editor", permissions=_EDITOR, description="Writes flows and runs them"),
    LAUNCHER: Role(name="Launcher", permissions=_LAUNCHER, description="Runs flows that others wrote"),
    VIEWER: Role(name="Viewer", permissions=_VIEWER, description="Sees, and changes nothing"),
}
"""By their id."""
