"""Logins in the audit log (AUD-01): who came in, who did not, who was locked, left, or acts as somebody else.

In come names and addresses; out go entries of no tenant about a USER.  Passwords and tokens never come in.  Credentials
that are sent with each request are no logins: what such requests change has its own entries.  State: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowtide.api.iam.fields import EMAIL
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.audit import AuditAction
from flowtide.model.audit_note import Actor
from flowtide.services.audit import Audit
from flowtide.services.trail import TRAIL, Trail

_USER = "USER"
_NOT_SHOWN = "(no known name)"  # people type passwords where the name goes
_LONGEST = 256


class LoginNotes:
    """Writes them; with no audit log it writes nothing."""

    def __init__(self, audit: Audit | None) -> None:
        self._audit = audit

    def logged_in(self, name: str, user_id: str, address: str, *, way: str) -> None:
        """Somebody opened a session."""
        self._record(AuditAction.LOGIN, name, user_id, address, way=way)

    def failed(self, name: str, user_id: str | None, address: str, *, reason: str | None = None) -> None:
        """Somebody was refused.  A name that is nobody's is only shown when it is an e-mail address."""
        known = user_id is not None or EMAIL.fullmatch(name) is not None
        shown = name[:_LONGEST] if known else _NOT_SHOWN
        self._record(AuditAction.LOGIN_FAILURE, shown, user_id, address, reason=reason)

    def locked(self, name: str, user_id: str | None, address: str) -> None:
        """A name failed too often."""
        known = user_id is not None or EMAIL.fullmatch(name) is not None
        self._record(AuditAction.ACCOUNT_LOCKED, name[:_LONGEST] if known else _NOT_SHOWN, user_id, address)

    def logged_out(self, name: str, user_id: str, address: str) -> None:
        """Somebody ended their session."""
        self._record(AuditAction.LOGOUT, name, user_id, address)

    def impersonated(self, impersonator: str, name: str, user_id: str, address: str) -> None:
        """A superadmin begins to act as somebody."""
        self._record(AuditAction.IMPERSONATE, impersonator, user_id, address, username=name)

    @contextmanager
    def trail(self, who: str) -> Iterator[None]:
        """What is saved meanwhile has an entry that says `who`: a way to log in, which makes and changes users."""
        if TRAIL.get() is not None:
            yield
            return
        token = TRAIL.set(Trail(actor=Actor(id=who, type="SYSTEM")))
        try:
            yield
        finally:
            TRAIL.reset(token)

    def _record(
        self, action: AuditAction, name: str, user_id: str | None, address: str, **details: Any
    ) -> None:
        if self._audit is None:
            return
        trail = TRAIL.get()
        if trail is not None:
            trail.recorded = True  # a request has one entry of what it is about
        self._audit.record(
            tenant=SYSTEM_TENANT,
            action=action,
            resource=_USER,
            actor=Actor(id=name, ip_address=address),
            details={"id": user_id, **details},
        )
