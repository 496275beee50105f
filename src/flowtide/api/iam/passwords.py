"""Forgotten passwords (AUTH-09): an address in, a mail out; the mail's token and a new password in, a changed one out.

Answers are the same whether the address is somebody's or not.  State: how many requests each address sent lately.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime, timedelta

from aiohttp import web

from flowtide.api.access import PRINCIPAL
from flowtide.api.auditing import acting_as
from flowtide.api.iam import fields
from flowtide.api.keys import CLOCK, SITE
from flowtide.api.mailing import MAILER, password_reset_mail
from flowtide.api.problems import Problem
from flowtide.api.recognition import RECOGNITION, Recognition, address_of, is_same_origin
from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.identity import User
from flowtide.model.resources import ResourceKind

_REMEMBERED = 10_000  # addresses
_OVER = "the link is over, was used, or a later mail took its place; ask for another one"


class ResetRequests:
    """Counts the requests of each address on this server."""

    def __init__(self, clock: Callable[[], datetime], *, most: int, window: timedelta) -> None:
        self._clock = clock
        self._most = most
        self._window = window
        self._times: OrderedDict[str, deque[datetime]] = OrderedDict()

    def refused_for(self, address: str) -> timedelta | None:
        """Count a request; gives how long the address has to wait when it has sent too many."""
        now = self._clock()
        times = self._times.setdefault(address, deque())
        self._times.move_to_end(address)
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
        while times and times[0] <= now - self._window:
            times.popleft()
        if len(times) >= self._most:
            return times[0] + self._window - now
        times.append(now)
        return None


RESETS = web.AppKey("password_resets", ResetRequests)


async def request_reset(request: web.Request) -> web.StreamResponse:
    """Send a mail with a link to choose another password, if the address is of a user who has one."""
    _insist_on_own_page(request)
    if not request.app[MAILER].is_there or request.app[SITE].url is None:
        raise Problem(
            409, "no mail can be sent here; ask an administrator for another password"
        )  # whoever asks, so that it tells nothing
    email = fields.email(await fields.read_object(request))
    wait = request.app[RESETS].refused_for(address_of(request))
    if wait is not None:
        seconds = max(1, int(wait.total_seconds()) + 1)
        raise Problem(
            429, "Too Many Requests: wait before you ask again", headers={"Retry-After": str(seconds)}
        )
    recognition = request.app[RECOGNITION]
    found = _resettable(recognition, email, request.app[CLOCK]())
    if found is not None:
        user_id, user = found
        request.app[MAILER].later(_send(request, recognition, user_id, user))
    return web.Response(status=204)


async def reset(request: web.Request) -> web.StreamResponse:
    """Change a password with the token of a mail, or of a first login, which works once; all sessions end."""
    _insist_on_own_page(request)
    body = await fields.read_object(request)
    token, password = fields.needed(body, "token", longest=4_096), fields.needed(body, "password")
    recognition = request.app[RECOGNITION]
    user_id = await recognition.changing(token)
    user = None if user_id is None else recognition.identities.user(user_id)
    if user_id is None or user is None or user.restricted:
        raise Problem(422, _OVER)
    known = recognition.identities.password(user_id)
    if known is not None and known.must_change and await recognition.passwords.fits(password, known.hash):
        raise Problem(422, "choose another password than the one that you were given")
    revision = recognition.directory.revision(ResourceKind.PASSWORD, SYSTEM_TENANT, user_id)
    try:
        with acting_as(request, user.email):
            await recognition.directory.set_password(
                user_id, password, expected_revision=revision, by=user.email
            )
    except ResourceConflict:
        raise Problem(422, _OVER) from None
    return web.Response(status=204)


async def _send(request: web.Request, recognition: Recognition, user_id: str, user: User) -> None:
    now, url = request.app[CLOCK](), request.app[SITE].url
    with acting_as(request, user.email):
        noted = await recognition.directory.note_reset(user_id, now, by="password reset")
    if noted is None or url is None:
        return
    lifetime = recognition.security.reset_lifetime
    token, _ = await recognition.change_token(user_id, lifetime=lifetime)
    request.app[MAILER].send(user.email, *password_reset_mail(url, user.display_name, token, lifetime))


def _resettable(recognition: Recognition, email: str, now: datetime) -> tuple[str, User] | None:
    """The user of an address, if they have a password of ours, and no mail was sent a moment ago."""
    user_id = recognition.identities.user_id(email)
    user = None if user_id is None else recognition.identities.user(user_id)
    if user_id is None or user is None or user.restricted or recognition.identities.is_configured(user_id):
        return None
    known = recognition.identities.password(user_id)
    if known is None:
        return None
    if known.reset_sent is not None and now - known.reset_sent < recognition.security.reset_cooldown:
        return None
    return user_id, user


def _insist_on_own_page(request: web.Request) -> None:
    if PRINCIPAL not in request and not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not act for you")
