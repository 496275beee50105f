"""Signed tokens of sessions (AUTH-02): a session in, a JWT out, and back; only HS256 with our own keys is taken.

The first key signs; tokens that former keys signed are still read, so that a key can be changed without logging people
out.  The same keys sign the links that change a password.

State: the key, once it is known.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets as system_secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec

from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.records import Value, encode
from flowtide.model.resources import ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.saving import ResourceClient

ISSUER = "flowtide"
CHANGE_ISSUER = "flowtide password"  # of tokens that are good for a password, and open nothing
KEY_SETTING = "flowtide.session-key"
_ALGORITHM = "HS256"
_LONGEST = 4_096  # characters of a token


class _SavedKey(Value, frozen=True):
    secret: str  # named so, because what is named so is masked in the audit log


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says once its signature was found right."""

    user_id: str
    session_id: str


class SessionTokens:
    """Signs and checks.  Without a configured key all webservers share one that is saved on first need."""

    def __init__(
        self,
        key: bytes | None,
        catalog: Catalog,
        resources: ResourceClient,
        *,
        clock: Callable[[], datetime],
        lifetime: timedelta,
        former: Sequence[bytes] = (),
    ) -> None:
        self._key = key
        self._former = tuple(former)
        self._catalog = catalog
        self._resources = resources
        self._clock = clock
        self._lifetime = lifetime
        self._making = asyncio.Lock()

    async def sign(self, user_id: str, session_id: str, until: datetime) -> tuple[str, datetime]:
        """A token of a session and when it expires, at the latest with the session."""
        now = self._clock()
        expires = min(now + self._lifetime, until)
        claims = {"iss": ISSUER, "sub": user_id, "sid": session_id, "iat": now, "exp": expires}
        return await self._signed(claims), expires

    async def sign_change(self, user_id: str, state: str, lifetime: timedelta) -> str:
        """A token that lets its bearer change a user's password, as long as it is as `state` says."""
        now = self._clock()
        claims = {"iss": CHANGE_ISSUER, "sub": user_id, "sid": state, "iat": now, "exp": now + lifetime}
        return await self._signed(claims)

    async def read_change(self, token: str) -> Claims | None:
        """Whose password it lets change, with the state that it must have as `session_id`; None as in `read`."""
        return await self._read(token, CHANGE_ISSUER)

    async def read(self, token: str) -> Claims | None:
        """What a token says; None for one that is not ours, was changed, or has expired."""
        return await self._read(token, ISSUER)

    async def _signed(self, claims: dict[str, Any]) -> str:
        key = await self._signing_key()
        return jwt.encode(claims, key, algorithm=_ALGORITHM, headers={"kid": _name_of(key)})

    async def _read(self, token: str, issuer: str) -> Claims | None:
        if len(token) > _LONGEST:
            return None
        current = await self._signing_key()
        try:
            named = jwt.get_unverified_header(token).get("kid")
            # It only chooses among our own keys; tokens of before keys had names are of the current one.
            key = next((each for each in self._former if _name_of(each) == named), current)
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                issuer=issuer,
                # The time is looked at below, by the clock of this server's surroundings.
                options={
                    "require": ["iss", "sub", "sid", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
            expires = datetime.fromtimestamp(int(claims["exp"]), UTC)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError, RecursionError):
            return None
        user_id, session_id = claims["sub"], claims["sid"]
        if not isinstance(user_id, str) or not isinstance(session_id, str) or expires <= self._clock():
            return None
        return Claims(user_id, session_id)

    async def _signing_key(self) -> bytes:
        if self._key is None:
            async with self._making:
                if self._key is None:
                    self._key = self._saved() or await self._make()
        return self._key

    def _saved(self) -> bytes | None:
        resource = self._catalog.get(ResourceKind.SETTING, SYSTEM_TENANT, KEY_SETTING)
        if resource is None or resource.deleted:
            return None
        return base64.b64decode(msgspec.json.decode(resource.body, type=_SavedKey).secret)

    async def _make(self) -> bytes:
        key = system_secrets.token_bytes(32)
        body = encode(_SavedKey(secret=base64.b64encode(key).decode()))
        try:
            await self._resources.save(ResourceKind.SETTING, SYSTEM_TENANT, KEY_SETTING, body, 0)
        except ResourceConflict:  # another webserver was faster: theirs is everybody's
            await self._catalog.catch_up()
            return self._saved() or key
        return key


def _name_of(key: bytes) -> str:
    """What a token says of the key that it was signed with."""
    return hashlib.blake2b(key, person=b"key name", digest_size=8).hexdigest()
