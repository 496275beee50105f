"""API tokens of whoever owns them: requests in, tokens listed, made (shown once) and deleted out (TOK-01, TOK-02)."""

from __future__ import annotations

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.iam import fields
from flowtide.api.iam.documents import token_document
from flowtide.api.keys import CLOCK
from flowtide.api.parameters import user
from flowtide.api.problems import Problem, not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.model.access import SubjectType

_MOST_TOKENS = 1_000


def listing(request: web.Request, owner_id: str) -> web.Response:
    """The tokens of an owner, without the tokens."""
    now = request.app[CLOCK]()
    found = request.app[RECOGNITION].identities.tokens_of(owner_id)
    results = [token_document(token_id, token, now) for token_id, token in found]
    return json_answer({"total": len(results), "results": results})


async def creation(request: web.Request, owner_type: SubjectType, owner_id: str) -> web.Response:
    """A new token; this answer is the only place where it stands."""
    body = await fields.read_object(request)
    recognition = request.app[RECOGNITION]
    name = fields.name_of(body)
    if len(recognition.identities.tokens_of(owner_id)) >= _MOST_TOKENS:
        raise Problem(422, f"there are {_MOST_TOKENS} tokens already; delete some")
    max_age = fields.duration(body, "maxAge")
    extended = fields.flag(body, "extended")
    if extended and max_age is None:
        raise Problem(422, "`extended` needs a `maxAge` by which each use extends")
    token_id, full, _ = await recognition.directory.create_token(
        owner_type,
        owner_id,
        name,
        description=fields.text(body, "description"),
        max_age=max_age,
        extended=extended,
        by=user(request),
    )
    return json_answer(
        {"id": token_id, "name": name, "fullToken": full}, headers={"Cache-Control": "no-store"}
    )


async def deletion(request: web.Request, owner_id: str) -> web.Response:
    """Delete a token of this owner; somebody else's is not there."""
    token_id = request.match_info["tokenId"]
    recognition = request.app[RECOGNITION]
    token = recognition.identities.token(token_id)
    if token is None or token.owner_id != owner_id:
        raise not_found("the token")
    await recognition.directory.delete_token(token_id, by=user(request))
    return web.Response(status=204)
