"""Who calls: credentials of a request in, a Principal out, or Problem 401.

API tokens and session tokens as Bearer, session tokens as cookie, e-mail address and password as HTTP Basic
(AUTH-02, AUTH-04); passwords are ours, or those of an LDAP directory.

State: which Basic headers were found right, so that a password is not compared at each request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from flowtide.api.authentication import CHALLENGE, COOKIE, Authentication, decoded_credentials
from flowtide.api.keys import SITE
from flowtide.api.login_notes import LoginNotes
from flowtide.api.origins import trusts
from flowtide.api.problems import Problem
from flowtide.api.security import Security
from flowtide.api.session_tokens import SessionTokens
from flowtide.errors import DirectoryUnavailable, LogUnavailable
from flowtide.model.access import LoginWay, Principal, SubjectType
from flowtide.model.identity import ApiToken, Password
from flowtide.services.identity import Attempts, Directory, Identities, Passwords
from flowtide.services.identity.directory import TOKEN_MARK
from flowtide.services.identity.ldap import LdapDirectory, Person, Refusal
from flowtide.services.identity.provisioning import LDAP, Provisioning, arrival_by_ldap
from flowtide.services.identity.tables import hash_of

SESSION_COOKIE = "JWT"
RENEWAL_COOKIE = "JWT_REFRESH_TOKEN"
SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_REMEMBERED = 1_024  # Basic headers; each is some hundred bytes
_LONGEST_TOKEN = 256
_LONGEST_HEADER = 1_024
_LONGEST_ADDRESS = 64

WRONG = "the user name or the password is wrong, or the user is locked after too many failed logins"


_BASIC = "BASIC"
_DIRECTORY_REMEMBERED = timedelta(minutes=1)
_CHANGE_LIFETIME = timedelta(minutes=15)


class PasswordChangeNeeded(Problem):
    """The password is right, and has to be changed before anything else."""

    def __init__(self, user_id: str) -> None:
        super().__init__(
            403, "Forbidden: change your password first; log in at `POST /login` to be given the means"
        )
        self.user_id = user_id


@dataclass(frozen=True, slots=True)
class _Verified:
    """A Basic header that was found right."""

    user_id: str
    proof: str  # what changes when the user's password changes
    until: datetime | None  # when a directory has to be asked again


class Recognition:
    """Recognises callers, and checks passwords for `POST /login`."""

    def __init__(
        self,
        authentication: Authentication,
        identities: Identities,
        directory: Directory,
        passwords: Passwords,
        attempts: Attempts,
        tokens: SessionTokens,
        security: Security,
        *,
        clock: Callable[[], datetime],
        directories: Sequence[LdapDirectory] = (),
        notes: LoginNotes | None = None,
    ) -> None:
        self.authentication = authentication
        self.identities = identities
        self.directory = directory
        self.passwords = passwords
        self.attempts = attempts
        self.tokens = tokens
        self.security = security
        self.notes = notes or LoginNotes(None)
        self._directories = tuple(directories)
        self._clock = clock
        self._salt = os.urandom(16)  # of this process: what is remembered is worth nothing elsewhere
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._writing: set[asyncio.Task[None]] = set()
        self._comparing: dict[bytes, asyncio.Task[Principal]] = {}

    def close(self) -> None:
        """End what is under way."""
        for task in (*self._writing, *self._comparing.values()):
            task.cancel()
        self.identities.close()
        self.passwords.close()
        for directory in self._directories:
            directory.close()

    @property
    def has_directories(self) -> bool:
        """Whether people can log in by LDAP."""
        return bool(self._directories)

    @property
    def is_set_up(self) -> bool:
        """Whether there is anybody who can log in."""
        configured = self.security.superadmin_username is not None
        return configured or self.authentication.is_set_up or any(True for _ in self.identities.users())

    async def principal(self, request: web.Request) -> Principal:
        """The caller.  Raises Problem 401, and 429 for an address that failed too often."""
        header = request.headers.get(hdrs.AUTHORIZATION)
        if header is not None:
            scheme, _, rest = header.partition(" ")
            match scheme.lower():
                case "bearer":
                    return await self._by_bearer(rest.strip())
                case "basic":
                    return await self._by_basic(rest.strip(), address_of(request))
            raise unauthorized("the credentials are not readable")
        session = request.cookies.get(SESSION_COOKIE)
        if session:
            return replace(await self._by_session(session), by_cookie=True)
        basic = request.cookies.get(COOKIE)
        if basic:
            return replace(await self._by_basic(basic.strip('"'), address_of(request)), by_cookie=True)
        raise unauthorized("a user name and a password, or a token, are needed")

    async def login(self, name: str, password: str, address: str) -> tuple[Principal, str]:
        """Check a password: who it is of, and by which way it was found right, `BASIC` or `LDAP`.

        Raises Problem 401, 429 for an address that failed too often, PasswordChangeNeeded, and DirectoryUnavailable.
        """
        wait = self.attempts.refused_for(address)
        if wait is not None:
            seconds = max(1, int(wait.total_seconds()) + 1)
            raise Problem(
                429, "Too Many Requests: too many failed logins; wait", headers={"Retry-After": str(seconds)}
            )
        if self.attempts.is_busy(address):
            raise Problem(
                429,
                "Too Many Requests: too many passwords are being compared for this address; try again in a second",
                headers={"Retry-After": "1"},
            )
        self.attempts.begin(address)
        try:
            found = await self._check(name, password)
        except DirectoryUnavailable:
            if self._has_password(name):  # which was wrong, whatever the directory would have said
                await self._failed(name, address)
            raise
        finally:
            self.attempts.end(address)
        if found is None:
            await self._failed(name, address)
            raise unauthorized(WRONG)
        self.attempts.forget(name)
        user_id, way = found
        known = self.identities.password(user_id)
        if way == _BASIC and known is not None and known.must_change:
            raise PasswordChangeNeeded(user_id)
        return self.principal_of(user_id, LoginWay.PASSWORD), way

    def principal_of(self, subject_id: str, way: LoginWay) -> Principal:
        """Somebody as a caller.  Raises Problem 401 for who is not there any more."""
        subject = self.identities.subject(subject_id)
        if subject is None:
            raise unauthorized("the user is not there any more")
        return Principal(
            id=subject.id, name=subject.name, type=subject.type, super_admin=subject.super_admin, way=way
        )

    async def change_token(
        self, user_id: str, *, lifetime: timedelta = _CHANGE_LIFETIME
    ) -> tuple[str, Password | None]:
        """A token that lets its bearer give a user another password, once, and the password that it is bound to."""
        known = self.identities.password(user_id)
        return await self.tokens.sign_change(user_id, _state_of(known), lifetime), known

    async def changing(self, token: str) -> str | None:
        """Whose password a token lets change; None for one that is used, over, or was followed by another mail."""
        claims = await self.tokens.read_change(token)
        if claims is None:
            return None
        known = self.identities.password(claims.user_id)
        if known is None or _state_of(known) != claims.session_id:
            await self.catch_up()
            known = self.identities.password(claims.user_id)
        return claims.user_id if known is not None and _state_of(known) == claims.session_id else None

    async def catch_up(self) -> None:
        """Wait for what was saved before now, as long as the log can be read."""
        with suppress(LogUnavailable):
            await self.identities.catch_up()

    # Passwords.

    async def _check(self, name: str, password: str) -> tuple[str, str] | None:
        """The id of the user whose name and password these are, and by which way."""
        configured = await self._configured(name, password)
        if configured is not None:
            return (configured, _BASIC) if configured else None
        user_id = self.identities.user_id(name)
        known = None if user_id is None else self.identities.password(user_id)
        fits = await self.passwords.fits(password, None if known is None else known.hash)
        if not fits:
            await self.catch_up()  # the user, or another password, may have been saved on another webserver
            user_id = self.identities.user_id(name)
            before, known = known, None if user_id is None else self.identities.password(user_id)
            if known is not None and (before is None or before.hash != known.hash):
                fits = await self.passwords.fits(password, known.hash)
        if known is not None and known.locked_until is not None and known.locked_until > self._clock():
            return None
        if fits and known is not None and user_id is not None:
            return user_id, _BASIC
        if not self._directories or self.attempts.is_locked(name):
            return None
        return await self._by_directory(name, password)

    async def _by_directory(self, name: str, password: str) -> tuple[str, str] | None:
        """The user whom a directory knows by this name and password, made at the first login (LDAP-03)."""
        provisioning = self._provisioning()
        away: DirectoryUnavailable | None = None
        unknown = 0
        for directory in self._directories:
            try:
                found = await directory.login(name, password)
            except DirectoryUnavailable as error:
                away = error
                continue
            if isinstance(found, Person):
                with self.notes.trail(LDAP):
                    user_id = await provisioning.logged_in(
                        arrival_by_ldap(found, name), found.groups, keep_own=True
                    )
                return user_id, LDAP
            unknown += found is Refusal.UNKNOWN
        if away is not None:
            raise away
        if unknown == len(self._directories):
            with self.notes.trail(LDAP):
                await provisioning.gone(name)
        return None

    def _provisioning(self) -> Provisioning:
        return Provisioning(
            self.identities, self.directory, tenant=self.security.fallback_tenant, clock=self._clock
        )

    def _has_password(self, name: str) -> bool:
        user_id = self.identities.user_id(name)
        return user_id is not None and self.identities.password(user_id) is not None

    async def _configured(self, name: str, password: str) -> str | None:
        """The id of a configured user, "" when the password is wrong; None when the name is nobody's of them."""
        superadmin = self.security.superadmin_username
        user_id = self.identities.user_id(name)
        if superadmin is not None and _same(name.casefold(), superadmin.casefold()):
            await self.passwords.fits(password, None)  # as much work as for others: the time tells no name
            right = _same(password, self.security.superadmin_password or "")
            return (user_id or "") if right else ""
        login = self.authentication.login_name
        if login is not None and _same(name.casefold(), login.casefold()):
            if self.authentication.is_configured:
                await self.passwords.fits(password, None)
            return (user_id or "") if await self.authentication.fits(login, password) else ""
        return None

    async def _failed(self, name: str, address: str) -> None:
        user_id = self.identities.user_id(name)
        known_as = self._provisioning().known_as(name) if self._directories else user_id
        self.notes.failed(name, known_as, address)
        if not self.attempts.failed(name, address):
            return
        if user_id is not None and self.identities.is_configured(user_id):
            return
        if user_id is not None and self.identities.password(user_id) is not None:
            await self.directory.lock(user_id, self._clock() + self.attempts.limits.lock)
        elif self._directories:
            self.attempts.lock(name)
        if user_id is not None or self._directories:
            self.notes.locked(name, known_as, address)

    async def _by_basic(self, token: str, address: str) -> Principal:
        if len(token) > _LONGEST_HEADER:
            raise unauthorized(WRONG)
        digest = hashlib.blake2b(token.encode(errors="replace"), key=self._salt, digest_size=32).digest()
        remembered = self._verified.get(digest)
        if remembered is not None and self._still_right(remembered):
            return self.principal_of(remembered.user_id, LoginWay.PASSWORD)
        comparing = self._comparing.get(digest)
        if comparing is None:
            # A program that begins with many requests at once is one login: each would cost a comparison.
            comparing = asyncio.create_task(self._compared(digest, token, address))
            self._comparing[digest] = comparing
            comparing.add_done_callback(partial(self._end_comparing, digest))
        return await asyncio.shield(comparing)

    async def _compared(self, digest: bytes, token: str, address: str) -> Principal:
        name, password = decoded_credentials(token)
        found, way = await self.login(name, password, address)
        until = self._clock() + _DIRECTORY_REMEMBERED if way == LDAP else None
        self._verified[digest] = _Verified(found.id, self._proof_of(found.id), until)
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return found

    def _end_comparing(self, digest: bytes, comparing: asyncio.Task[Principal]) -> None:
        self._comparing.pop(digest, None)
        if not comparing.cancelled():
            comparing.exception()  # nobody may be waiting any more

    def _still_right(self, verified: _Verified) -> bool:
        known, user = self.identities.password(verified.user_id), self.identities.user(verified.user_id)
        if known is not None and (
            known.must_change or (known.locked_until is not None and known.locked_until > self._clock())
        ):
            return False
        if verified.until is not None and (
            verified.until <= self._clock() or (user is not None and LDAP not in user.logins)
        ):
            return False
        return user is not None and self._proof_of(verified.user_id) == verified.proof

    def _proof_of(self, user_id: str) -> str:
        """What changes when the user's password changes."""
        if self.identities.is_configured(user_id):
            user = self.identities.user(user_id)
            is_login = user is not None and user.email == self.authentication.login_name
            return self.authentication.proof if is_login else "configured"
        known = self.identities.password(user_id)
        return "" if known is None else known.hash

    # Tokens.

    async def _by_bearer(self, token: str) -> Principal:
        if token.count(".") == 2:
            return await self._by_session(token)
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii():
            raise unauthorized("the token is not known")
        digest = hash_of(token)
        found = self.identities.token_by_hash(digest)
        if found is None and token.startswith(TOKEN_MARK):
            await self.catch_up()  # another webserver may have made it a moment ago
            found = self.identities.token_by_hash(digest)
        if found is None:
            raise unauthorized("the token is not known")
        token_id, saved = found
        if saved.expires is not None and saved.expires <= self._clock():
            raise unauthorized("the token has expired")
        principal = replace(self.principal_of(saved.owner_id, LoginWay.TOKEN), token_id=token_id)
        if principal.type is not SubjectType(saved.owner_type):
            raise unauthorized("the token is not known")
        self._note_use(token_id, saved)
        return principal

    def _note_use(self, token_id: str, saved: ApiToken) -> None:
        used = self.directory.use_of(saved)
        if used is None or any(task.get_name() == token_id for task in self._writing):
            return

        async def write() -> None:
            with suppress(Exception):  # that a use is not noted must not refuse it
                await self.directory.note_use(token_id, used)

        task = asyncio.create_task(write(), name=token_id)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _by_session(self, token: str) -> Principal:
        claims = await self.tokens.read(token)
        if claims is None:
            raise unauthorized("the session token is not valid; log in again")
        session = self.identities.session(claims.session_id)
        if session is None:
            await self.catch_up()  # it may have been opened on another webserver a moment ago
            session = self.identities.session(claims.session_id)
        if session is None or session.user_id != claims.user_id or session.expires <= self._clock():
            raise unauthorized("the session is over; log in again")
        if session.impersonator is not None and not self._still_impersonates(session.impersonator):
            raise unauthorized("who acts as this user may not do so any more")
        found = self.principal_of(claims.user_id, LoginWay.SESSION)
        return replace(found, session_id=claims.session_id, impersonator=session.impersonator)

    def _still_impersonates(self, name: str) -> bool:
        user_id = self.identities.user_id(name)
        user = None if user_id is None else self.identities.user(user_id)
        if user is not None:
            return user.super_admin
        return any(each.name == name and each.super_admin for _, each in self.identities.service_accounts())


RECOGNITION = web.AppKey("recognition", Recognition)


async def optional_principal(request: web.Request) -> Principal | None:
    """The caller of a path that needs no login, for handlers that ask more of some things than of others.

    None without credentials.  Raises Problem 401 for wrong ones, 403 for a page of another origin.
    """
    recognition = request.app[RECOGNITION]
    if hdrs.AUTHORIZATION not in request.headers and not request.cookies:
        return None
    principal = await recognition.principal(request)
    if principal.by_cookie and request.method not in SAFE and not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not act for you")
    return principal


def is_same_origin(request: web.Request) -> bool:
    """Whether a browser says that a page of this server sends the request; other programs say nothing (CSRF)."""
    origin = request.headers.get(hdrs.ORIGIN) or request.headers.get(hdrs.REFERER)
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    site = request.app[SITE]
    own = {request.host, request.headers.get("X-Forwarded-Host", "").partition(",")[0].strip()}
    if site.url is not None:
        own.add(urlsplit(site.url).netloc)
    try:
        sender = urlsplit(origin)
    except ValueError:
        return False
    if trusts(site.cors, f"{sender.scheme}://{sender.netloc}"):
        return True  # the operator named it
    return sender.netloc != "" and sender.netloc in own


def address_of(request: web.Request) -> str:
    """The address that limits are counted for: that of the connection, since headers say what their sender likes.

    Where the operator names the header of a proxy, it is the last address in it: the one that the proxy saw itself.
    """
    name = request.app[SITE].client_address_header
    if name is not None:
        seen = ",".join(request.headers.getall(name, ())).rpartition(",")[2].strip()
        if seen:
            return seen[:_LONGEST_ADDRESS]
    return request.remote or "unknown"


def unauthorized(reason: str) -> Problem:
    """The refusal of a caller who is not known."""
    return Problem(401, f"Unauthorized: {reason}", headers=CHALLENGE)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _state_of(password: Password | None) -> str:
    """What a token to change a password is bound to: the password as it is, and the last mail about it."""
    if password is None:
        return ""
    return hash_of(f"{password.hash} {password.reset_sent}")
