"""Who does something, and the note that takes it along with a command to the audit log."""

from __future__ import annotations

from typing import Any

from flowtide.model.records import Value


class Actor(Value, frozen=True):
    """Who does it."""

    id: str  # the user's name, or that of a service account
    type: str = "USER"  # USER, SERVICE_ACCOUNT or SYSTEM
    ip_address: str | None = None
    impersonated_by: str | None = None  # who really sits there


class AuditNote(Value, frozen=True):
    """What a command to save or delete carries, so that its entry is written with the change or not at all."""

    actor: Actor
    before: Any = None  # as it may be shown
