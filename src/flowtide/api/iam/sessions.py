"""Logins by browser of whoever owns them: requests in, sessions listed and ended out; no secret stands in one."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.answers import json_answer, without_nulls
from flowtide.api.keys import CLOCK
from flowtide.api.parameters import user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.identity import Session
from flowtide.model.records import format_date


def listing(request: web.Request, user_id: str, *, own: str | None = None) -> web.Response:
    """The sessions of a user that are not over, the latest first."""
    now = request.app[CLOCK]()
    found = request.app[RECOGNITION].identities.sessions_of(user_id)
    results = [
        _document(session_id, session, own)
        for session_id, session in reversed(found)
        if session.expires > now
    ]
    return json_answer({"total": len(results), "results": results})


async def ending(request: web.Request, user_id: str) -> web.Response:
    """End a session of this user; somebody else's is not there."""
    session_id = request.match_info["sessionId"]
    recognition = request.app[RECOGNITION]
    session = recognition.identities.session(session_id)
    if session is None:
        await recognition.catch_up()
        session = recognition.identities.session(session_id)
    if session is None or session.user_id != user_id:
        raise not_found("the session")
    caller = principal(request)
    if caller.impersonator is not None and session.impersonator != caller.impersonator:
        raise Problem(403, "Forbidden: acting as somebody else ends none of their sessions")
    await recognition.directory.end_session(session_id, by=user(request))
    return web.Response(status=204)


def _document(session_id: str, session: Session, own: str | None) -> dict[str, Any]:
    return without_nulls(
        {
            "id": session_id,
            "type": session.way,
            "createdAt": format_date(session.created),
            "renewedAt": None if session.renewed is None else format_date(session.renewed),
            "expiresAt": format_date(session.expires),
            "ipAddress": session.address,
            "userAgent": session.agent,
            "impersonatedBy": session.impersonator,
            "current": session_id == own,
        }
    )
