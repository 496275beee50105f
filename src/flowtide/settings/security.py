"""The settings of who there is and how they log in; the table of settings gathers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from flowtide.settings.fields import setting

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Security:
    """Who there is, and how they log in (catalogue D, parts 5 and 6)."""

    superadmin_username: str | None = setting(
        "security.super-admin.username", None, "E-mail address of a superadmin (KEY-42)."
    )
    superadmin_password: str | None = setting(
        "security.super-admin.password", None, "The superadmin's password.", secret=True
    )
    superadmin_tenants: tuple[str, ...] = setting(
        "security.super-admin.tenant-admin-access",
        (),
        "Tenants where the superadmin is an administrator, too.",
    )
    default_role: Mapping[str, Any] = setting(
        "security.default-role",
        _NOTHING,
        "`name`, `description`, `permissions` and perhaps `tenant-id` of the role of everybody who is let into a "
        "tenant (KEY-43).",
        shape="tree",
    )
    invitation_lifetime: timedelta = setting(
        "security.invitations.expire-after",
        timedelta(days=7),
        "How long an invitation can be accepted (KEY-44).",
        unit="duration",
    )
    password_rule: str | None = setting(
        "security.basic-auth.password-regexp",
        None,
        "A regular expression that the whole of a new password must match (KEY-45).",
        shown_default="8 characters with a capital letter, a small letter and a digit",
    )
    lock_threshold: int = setting(
        "security.login.failed-attempts.threshold",
        10,
        "Failed logins of a user within the window that lock the user; 0 never does (AUTH-07).",
    )
    lock_window: timedelta = setting(
        "security.login.failed-attempts.monitoring-window",
        timedelta(minutes=5),
        "How long a failed login counts.",
        unit="duration",
    )
    lock_duration: timedelta = setting(
        "security.login.failed-attempts.lock-duration",
        timedelta(minutes=30),
        "How long a user stays locked.",
        unit="duration",
    )
    token_secret: str | None = setting(
        "micronaut.security.token.jwt.signatures.secret.generator.secret",
        None,
        "What session tokens are signed with, the same on all webservers; by default it follows from "
        "`encryption.secret-key`, or is made at random and kept with the saved settings (AUTH-02).",
        also=("micronaut.security.token.jwt.generator.refresh-token.secret",),
        secret=True,
    )
    former_token_secrets: tuple[str, ...] = setting(
        "security.session.former-secrets",
        (),
        "Secrets that session tokens were signed with before: their tokens are valid until they expire, so that "
        "changing the secret logs nobody out.",
        secret=True,
    )
    reset_cooldown: timedelta = setting(
        "security.basic-auth.password-reset.cooldown",
        timedelta(minutes=5),
        "The shortest time between two mails to reset the password of one user (AUTH-09).",
        unit="duration",
    )
    reset_requests: int = setting(
        "security.basic-auth.password-reset.rate-limit.max-requests",
        10,
        "Requests to reset a password that one address may send within the window.",
    )
    reset_window: timedelta = setting(
        "security.basic-auth.password-reset.rate-limit.window",
        timedelta(hours=1),
        "That window.",
        unit="duration",
    )
    reset_lifetime: timedelta = setting(
        "security.basic-auth.password-reset.expire-after",
        timedelta(hours=1),
        "How long the link of such a mail is good for one use.",
        unit="duration",
    )
    session_lifetime: timedelta = setting(
        "micronaut.security.token.cookie.cookie-max-age",
        timedelta(days=1),
        "How long a browser stays logged in without being used (AUTH-03).",
        unit="duration",
    )
    access_lifetime_seconds: int = setting(
        "micronaut.security.token.generator.access-token.expiration",
        36_000,
        "How long a session token is valid before it has to be renewed (AUTH-03).",
        unit="seconds",
    )
    logout_by_get: bool = setting(
        "micronaut.security.endpoints.logout.get-allowed", False, "Whether `GET /logout` logs out (SSO-03)."
    )
    oauth_enabled: bool = setting(
        "micronaut.security.oauth2.enabled",
        True,
        "Whether people can log in by the providers of `micronaut.security.oauth2.clients` (SSO-01).",
    )
    oauth_clients: Mapping[str, Any] = setting(
        "micronaut.security.oauth2.clients",
        _NOTHING,
        "Providers of OpenID Connect by name: `client-id`, `client-secret`, `openid.issuer`, `scopes`. Each has its "
        "button; it sends people back to `/oauth/callback/<name>` (SSO-02).",
        shape="tree",
        secret=True,
    )
    directories: Mapping[str, Any] = setting(
        "micronaut.security.ldap",
        _NOTHING,
        "LDAP directories by name: `context.server`, `context.manager-dn`, `context.manager-password`, `search`, "
        "`groups`, `user-attributes` (LDAP-01), and of our own `context.start-tls`, `context.ca-file`, "
        "`context.connect-timeout`, `context.read-timeout`. Needs the extra `flowtide[ldap]`.",
        shape="tree",
        secret=True,
    )
    groups_claim_path: str | None = setting(
        "security.oidc.groups-claim-path",
        None,
        "Where the names of somebody's groups stand in the ID token, with dots between the steps; each login puts them "
        "into exactly these groups of the fallback tenant (SSO-05).",
    )
    fallback_tenant: str = setting(
        "ee.tenants.fallback-tenant", "main", "The tenant of requests whose path names none (TEN-20)."
    )
