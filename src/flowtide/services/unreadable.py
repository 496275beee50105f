"""Requests that cannot be read: what the HTTP library says of a head in, our error envelope out.  State: none.

No handler and no middleware sees such a request; the library would answer with text, and log each as an error.
"""

from __future__ import annotations

import json
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

logger = structlog.get_logger(__name__)


class Protocol(RequestHandler):
    """aiohttp's, with another answer to what cannot be read."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer; the connection is closed after it."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        chosen, reason = _meaning(exc, status)
        logger.debug("a request cannot be read", remote=request.remote, status=chosen, reason=reason)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        envelope = {
            "message": reason,
            "_links": {"self": {"href": "/", "templated": False}},
            "_embedded": {"errors": [{"message": reason}]},
        }
        response = web.Response(status=chosen, text=json.dumps(envelope), content_type="application/json")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.force_close()
        return response


class Server(web.Server):
    """Makes such protocols."""

    def __call__(self) -> RequestHandler:
        """One for a new connection."""
        return Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves an application with them."""

    async def _make_server(self) -> Any:
        made = await super()._make_server()
        made.__class__ = Server  # the application makes the library's own, and takes no other
        return made


def _meaning(error: HttpProcessingError, status: int) -> tuple[int, str]:
    if isinstance(error, LineTooLong):
        # The library tells the first line from the others by how it shows them only.
        if "bytearray(" in error.message:
            return 414, "the path of the request is too long"
        return 431, "a header of the request is too long"
    if error.message.startswith("Too many headers"):
        return 431, "the request has too many headers"
    return (
        status,
        f"this is no request of HTTP: {error.message.splitlines()[0][:100] if error.message else ''}",
    )
