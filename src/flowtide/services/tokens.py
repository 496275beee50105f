"""Gets tokens for credentials: a checked credential and its secrets come in, an access token goes out (CRED-03).

Tokens are kept in memory only, in this process, until shortly before they end (CRED-07).
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from flowtide.errors import FlowtideError
from flowtide.model.credentials import CredentialConfig
from flowtide.model.outbound import OPEN, OutboundRules, proxy_of_surroundings, refusal_of

_TIMEOUT_SECONDS: Final = 9.0  # a rendering has ten
_LARGEST_ANSWER: Final = 1024 * 1024
_ASSERTION_LIFE: Final = timedelta(minutes=5)
_DEFAULT_LIFE: Final = timedelta(minutes=5)  # of a token whose answer does not say
_MOST_TOKENS: Final = 10_000
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class TokenRefused(FlowtideError):
    """No token could be got for a credential; the message shows nothing secret."""

    code = "token-refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """An access token and its end."""

    value: str
    expires: datetime


class Tokens:
    """The tokens of this process.  For the event loop.

    `clock` gives the time in UTC; `ids` a fresh id at each call, for assertions that must not be used twice.
    """

    def __init__(
        self, *, clock: Callable[[], datetime], ids: Callable[[], str], outbound: OutboundRules = OPEN
    ) -> None:
        self._outbound = outbound
        self._clock = clock
        self._ids = ids
        self._kept: OrderedDict[object, Token] = OrderedDict()
        self._asking: dict[object, asyncio.Lock] = {}

    async def get(self, place: object, config: CredentialConfig, secret: str) -> str:
        """A token that is good for a while; `place` names the credential, its revision and its secret.

        `secret` is the client's secret or the private key.  Raises TokenRefused.
        """
        if not config.cached:
            return (await self.mint(config, secret)).value
        lock = self._asking.setdefault(place, asyncio.Lock())
        try:
            async with lock:  # of many tasks that ask at once, one fetches
                kept = self._kept.get(place)
                if kept is None or kept.expires - config.refresh_before <= self._clock():
                    kept = self._kept[place] = await self.mint(config, secret)
                    self._kept.move_to_end(place)
                    if len(self._kept) > _MOST_TOKENS:
                        self._kept.popitem(last=False)
                return kept.value
        finally:
            if not lock.locked():
                self._asking.pop(place, None)

    async def mint(self, config: CredentialConfig, secret: str) -> Token:
        """Ask for a new token, whatever is kept.  Raises TokenRefused."""
        now = self._clock()
        if config.grant == "GITHUB_APP":
            claims = {
                "iat": _seconds(
                    now - timedelta(seconds=60)
                ),  # GitHub refuses clocks that are ahead of its own
                "exp": _seconds(now + _ASSERTION_LIFE),
                "iss": config.issuer,
            }
            address = (
                f"{config.endpoint.rstrip('/')}/app/installations/{config.installation_id}/access_tokens"
            )
            headers = {
                "Authorization": f"Bearer {signed(claims, secret, 'RS256', None)}",
                "Accept": "application/vnd.github+json",
            }
            answer = await _post(address, headers, {}, self._outbound)
            return _token(answer, "token", now)
        form: dict[str, str] = {}
        headers = {"Accept": "application/json"}
        if config.grant == "JWT_BEARER":
            form["grant_type"] = _BEARER
            form["assertion"] = self._assertion(
                config, secret, now, issuer=config.issuer, subject=config.subject
            )
        else:
            form["grant_type"] = "client_credentials"
            assert config.client_id is not None
            if config.scopes:
                form["scope"] = " ".join(config.scopes)
            if config.grant == "PRIVATE_KEY_JWT":
                issuer = config.issuer or config.client_id
                form["client_id"] = config.client_id
                form["client_assertion_type"] = _ASSERTION
                form["client_assertion"] = self._assertion(
                    config, secret, now, issuer=issuer, subject=config.subject or config.client_id
                )
            else:
                form["client_id"] = config.client_id
                form["client_secret"] = secret
            if config.audience is not None:
                form["audience"] = config.audience
        return _token(await _post(config.endpoint, headers, form, self._outbound), "access_token", now)

    def _assertion(
        self, config: CredentialConfig, key: str, now: datetime, *, issuer: str | None, subject: str | None
    ) -> str:
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": config.audience or config.endpoint,
            "iat": _seconds(now),
            "exp": _seconds(now + _ASSERTION_LIFE),
            "jti": self._ids(),
        }
        if subject is not None:
            claims["sub"] = subject
        if config.scopes and config.grant == "JWT_BEARER":
            claims["scope"] = " ".join(config.scopes)
        return signed({**claims, **config.claims}, key, config.algorithm, config.key_id)


def signed(claims: Mapping[str, Any], key: str, algorithm: str, key_id: str | None) -> str:
    """A JSON Web Token (RFC 7519) under a private key in PEM.  Raises TokenRefused, which does not show the key."""
    pem = key.strip().replace("\\n", "\n") + "\n"  # keys are often kept in one line
    try:
        return jwt.encode(dict(claims), pem, algorithm, headers={} if key_id is None else {"kid": key_id})
    except (jwt.PyJWTError, ValueError, TypeError):
        raise TokenRefused(
            f"the secret of the private key is no key in PEM without a password that fits {algorithm}"
        ) from None


async def _post(
    address: str, headers: Mapping[str, str], form: Mapping[str, str], rules: OutboundRules
) -> Mapping[str, Any]:
    import aiohttp  # only who uses credentials pays for it

    proxy = proxy_of_surroundings(address)
    guard = rules.guard(proxy=proxy, trusts_proxy=proxy is not None)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
                connector=aiohttp.TCPConnector(socket_factory=guard.open_socket),
                middlewares=(guard.admit,),
                proxy=proxy,
            ) as session,
            # A redirect would carry the secret to wherever it points.
            session.post(address, headers=headers, data=form, allow_redirects=False) as response,
        ):
            content = await response.content.read(_LARGEST_ANSWER)
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        refused = refusal_of(error)
        if refused is not None:
            raise TokenRefused(str(refused)) from None
        raise TokenRefused(f"{address} cannot be asked: {type(error).__name__}") from None
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status >= 300 or not isinstance(answer, dict):
        said = answer.get("error", answer.get("message")) if isinstance(answer, dict) else None
        more = f": {said[:200]}" if isinstance(said, str) else ""
        raise TokenRefused(f"{address} answered {status}{more}")
    return answer


def _token(answer: Mapping[str, Any], field: str, now: datetime) -> Token:
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise TokenRefused(f"the answer has no `{field}`")
    try:
        if "expires_at" in answer:
            moment = datetime.fromisoformat(str(answer["expires_at"]))
            expires = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            expires = now + timedelta(seconds=float(answer["expires_in"]))
    except (KeyError, ValueError, TypeError, OverflowError):
        expires = now + _DEFAULT_LIFE
    return Token(value=value, expires=expires)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
