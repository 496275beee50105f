"""Credentials: how tokens of other systems are got, as people write it (CRED-01 to CRED-07, page 086).

A JSON document comes in, a checked description goes out.  What is secret stands in a secret that the document names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from flowtide.errors import ValueInvalid
from flowtide.model.durations import parse_duration

GRANTS: Final = ("CLIENT_CREDENTIALS", "JWT_BEARER", "PRIVATE_KEY_JWT")
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
TENANT_WIDE: Final = "tenant"
"""What stands for the namespace of a credential that all namespaces may use."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
_SECRET_CALL = re.compile(r"\{\{\s*secret\(\s*['\"]([^'\"]+)['\"]\s*\)\s*\}\}")
_GITHUB: Final = "https://api.github.com"
_REFRESH: Final = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretReference:
    """Which secret holds a value."""

    key: str
    namespace: str | None = None  # None: of the credential, or of the flow that uses one of the tenant
    subkey: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialConfig:
    """A credential, checked."""

    name: str
    grant: str  # one of GRANTS, or GITHUB_APP
    endpoint: str  # where tokens are asked for; of a GitHub App the address of the API
    client_id: str | None = None
    client_secret: SecretReference | None = None
    private_key: SecretReference | None = None
    key_id: str | None = None
    algorithm: str = "RS256"
    issuer: str | None = None
    subject: str | None = None
    audience: str | None = None
    scopes: tuple[str, ...] = ()
    claims: Mapping[str, Any]
    installation_id: str | None = None
    cached: bool = True
    refresh_before: timedelta = _REFRESH  # a token that ends sooner is not used any more


def checked_credential(document: Mapping[str, Any]) -> CredentialConfig:
    """Read a credential.  Raises ValueInvalid, which never shows a value that might be secret."""
    name = document.get("name", document.get("id"))
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueInvalid("`name` must have letters, digits, `.`, `_` and `-`, at most 150")
    kind = str(document.get("type") or "OAUTH2").upper()
    given = document.get("authConfig")
    if given is not None and not isinstance(given, Mapping):
        raise ValueInvalid("`authConfig` must be an object")
    fields = {**document, **(given or {})}  # older forms have everything at the top
    cached = fields.get("cacheEnabled", fields.get("cache", True))
    common: dict[str, Any] = {
        "name": name,
        "key_id": _text(fields, "keyId"),
        "claims": _claims(fields),
        "cached": cached.get("enabled", True) is not False
        if isinstance(cached, Mapping)
        else cached is not False,
        "refresh_before": _duration(fields.get("refreshBeforeExpiry")),
    }
    if kind == "GITHUB_APP":
        return CredentialConfig(
            grant=kind,
            endpoint=_address(fields, "apiUrl", _GITHUB),
            issuer=_needed(fields, "appId", "GITHUB_APP"),
            installation_id=_needed(fields, "installationId", "GITHUB_APP"),
            private_key=_reference(fields, "privateKey", "GITHUB_APP"),
            **common,
        )
    if kind != "OAUTH2":
        raise ValueInvalid("`type` must be OAUTH2 or GITHUB_APP")
    grant = str((given or {}).get("type") or "CLIENT_CREDENTIALS").upper()
    if grant not in GRANTS:
        raise ValueInvalid(f"`authConfig.type` must be one of {', '.join(GRANTS)}")
    algorithm = str(fields.get("algorithm") or "RS256").upper()
    if algorithm not in ALGORITHMS:
        raise ValueInvalid(f"`algorithm` must be one of {', '.join(ALGORITHMS)}")
    scopes = fields.get("scopes") or fields.get("scope") or ()
    with_key = grant != "CLIENT_CREDENTIALS"
    with_client = grant != "JWT_BEARER"
    return CredentialConfig(
        grant=grant,
        endpoint=_address(fields, "tokenEndpoint", None),
        client_id=_needed(fields, "clientId", grant) if with_client else _text(fields, "clientId"),
        client_secret=None if with_key else _reference(fields, "clientSecret", grant),
        private_key=_reference(fields, "privateKey", grant) if with_key else None,
        algorithm=algorithm,
        issuer=_needed(fields, "issuer", grant) if grant == "JWT_BEARER" else _text(fields, "issuer"),
        subject=_text(fields, "subject"),
        audience=_text(fields, "audience"),
        scopes=tuple(scopes.split() if isinstance(scopes, str) else map(str, scopes)),
        **common,
    )


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """A text, or the 2.0 form `{type: VALUE, value}`."""
    value = fields.get(name)
    if isinstance(value, Mapping):
        value = value.get("value") if str(value.get("type", "VALUE")).upper() == "VALUE" else None
    return None if value in (None, "") else str(value)


def _needed(fields: Mapping[str, Any], name: str, grant: str) -> str:
    value = _text(fields, name)
    if value is None:
        raise ValueInvalid(f"a credential of type {grant} needs `{name}`")
    return value


def _reference(fields: Mapping[str, Any], name: str, grant: str) -> SecretReference:
    """The secret that a field names: `{type: SECRET, secretKey}`, `{{ secret('KEY') }}`, or the key alone."""
    value = fields.get(name)
    if isinstance(value, Mapping):
        key = value.get("secretKey") or value.get("key")
        if str(value.get("type", "SECRET")).upper() == "SECRET" and isinstance(key, str) and key:
            namespace, subkey = value.get("namespace"), value.get("subkey")
            return SecretReference(key=key, namespace=namespace or None, subkey=subkey or None)
    elif isinstance(value, str) and value:
        match = _SECRET_CALL.fullmatch(value.strip())
        key = match[1] if match else value
        if (
            len(key) <= 256
            and key.isprintable()
            and "{{" not in key
            and not any(each.isspace() for each in key)
        ):
            return SecretReference(key=key)
    raise ValueInvalid(
        f"a credential of type {grant} needs `{name}`, which names a secret, and not the value itself (CRED-05)"
    )


def _address(fields: Mapping[str, Any], name: str, default: str | None) -> str:
    value = _text(fields, name) or default
    if value is None or not value.startswith(("https://", "http://")):
        raise ValueInvalid(f"`{name}` must be an address that begins with https:// or http://")
    return value


def _claims(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    claims = fields.get("additionalClaims") or {}
    if not isinstance(claims, Mapping):
        raise ValueInvalid("`additionalClaims` must be an object")
    return dict(claims)


def _duration(given: Any) -> timedelta:
    if given in (None, ""):
        return _REFRESH
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return timedelta(seconds=given)
    try:
        return abs(parse_duration(str(given)))
    except ValueError:
        raise ValueInvalid("`refreshBeforeExpiry` must be a duration, such as PT1M, or seconds") from None
