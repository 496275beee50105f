"""Logging in by browser: a name and a password in, a session's cookies out; renewing it, and logging out (AUTH-02).

Paths stand beside `/api/v1`, as the clients know them: `/login`, `/logout`, `/oauth/access_token`.  State: none.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.authentication import COOKIE
from flowtide.api.bodies import parse_json, read_body
from flowtide.api.keys import CLOCK, SITE
from flowtide.api.problems import Problem
from flowtide.api.recognition import (
    RECOGNITION,
    RENEWAL_COOKIE,
    SESSION_COOKIE,
    Recognition,
    address_of,
    is_same_origin,
    unauthorized,
)
from flowtide.services.identity.tables import hash_of

_RENEWAL_PATH = "/oauth/access_token"
_LONGEST_BODY = 16_384


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
    principal = await recognition.login(name.strip(), password, address_of(request))
    return await opened(request, recognition, principal.id, principal.name)


async def opened(
    request: web.Request,
    recognition: Recognition,
    user_id: str,
    name: str,
    *,
    way: str = "BASIC",
    impersonator: str | None = None,
    answer: web.Response | None = None,
) -> web.Response:
    """Open a session for a user, and answer with its cookies; every way to log in ends here."""
    session_id, renewal, session = await recognition.directory.open_session(
        user_id, lifetime=recognition.security.session_lifetime, way=way, impersonator=impersonator
    )
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
    if session is None or not hmac.compare_digest(session.refresh_hash, hash_of(secret)):
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


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session, so that its token is worth nothing any more, and take its cookies away."""
    recognition = request.app[RECOGNITION]
    if request.method != "GET" and not is_same_origin(request):
        raise Problem(403, "Forbidden: a page of another origin must not log you out")
    header = request.headers.get("Authorization", "")
    token = (
        header[7:].strip() if header.lower().startswith("bearer ") else request.cookies.get(SESSION_COOKIE)
    )
    claims = await recognition.tokens.read(token) if token else None
    if claims is not None:
        await recognition.directory.end_session(claims.session_id, by=claims.user_id)
    answer = json_answer({})
    root = request.app[SITE].context_path
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
