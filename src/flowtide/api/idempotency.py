"""The header `Idempotency-Key`: a request that changes something is carried out once, however often it is sent.

The same key, caller and request get the same answer, with `Idempotency-Replayed`; another request with the key is
refused (decision 0056).  State: none; see `services.idempotency`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from flowtide.api import webhooks
from flowtide.api.access import PRINCIPAL
from flowtide.api.bodies import read_body
from flowtide.api.index_progress import IDEMPOTENCY_KEY as KEY
from flowtide.api.keys import IDEMPOTENCY, SITE, TENANT
from flowtide.api.problems import STATUS_OF, Problem
from flowtide.model.idempotency import KeptAnswer
from flowtide.services.idempotency import Begun, OtherRequest, StillRunning
from flowtide.services.repeats import REPEAT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["KEY", "REPLAYED", "idempotent"]

REPLAYED: Final = "Idempotency-Replayed"

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_KEY: Final = 255
_KEPT_HEADERS: Final = ("Content-Disposition", "Location", "Set-Cookie")


@web.middleware
async def idempotent(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Carry a request with a key out once."""
    key = request.headers.get(KEY)
    if key is None or TENANT not in request:
        return await handler(request)
    if request.method in _SAFE and request.match_info.handler is not webhooks.call:
        return await handler(request)
    if not 0 < len(key) <= _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Problem(400, f"`{KEY}` has 1 to {_LONGEST_KEY} printable ASCII characters")
    requests = request.app[IDEMPOTENCY]
    body = await read_body(request)
    _give_back(request, body)
    principal = request.get(PRINCIPAL)
    caller = f"*{request.rel_url.raw_path}" if principal is None else principal.id
    try:
        found = await requests.begin(
            request[TENANT], caller, key, _fingerprint(request, body), request.app[SITE].answer_timeout
        )
    except OtherRequest as error:
        raise Problem(422, error.message) from None
    except StillRunning as error:
        raise Problem(409, error.message, headers={"Retry-After": "1"}) from None
    if isinstance(found, KeptAnswer):
        return web.Response(
            status=found.status,
            body=found.body,
            headers={**found.headers, "Content-Type": found.content_type, REPLAYED: "true"},
        )
    return await _carried_out(request, handler, found)


async def _carried_out(request: web.Request, handler: Handler, begun: Begun) -> web.StreamResponse:
    requests = request.app[IDEMPOTENCY]
    context = REPEAT.set(begun.repeat)
    try:
        answer = await handler(request)
    except BaseException as error:
        REPEAT.reset(context)
        if _status_of(error) < 500:
            await requests.failed(begun)
        else:
            requests.leave(begun)
        raise
    REPEAT.reset(context)
    body = answer.body if isinstance(answer, web.Response) else None
    if answer.prepared or not isinstance(body, bytes | bytearray | None):
        requests.leave(begun)
    elif answer.status >= 400:
        await requests.failed(begun)
    else:
        headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        kept = KeptAnswer(
            status=answer.status,
            content_type=answer.headers.get("Content-Type", "application/octet-stream"),
            body=bytes(body or b""),
            headers=headers,
        )
        await requests.done(begun, kept)
    return answer


def _status_of(error: BaseException) -> int:
    """What the caller is answered; a refusal (below 500) has changed nothing that counts."""
    if isinstance(error, Problem | web.HTTPException):
        return error.status
    return next((status for kind, status in STATUS_OF.items() if isinstance(error, kind)), 500)


def _fingerprint(request: web.Request, body: bytes) -> str:
    kind = request.content_type
    boundary = request.headers.get("Content-Type", "").partition("boundary=")[2].partition(";")[0].strip('" ')
    if kind == "multipart/form-data" and boundary:
        body = body.replace(boundary.encode(), b"")  # senders make a new one each time
    digest = hashlib.sha256()
    for part in (request.method, request.rel_url.raw_path_qs, kind):
        digest.update(part.encode(errors="surrogateescape") + b"\0")
    digest.update(body)
    return digest.hexdigest()


def _give_back(request: web.Request, body: bytes) -> None:
    """Let the handler read the body as if it had just come."""
    if not body:
        return
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    # aiohttp has no other way to read a body twice as a stream.
    request._payload = stream  # noqa: SLF001 - as above
    request._cache["content"] = stream  # noqa: SLF001 - as above
