"""Server-sent events: values in, `text/event-stream` out, with heartbeats until the client is gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import TracebackType
from typing import Self

from aiohttp import web

from flowtide.api.keys import STREAMS

HEARTBEAT = timedelta(seconds=15)
_PACED_BYTES = 100_000
_BYTES_PER_SECOND = 4_000_000
_LONGEST_REST_SECONDS = 2.0
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # proxies must pass events on at once
}


class EventStream:
    """One open stream.  Writing to a client that is gone raises ConnectionResetError, which ends the handler."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(headers=_HEADERS)
        self._task = asyncio.current_task()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            self._request.app[STREAMS].add(self._task)
        await self._response.prepare(self._request)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._request.app[STREAMS].discard(self._task)
        if kind is None:
            await self._response.write_eof()

    @property
    def response(self) -> web.StreamResponse:
        """What the handler returns."""
        return self._response

    @property
    def is_open(self) -> bool:
        """Whether the client is still there, as far as is known."""
        transport = self._request.transport
        return transport is not None and not transport.is_closing()

    async def send(self, data: bytes, *, event_id: str, name: str) -> None:
        """Send one event; `data` is JSON, which has no line breaks."""
        await self._response.write(
            b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), name.encode(), data)
        )

    async def pace(self, data: bytes) -> None:
        """Rest after a large message, so that one that changes often does not take all the time there is."""
        if len(data) > _PACED_BYTES:
            await asyncio.sleep(min(_LONGEST_REST_SECONDS, len(data) / _BYTES_PER_SECOND))

    async def heartbeat(self) -> None:
        """Send a comment, which clients do not see, so that proxies and we notice who is gone."""
        if not self.is_open:
            raise ConnectionResetError("the client is gone")
        await self._response.write(b": alive\n\n")
