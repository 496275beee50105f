"""How the API recognises its callers, as the settings say; and the objects that do it, made once per application.

State: none of its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flowtide.api.ldap_settings import ldap_clients
from flowtide.api.mail_settings import mail_server_of
from flowtide.errors import SettingsError
from flowtide.model.access import PERMISSION_ALIASES, Action, Permission
from flowtide.services.identity import DefaultRole, Limits
from flowtide.services.identity.ldap import LdapClient
from flowtide.services.identity.oidc import OidcClient
from flowtide.services.mail import MailServer
from flowtide.settings import Settings

_SHORTEST_SECRET = 32


@dataclass(frozen=True, kw_only=True)
class Security:
    """What an operator decides."""

    superadmin_username: str | None = None
    superadmin_password: str | None = field(default=None, repr=False)
    superadmin_tenants: tuple[str, ...] = ()
    default_role: DefaultRole | None = None
    password_rule: str | None = None
    hash_rounds: int = 10
    limits: Limits = field(default_factory=Limits)
    signing_key: bytes | None = field(default=None, repr=False)  # None: one that is saved with the settings
    session_lifetime: timedelta = timedelta(days=1)
    access_lifetime: timedelta = timedelta(hours=10)
    invitation_lifetime: timedelta = timedelta(days=7)
    logout_by_get: bool = False
    fallback_tenant: str = "main"
    oidc_clients: tuple[OidcClient, ...] = ()
    oidc_groups_claim: tuple[str, ...] = ()  # empty: groups are not those of a provider
    directories: tuple[LdapClient, ...] = ()
    former_signing_keys: tuple[bytes, ...] = field(default=(), repr=False)
    reset_cooldown: timedelta = timedelta(minutes=5)
    reset_requests: int = 10  # of one address within the window
    reset_window: timedelta = timedelta(hours=1)
    reset_lifetime: timedelta = timedelta(hours=1)
    mail_server: MailServer | None = None


def security_of(settings: Settings) -> Security:
    """What the settings say.  Raises SettingsError for a secret that is too short or a role that cannot be read."""
    security = settings.security
    both = security.superadmin_username is not None and security.superadmin_password is not None
    return Security(
        superadmin_username=security.superadmin_username if both else None,
        superadmin_password=security.superadmin_password if both else None,
        superadmin_tenants=tuple(security.superadmin_tenants),
        default_role=_default_role(security.default_role),
        password_rule=security.password_rule,
        limits=Limits(
            threshold=security.lock_threshold, window=security.lock_window, lock=security.lock_duration
        ),
        signing_key=_signing_key(security.token_secret, settings.encryption.secret_key),
        session_lifetime=security.session_lifetime,
        access_lifetime=timedelta(seconds=security.access_lifetime_seconds),
        invitation_lifetime=security.invitation_lifetime,
        logout_by_get=security.logout_by_get,
        fallback_tenant=security.fallback_tenant,
        oidc_clients=_oidc_clients(security.oauth_clients) if security.oauth_enabled else (),
        oidc_groups_claim=tuple(filter(None, (security.groups_claim_path or "").split("."))),
        directories=ldap_clients(security.directories),
        former_signing_keys=tuple(_hashed(each) for each in security.former_token_secrets),
        reset_cooldown=security.reset_cooldown,
        reset_requests=security.reset_requests,
        reset_window=security.reset_window,
        reset_lifetime=security.reset_lifetime,
        mail_server=mail_server_of(settings),
    )


def read_permissions(value: Any) -> dict[Permission, frozenset[Action]]:
    """Permissions with their actions as people write them: `{FLOW: [READ, ...]}`.  Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("permissions are an object of a permission and a list of actions")
    read: dict[Permission, frozenset[Action]] = {}
    for name, actions in value.items():
        plain = str(name).upper().replace("-", "_")
        permission = PERMISSION_ALIASES.get(plain) or Permission.__members__.get(plain)
        if permission is None:
            raise ValueError(f"there is no permission {str(name)[:100]}; there are {', '.join(Permission)}")
        if isinstance(actions, str) or not isinstance(actions, Sequence):
            raise ValueError(f"{permission} needs a list of actions")
        chosen = set()
        for each in actions:
            action = Action.__members__.get(str(each).upper())
            if action is None:
                raise ValueError(f"there is no action {str(each)[:100]}; there are {', '.join(Action)}")
            chosen.add(action)
        if chosen:
            read[permission] = read.get(permission, frozenset()) | chosen
    return read


def _default_role(value: Mapping[str, Any]) -> DefaultRole | None:
    if not value:
        return None
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise SettingsError(["`flowtide.security.default-role` needs a `name`"])
    try:
        permissions = read_permissions(value.get("permissions") or {})
    except ValueError as error:
        raise SettingsError([f"`flowtide.security.default-role.permissions`: {error}"]) from None
    tenant = value.get("tenant-id")
    description = value.get("description")
    return DefaultRole(
        name=name,
        description=None if description is None else str(description),
        permissions=permissions,
        tenant=None if tenant is None else str(tenant),
    )


def _oidc_clients(value: Mapping[str, Any]) -> tuple[OidcClient, ...]:
    clients = []
    for name, options in value.items():
        place = f"`micronaut.security.oauth2.clients.{name}`"
        if not isinstance(options, Mapping):
            raise SettingsError([f"{place} must be an object"])
        if str(options.get("enabled", True)).lower() == "false":
            continue
        openid = options.get("openid")
        issuer = openid.get("issuer") if isinstance(openid, Mapping) else None
        client_id, secret = options.get("client-id"), options.get("client-secret")
        scopes = options.get("scopes", OidcClient.scopes)
        if isinstance(scopes, str):
            scopes = scopes.replace(",", " ").split()
        if not isinstance(client_id, str) or not client_id:
            raise SettingsError([f"{place} needs a `client-id`"])
        if not isinstance(issuer, str) or not issuer.startswith(("https://", "http://")):
            raise SettingsError([f"{place} needs `openid.issuer`, the address of an OpenID Connect provider"])
        if not isinstance(scopes, Sequence) or not all(isinstance(each, str) for each in scopes):
            raise SettingsError([f"{place}.scopes must be a list of texts"])
        clients.append(
            OidcClient(
                name=name,
                client_id=client_id,
                client_secret=None if secret is None else str(secret),
                issuer=issuer,
                scopes=tuple(scopes),
            )
        )
    return tuple(clients)


def _signing_key(secret: str | None, encryption_key: str | None) -> bytes | None:
    """The key of session tokens: what the operator gave, hashed, so that no key is used for two things."""
    if secret is not None:
        return _hashed(secret)
    if encryption_key is None:
        return None
    key = base64.b64decode("".join(encryption_key.split()))
    return hashlib.blake2b(key, person=b"session tokens", digest_size=32).digest()


def _hashed(secret: str) -> bytes:
    if len(secret.encode()) < _SHORTEST_SECRET:
        raise SettingsError(["the secret of session tokens needs 256 bits: at least 32 characters"])
    return hashlib.blake2b(secret.encode(), person=b"session tokens", digest_size=32).digest()
