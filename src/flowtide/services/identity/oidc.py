"""OpenID Connect (SSO-01, SSO-02): a code from a provider in, the claims of who logged in out.

Authorization code flow with PKCE, `state` and `nonce`; the provider's addresses and keys come from its discovery
document.  State: that document and the keys, for an hour.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import jwt

from flowtide.errors import LoginRefused

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_KEPT = timedelta(hours=1)
_KEYS_PAUSE = timedelta(seconds=10)  # between two looks for a key that is not there
_SKEW = timedelta(seconds=60)  # how far the provider's clock may be from ours
_TIMEOUT_SECONDS = 10
_LARGEST_ANSWER = 1024 * 1024
_ANY_TENANT = "{tenantid}"  # stands in the issuer of a provider that serves many directories (SSO-04)


@dataclass(frozen=True, kw_only=True)
class OidcClient:
    """One provider as the operator set it up."""

    name: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    issuer: str
    scopes: tuple[str, ...] = ("openid", "profile", "email")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A login that is under way, kept in a cookie of the browser that began it."""

    provider: str
    state: str
    nonce: str
    verifier: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proven:
    """Who logged in, as the provider says."""

    provider: str
    subject: str
    claims: Mapping[str, Any] = field(repr=False)
    any_directory: bool = False  # whether everybody can open a directory at this provider

    @property
    def email(self) -> str | None:
        """The e-mail address; None when the provider gives none."""
        for name in ("email", "preferred_username", "upn"):
            value = self.claims.get(name)
            if isinstance(value, str) and "@" in value:
                return value.strip()
        return None

    @property
    def email_refused(self) -> bool:
        """Whether the provider itself says that the address may be somebody else's."""
        return self.claims.get("email_verified") in (False, "false")

    @property
    def email_owned(self) -> bool:
        """Whether the address is good enough to log in as the user who has it already."""
        if self.claims.get("email_verified") in (True, "true"):
            return True
        return not self.any_directory or self.claims.get("xms_edov") in (True, "true", "1", 1)


class OidcProvider:
    """Talks to one provider.  `token_bytes` gives randomness."""

    def __init__(
        self, client: OidcClient, *, clock: Callable[[], datetime], token_bytes: Callable[[int], bytes]
    ) -> None:
        self.client = client
        self._clock = clock
        self._token_bytes = token_bytes
        self._document: tuple[datetime, Mapping[str, Any]] | None = None
        self._keys: tuple[datetime, Mapping[str, jwt.PyJWK]] | None = None

    async def begin(self, redirect_uri: str) -> tuple[str, Attempt]:
        """Where to send the browser, and what to remember of it.  Raises LoginRefused."""
        document = await self._discover()
        attempt = Attempt(
            provider=self.client.name,
            state=_text(self._token_bytes(32)),
            nonce=_text(self._token_bytes(32)),
            verifier=_text(self._token_bytes(48)),
        )
        challenge = _text(hashlib.sha256(attempt.verifier.encode()).digest())
        parameters = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *self.client.scopes))),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = self._address(document, "authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}", attempt

    async def end_session(self, back: str) -> str | None:
        """Where a browser logs out of the provider and is sent `back`; None when it has no such address."""
        document = await self._discover()
        if not isinstance(document.get("end_session_endpoint"), str):
            return None
        address = self._address(document, "end_session_endpoint")
        parameters = {"client_id": self.client.client_id, "post_logout_redirect_uri": back}
        return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"

    async def finish(
        self, attempt: Attempt, code: str, redirect_uri: str, *, issuer: str | None = None
    ) -> Proven:
        """Exchange a code for who logged in.

        `issuer` is whom the browser says that it comes from; another one than ours mixes up two providers (RFC 9207).
        Raises LoginRefused.
        """
        document = await self._discover()
        said = str(document["issuer"])
        if issuer is not None and issuer != said and _ANY_TENANT not in said:
            raise LoginRefused(f"the answer is not of {self.client.name}, but of another provider")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = {"Accept": "application/json"}
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if self.client.client_secret is None:
            form["client_id"] = self.client.client_id
        elif "client_secret_basic" in methods:
            pair = f"{quote(self.client.client_id, safe='')}:{quote(self.client.client_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": self.client.client_id, "client_secret": self.client.client_secret}
        answer = await _asked("POST", self._address(document, "token_endpoint"), headers, form)
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise LoginRefused(f"{self.client.name} gave no ID token; is `openid` among its scopes?")
        claims = await self._verified(id_token, document, attempt.nonce)
        subject = claims["sub"]
        access_token = answer.get("access_token")
        if "email" not in claims and isinstance(access_token, str) and document.get("userinfo_endpoint"):
            more = await _asked(
                "GET",
                self._address(document, "userinfo_endpoint"),
                {"Accept": "application/json", "Authorization": f"Bearer {access_token}"},
                None,
            )
            if more.get("sub") == subject:  # else the answer is of somebody else
                claims = {**more, **claims}
        return Proven(
            provider=self.client.name,
            subject=subject,
            claims=claims,
            any_directory=_ANY_TENANT in str(document["issuer"]),
        )

    # Parts.

    async def _discover(self) -> Mapping[str, Any]:
        now = self._clock()
        if self._document is not None and now - self._document[0] < _KEPT:
            return self._document[1]
        issuer = self.client.issuer.rstrip("/")
        document = await _asked("GET", f"{issuer}/.well-known/openid-configuration", {}, None)
        said = document.get("issuer")
        many = isinstance(said, str) and _ANY_TENANT in said
        if not isinstance(said, str) or (said.rstrip("/") != issuer and not many):
            raise LoginRefused(
                f"the issuer of {self.client.name} calls itself by another name; correct `issuer`"
            )
        self._document = (now, document)
        return document

    async def _verified(self, token: str, document: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        refused = LoginRefused(f"the ID token of {self.client.name} is not valid")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise refused from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise refused
        key = await self._key(document, key_id if isinstance(key_id, str) else None)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self.client.client_id,
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat"],
                    # Times are looked at below, by the clock of this server's surroundings.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            now = self._clock().timestamp()
            over = float(claims["exp"]) + _SKEW.total_seconds() <= now
            early = float(claims.get("nbf", claims["iat"])) - _SKEW.total_seconds() > now
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise refused from None
        issuer = str(document["issuer"]).replace(_ANY_TENANT, str(claims.get("tid", "")))
        audience = claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        other = claims.get("azp", None if several else self.client.client_id) != self.client.client_id
        said = claims.get("nonce")
        same = isinstance(said, str) and hmac.compare_digest(said.encode(), nonce.encode())
        subject = claims["sub"]
        if over or early or other or not same or claims["iss"] != issuer:
            raise refused
        if not isinstance(subject, str) or not subject:
            raise refused
        return claims

    async def _key(self, document: Mapping[str, Any], key_id: str | None) -> jwt.PyJWK:
        now = self._clock()
        known = self._keys
        old = known is None or now - known[0] >= _KEPT
        missing = known is not None and self._chosen(known[1], key_id) is None
        if known is None or old or (missing and now - known[0] >= _KEYS_PAUSE):
            answer = await _asked("GET", self._address(document, "jwks_uri"), {}, None)
            found = answer.get("keys")
            keys: dict[str, jwt.PyJWK] = {}
            for each in found if isinstance(found, list) else ():
                try:
                    if each.get("use", "sig") == "sig" and each.get("kty") != "oct":
                        keys[str(each.get("kid", ""))] = jwt.PyJWK(each)
                except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
                    continue  # a key of a kind that we do not know
            known = self._keys = (now, keys)
        chosen = self._chosen(known[1], key_id)
        if chosen is None:
            raise LoginRefused(f"{self.client.name} signed with a key that it does not publish")
        return chosen

    @staticmethod
    def _chosen(keys: Mapping[str, jwt.PyJWK], key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(key_id)

    def _address(self, document: Mapping[str, Any], name: str) -> str:
        value = document.get(name)
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            raise LoginRefused(f"the discovery document of {self.client.name} has no `{name}`")
        return value


def groups_in(claims: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """The names of groups at a path in the claims (SSO-05); what is not there, or is no name, is no group."""
    value: Any = claims
    # A claim may have dots in its name, as addresses have.
    whole = ".".join(path)
    if whole in claims:
        value = claims[whole]
    else:
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else None
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [each.strip() for each in found if isinstance(each, str) and 0 < len(each.strip()) <= 256]


async def _asked(
    method: str, address: str, headers: Mapping[str, str], form: Mapping[str, str] | None
) -> dict[str, Any]:
    import aiohttp  # only who logs in by a provider pays for it

    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS), trust_env=True
            ) as session,
            # A redirect would carry the code and the secret to wherever it points.
            session.request(method, address, headers=headers, data=form, allow_redirects=False) as response,
        ):
            content = bytearray()
            async for part in response.content.iter_chunked(65_536):
                content += part
                if len(content) > _LARGEST_ANSWER:
                    raise LoginRefused(f"{address} answered with too much")
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise LoginRefused(f"{address} cannot be asked: {type(error).__name__}") from None
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if status != 200 or not isinstance(answer, dict):
        said = answer.get("error") if isinstance(answer, dict) else None
        more = f": {said[:100]}" if isinstance(said, str) else ""
        raise LoginRefused(f"{address} answered {status}{more}")
    return answer


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).decode().rstrip("=")
