"""The audit log: who changed what, when, from where, with before and after (AUD-01, AUD-10).

In come notes that travel with commands, and bodies of saved things; out go entries of the topic `audit_logs`, in which
nothing secret is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from flowtide.model.audit_note import Actor, AuditNote
from flowtide.model.records import Value
from flowtide.model.resources import ResourceKind

HIDDEN: Final = "******"
__all__ = [
    "AUDIT_DECODER",
    "Actor",
    "AuditAction",
    "AuditEntry",
    "AuditNote",
    "details_of",
    "resource_of",
    "shown",
]

_LARGEST_BYTES: Final = 100_000
"""What an entry may show of either side; an entry must never be too large to be written with the change."""

_SECRET_NAME = re.compile(
    r"password|passphrase|secret|token|hash|sealed|private|api.?key|credential", re.IGNORECASE
)
_TOO_LARGE = "(too large to be shown)"


class AuditAction(StrEnum):
    """What was done (`CrudEventType`)."""

    READ = "READ"
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    LOGIN = "LOGIN"
    LOGOUT = "LOGOUT"
    IMPERSONATE = "IMPERSONATE"
    LOGIN_FAILURE = "LOGIN_FAILURE"
    ACCOUNT_LOCKED = "ACCOUNT_LOCKED"


class AuditEntry(Value, frozen=True):
    """One entry, on the topic `audit_logs`."""

    id: str
    tenant_id: str
    date: datetime
    action: AuditAction
    resource: str  # a ResourceType of catalogue G, e.g. FLOW
    actor: Actor
    details: dict[str, str] = {}  # id, namespace, flowId, executionId, revision ...
    before: Any = None  # as it may be shown
    after: Any = None


AUDIT_DECODER: msgspec.json.Decoder[AuditEntry] = msgspec.json.Decoder(AuditEntry)

_RESOURCES: Final[Mapping[str, str]] = {
    ResourceKind.FLOW: "FLOW",
    ResourceKind.NAMESPACE: "NAMESPACE",
    ResourceKind.KEY_VALUE: "KV_STORE",
    ResourceKind.NAMESPACE_FILE: "NAMESPACE_FILE",
    ResourceKind.PASSWORD: "USER",
    ResourceKind.USER_NAME: "",  # goes with its user
    ResourceKind.SESSION: "",  # logins are entries of their own
    ResourceKind.GROUP_MEMBERSHIP: "GROUP",
    ResourceKind.SERVICE_ACCOUNT: "USER",
    ResourceKind.API_TOKEN: "USER",
    ResourceKind.BANNER: "INSTANCE",
}
_HIDDEN_KINDS: Final = frozenset({ResourceKind.PASSWORD, ResourceKind.API_TOKEN, ResourceKind.SESSION})
_IN_NAMESPACES: Final = frozenset(
    {
        ResourceKind.FLOW,
        ResourceKind.KEY_VALUE,
        ResourceKind.NAMESPACE_FILE,
        ResourceKind.TEMPLATE,
        ResourceKind.SECRET,
        ResourceKind.CREDENTIAL,
    }
)


def resource_of(kind: str) -> str:
    """What the audit log calls a kind of saved things; empty for those that have no entries."""
    return _RESOURCES.get(kind, kind.replace("-", "_").upper())


def details_of(kind: str, identifier: str, revision: int) -> dict[str, str]:
    """What an entry about a saved thing is found by."""
    if kind not in _IN_NAMESPACES:
        details = {"id": identifier, "revision": str(revision)}
        if kind in _RESOURCES:  # several kinds of things stand under one name
            details["kind"] = kind
        return details
    namespace, _, name = identifier.partition("/")
    details = {"id": name, "namespace": namespace, "revision": str(revision)}
    if kind == ResourceKind.FLOW:
        details["flowId"] = name
    return details


def shown(kind: str, identifier: str, body: bytes) -> Any:
    """What an entry shows of a body: secrets are stars, what is too large is left out."""
    if kind in _HIDDEN_KINDS or (kind == ResourceKind.SETTING and identifier.startswith("flowtide.secrets.")):
        return HIDDEN
    value = msgspec.json.decode(body) if body and body != b"null" else None
    if value is None:
        return None
    if kind == ResourceKind.NAMESPACE_FILE and isinstance(value, dict):
        value["revisions"] = (value.get("revisions") or [])[-1:]
    if kind != ResourceKind.CREDENTIAL:  # they only name secrets
        value = masked(value)
    return value if len(body) <= _LARGEST_BYTES else _TOO_LARGE


def masked(value: Any) -> Any:
    """A structure with stars in place of what stands under names such as `password`."""
    if isinstance(value, dict):
        return {
            key: HIDDEN
            if _SECRET_NAME.search(str(key)) and child not in (None, "", [], {})
            else masked(child)
            for key, child in value.items()
        }
    if isinstance(value, list):
        return [masked(child) for child in value]
    return value
