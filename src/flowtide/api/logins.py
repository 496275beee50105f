"""Logging in by browser: a name and a password in, a session's cookies out; renewing it, and logging out (AUTH-02).

Paths stand beside `/api/v1`, as the clients know them: `/login`, `/logout`, `/oauth/access_token`.  State: none.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.authentication import COOKIE
from flowtide.api.bodies import parse_json, read_body
from flowtide.api.keys import CLOCK, SITE
from flowtide.api.oidc_providers import logout_address
from flowtide.api.problems import Problem
from flowtide.api.recognition import (
    RECOGNITION,
    RENEWAL_COOKIE,
    SESSION_COOKIE,
    PasswordChangeNeeded,
    Recognition,
    address_of,
    is_same_origin,
    unauthorized,
)
from flowtide.model.identity import Session
from flowtide.services.identity.tables import hash_of

_RENEWAL_PATH = "/oauth/access_token"
_LONGEST_BODY = 16_384
_LONGEST_AGENT = 200
_RACE = timedelta(seconds=10)  # in which two pages of one browser may both renew with the same secret


def add_login_routes(router: web.UrlDispatcher, context_path: str, *, by_get: bool) -> None:
    """Add the paths; with `by_get` a link logs out, too (SSO-03)."""
    router.add_route("POST", f"{context_path}/login", login)
    router.add_route("POST", f"{context_path}/logout", logout)
    if by_get:
        router.add_route("GET", f"{context_path}/logout", logout)
    router.add_route("POST", context_path + _RENEWAL_PATH, renew)


async def login(request: web.Request) -> web.StreamResponse:
    """Check a name and a password, as JSON or as a form, and open a session."""
    recognition = request.app[RECOGNITION]
    if not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not log you in")
    body = await _body(request)
    name, password = body.get("username", body.get("identity")), body.get("password", body.get("secret"))
    if not isinstance(name, str) or not isinstance(password, str):
        raise Problem(400, "`username` and `password` are needed")
    try:
        principal, way = await recognition.login(name.strip(), password, address_of(request))
    except PasswordChangeNeeded as needed:
        token, _ = await recognition.change_token(needed.user_id)
        content = {"message": needed.message, "passwordChangeNeeded": True, "passwordChangeToken": token}
        return json_answer(content, status=403, headers={"Cache-Control": "no-store"})
    return await opened(request, recognition, principal.id, principal.name, way=way)


async def opened(
    request: web.Request,
    recognition: Recognition,
    user_id: str,
    name: str,
    *,
    way: str = "BASIC",
    impersonator: str | None = None,
    answer: web.Response | None = None,
    goes_on: bool = False,
) -> web.Response:
    """Open a session for a user, and answer with its cookies; every way to log in ends here.

    `goes_on` says that it only takes the place of another one, so that it is no login of its own.
    """
    address = address_of(request)
    session_id, renewal, session = await recognition.directory.open_session(
        user_id,
        lifetime=recognition.security.session_lifetime,
        way=way,
        impersonator=impersonator,
        address=address,
        agent=request.headers.get("User-Agent", "")[:_LONGEST_AGENT] or None,
    )
    if impersonator is not None:
        recognition.notes.impersonated(impersonator, name, user_id, address)
    elif not goes_on:
        recognition.notes.logged_in(name, user_id, address, way=way)
    return await _with_cookies(
        request, recognition, user_id, name, session_id, renewal, session.expires, answer
    )


async def renew(request: web.Request) -> web.StreamResponse:
    """Give a session another token, for the secret that came with the last one."""
    recognition = request.app[RECOGNITION]
    if not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not act for you")
    given = request.cookies.get(RENEWAL_COOKIE) or (await _body(request)).get("refresh_token")
    session_id, _, secret = str(given or "").partition(".")
    session = recognition.identities.session(session_id)
    if session is None and session_id:
        await recognition.catch_up()
        session = recognition.identities.session(session_id)
    refused = unauthorized("the session is over; log in again")
    shown = hash_of(secret)
    if session is not None and not hmac.compare_digest(session.refresh_hash, shown):
        await recognition.catch_up()  # another webserver may have renewed it a moment ago
        session = recognition.identities.session(session_id)
    if session is None:
        raise refused
    if not hmac.compare_digest(session.refresh_hash, shown):
        await _end_a_stolen_one(request, recognition, session_id, session, shown)
        raise refused
    user = recognition.identities.user(session.user_id)
    if user is None or session.expires <= request.app[CLOCK]():
        raise refused
    renewed = await recognition.directory.renew_session(
        session_id, session, lifetime=recognition.security.session_lifetime
    )
    if renewed is None:
        raise refused
    renewal, session = renewed
    return await _with_cookies(
        request, recognition, session.user_id, user.email, session_id, renewal, session.expires, None
    )


async def _end_a_stolen_one(
    request: web.Request, recognition: Recognition, session_id: str, session: Session, shown: str
) -> None:
    """End a session one of whose former secrets was shown: either the thief or the owner came second."""
    used = [hmac.compare_digest(each, shown) for each in session.former]
    if not any(used):
        return
    renewed = session.renewed
    if used[-1] and renewed is not None and request.app[CLOCK]() - renewed < _RACE:
        return
    user = recognition.identities.user(session.user_id)
    name = session.user_id if user is None else user.email
    await recognition.directory.end_session(session_id, by="reuse of a renewal secret")
    recognition.notes.failed(
        name,
        session.user_id,
        address_of(request),
        reason="a renewal secret was used twice; the session ended",
    )


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session, so that its token is worth nothing any more, and take its cookies away.

    Who logged in by a provider that can be logged out of is told its address; a link goes there, or to the interface.
    """
    recognition = request.app[RECOGNITION]
    if request.method != "GET" and not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not log you out")
    header = request.headers.get("Authorization", "")
    token = (
        header[7:].strip() if header.lower().startswith("bearer ") else request.cookies.get(SESSION_COOKIE)
    )
    claims = await recognition.tokens.read(token) if token else None
    onward: str | None = None
    if claims is not None:
        session = recognition.identities.session(claims.session_id)
        await recognition.directory.end_session(claims.session_id, by=claims.user_id)
        if session is not None:
            user = recognition.identities.user(claims.user_id)
            name = session.impersonator or (claims.user_id if user is None else user.email)
            recognition.notes.logged_out(name, claims.user_id, address_of(request))
            onward = await logout_address(request, session.way)
    root = request.app[SITE].context_path
    if request.method == "GET":
        answer = web.Response(status=302, headers={"Location": onward or f"{root}/ui/"})
    else:
        answer = json_answer({} if onward is None else {"redirect": onward})
    for name, path in (
        (SESSION_COOKIE, "/"),
        (COOKIE, "/"),
        (RENEWAL_COOKIE, root + _RENEWAL_PATH),
    ):
        answer.del_cookie(name, path=path)
    return answer


async def _with_cookies(
    request: web.Request,
    recognition: Recognition,
    user_id: str,
    name: str,
    session_id: str,
    renewal: str,
    until: datetime,
    answer: web.Response | None,
) -> web.Response:
    token, expires = await recognition.tokens.sign(user_id, session_id, until)
    now = request.app[CLOCK]()
    seconds, longest = int((expires - now).total_seconds()), int((until - now).total_seconds())
    if answer is None:
        answer = json_answer(
            {"username": name, "access_token": token, "token_type": "Bearer", "expires_in": seconds},
            headers={"Cache-Control": "no-store"},
        )
    site = request.app[SITE]
    forwarded = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
    secure = request.secure or forwarded == "https" or (site.url or "").startswith("https:")
    answer.set_cookie(
        SESSION_COOKIE, token, path="/", max_age=seconds, httponly=True, secure=secure, samesite="Lax"
    )
    answer.set_cookie(
        RENEWAL_COOKIE,
        f"{session_id}.{renewal}",
        path=site.context_path + _RENEWAL_PATH,
        max_age=longest,
        httponly=True,
        secure=secure,
        samesite="Strict",
    )
    return answer


async def _body(request: web.Request) -> dict[str, Any]:
    content = await read_body(request, _LONGEST_BODY)
    if request.content_type == "application/x-www-form-urlencoded":
        try:
            return {
                name: values[-1] for name, values in parse_qs(content.decode(), max_num_fields=20).items()
            }
        except ValueError:
            raise Problem(400, "the form cannot be read") from None
    value = parse_json(content) if content else {}
    if not isinstance(value, dict):
        raise Problem(400, "the body must be a JSON object or a form")
    return value
