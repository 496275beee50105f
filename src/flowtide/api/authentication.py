"""Who calls: basic authentication by header or `BASIC_AUTH` cookie (page 004, SEC-1 to SEC-6).

In come a request, the configured credentials and those that the set-up stored; out goes the user's name, or 401.
Configured credentials win over stored ones, and there is no way to switch authentication off.
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import hmac
import os
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import bcrypt
import msgspec

from flowtide.api.problems import Problem
from flowtide.model.records import Value, encode

SETTING_KEY = "kestra.server.basic-auth"  # where the stored credentials stand among the settings (SEC-2)
COOKIE = "BASIC_AUTH"
EMAIL = re.compile(r"[^@\s:]+@[^@\s.:]+(?:\.[^@\s.:]+)+")
PASSWORD = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9]).{8,}", re.DOTALL)
_LONGEST_PASSWORD_BYTES = 72  # bcrypt ignores what is beyond
_REMEMBERED = 256  # verified headers; each is some hundred bytes
_Result = TypeVar("_Result")
CHALLENGE = {"WWW-Authenticate": 'Basic realm="Flowtide"'}


class StoredCredentials(Value, frozen=True):
    """The login as the set-up stored it; the password only as a bcrypt hash."""

    username: str
    password_hash: str


CREDENTIALS_DECODER: msgspec.json.Decoder[StoredCredentials] = msgspec.json.Decoder(StoredCredentials)


class CredentialStore(Protocol):
    """Where the set-up keeps the login."""

    def load(self) -> StoredCredentials | None:
        """What is stored, from memory."""

    async def store(self, credentials: StoredCredentials) -> bool:
        """Store the first login; False when somebody else was faster."""


class Authentication:
    """Checks requests.  A verified header costs one hash afterwards, not another bcrypt."""

    def __init__(
        self,
        store: CredentialStore,
        *,
        username: str | None = None,
        password: str | None = None,
        open_urls: Sequence[str] = (),
        hash_rounds: int = 10,
    ) -> None:
        if username is not None and password is not None:
            errors = validation_errors(username, password, check_strength=False)
            if errors:
                raise ValueError(f"kestra.server.basic-auth: {'; '.join(errors)}")
        self._store = store
        self._username = username if password is not None else None
        self._password = password if username is not None else None
        self._open_urls = tuple(open_urls)
        self._hash_rounds = hash_rounds
        self._salt = os.urandom(16)  # of this process: what is remembered is worth nothing elsewhere
        self._verified: OrderedDict[bytes, str] = OrderedDict()
        self._verified_for: object = None

    @property
    def is_set_up(self) -> bool:
        """Whether there is a login."""
        return self._username is not None or self._store.load() is not None

    @property
    def is_configured(self) -> bool:
        """Whether the login stands in the configuration, so that the set-up has nothing to say (SEC-3)."""
        return self._username is not None

    @property
    def login_name(self) -> str | None:
        """The name of the configured or stored login."""
        if self._username is not None:
            return self._username
        stored = self._store.load()
        return None if stored is None else stored.username

    @property
    def proof(self) -> str:
        """What changes when the login's password changes; worth nothing outside of this process."""
        if self._password is not None:
            return hashlib.blake2b(self._password.encode(), key=self._salt, digest_size=32).hexdigest()
        stored = self._store.load()
        return "" if stored is None else stored.password_hash

    async def fits(self, name: str, password: str) -> bool:
        """Whether a name and a password are those of the login."""
        return await self._is_right(name, password, self._store.load() if self._username is None else None)

    def is_open(self, path: str) -> bool:
        """Whether a path begins like one of the configured open ones (SEC-6)."""
        return path.startswith(self._open_urls) if self._open_urls else False

    async def user(self, header: str | None, cookie: str | None) -> str:
        """The name of the caller.  Raises Problem 401."""
        if header is not None and header[:6].lower() == "basic ":
            token = header[6:].strip()
        elif cookie:
            token = cookie.strip('"')
        else:
            raise _refused("a user name and a password are needed")
        stored = self._store.load() if self._username is None else None
        if self._verified_for is not stored:
            self._verified.clear()
            self._verified_for = stored
        if len(token) > 1_024:
            raise _refused("the user name or the password is wrong")
        digest = hashlib.blake2b(token.encode(errors="replace"), key=self._salt, digest_size=32).digest()
        known = self._verified.get(digest)
        if known is not None:
            return known
        name, password = decoded_credentials(token)
        if not await self._is_right(name, password, stored):
            raise _refused("the user name or the password is wrong")
        self._verified[digest] = name
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return name

    def check_new(self, username: str, password: str) -> None:
        """Insist on a first login that can be stored.  Raises Problem 409 when there is one, 422 for a poor one."""
        if self.is_set_up:
            raise Problem(409, "there is a login already; change it in the configuration")
        errors = validation_errors(username, password)
        if errors:
            raise Problem(422, "; ".join(errors), details=[{"message": error} for error in errors])

    async def set_up(self, username: str, password: str) -> None:
        """Store the first login (SEC-2).  Raises Problem 409 when there is one, 422 for a poor one."""
        self.check_new(username, password)
        hashed = await _in_thread(
            lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._hash_rounds)).decode()
        )
        if not await self._store.store(StoredCredentials(username=username, password_hash=hashed)):
            raise Problem(409, "there is a login already; change it in the configuration")

    async def _is_right(self, name: str, password: str, stored: StoredCredentials | None) -> bool:
        if self._username is not None and self._password is not None:
            right_name = hmac.compare_digest(name.encode(), self._username.encode())
            right_password = hmac.compare_digest(password.encode(), self._password.encode())
            return right_name and right_password
        if stored is None or len(password.encode()) > _LONGEST_PASSWORD_BYTES:
            return False
        right_name = hmac.compare_digest(name.encode(), stored.username.encode())
        right_password = await _in_thread(
            lambda: bcrypt.checkpw(password.encode(), stored.password_hash.encode())
        )
        return right_name and right_password


def validation_errors(username: str, password: str, *, check_strength: bool = True) -> list[str]:
    """What is wrong with a login (SEC-4), as sentences."""
    errors = []
    if EMAIL.fullmatch(username) is None or len(username) > 256:
        errors.append("the user name must be an e-mail address")
    if check_strength:
        if PASSWORD.fullmatch(password) is None:
            errors.append(
                "the password needs 8 characters or more, with a capital letter, a small letter and a digit"
            )
        elif len(password.encode()) > _LONGEST_PASSWORD_BYTES or "\0" in password:
            errors.append(f"the password must have at most {_LONGEST_PASSWORD_BYTES} bytes, without NUL")
    return errors


def encoded_credentials(credentials: StoredCredentials) -> bytes:
    """The credentials as they stand in the resource."""
    return encode(credentials)


def _refused(reason: str) -> Problem:
    return Problem(401, f"Unauthorized: {reason}", headers=CHALLENGE)


def decoded_credentials(token: str) -> tuple[str, str]:
    """The name and the password of a Basic header.  Raises Problem 401 for what cannot be read."""
    try:
        text = b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        raise _refused("the credentials are not readable") from None
    name, colon, password = text.partition(":")
    if not colon or "\0" in text:
        raise _refused("the credentials are not readable")
    return name, password


async def _in_thread(work: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(None, work)
