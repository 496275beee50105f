"""Followers of executions by server-sent events: many connections with little memory, and when each saw which state."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import datetime


class _Follower(asyncio.Protocol):
    """One stream.  `seen` is the delay in seconds with which each state was first seen."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._chunks = b""  # what came and is not decoded yet
        self._is_head = True
        self._rest = b""  # of a line
        self.seen: dict[str, float] = {}
        self.events = 0
        self.lost = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._chunks += data
        *lines, self._rest = (self._rest + self._content()).split(b"\n")
        for line in lines:
            if not line.startswith(b"data: "):
                continue
            self.events += 1
            state = json.loads(line[6:] or b"{}").get("state")  # the first event has no data
            if state is not None and state["current"] not in self.seen:
                date = datetime.fromisoformat(state["histories"][-1]["date"])
                self.seen[state["current"]] = now - date.timestamp()

    def _content(self) -> bytes:
        """What the chunks say that came whole."""
        if self._is_head:
            _, end, rest = self._chunks.partition(b"\r\n\r\n")
            if not end:
                return b""
            self._is_head, self._chunks = False, rest
        found = b""
        while True:
            size, end, rest = self._chunks.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                return found
            found += rest[: int(size, 16)]
            self._chunks = rest[int(size, 16) + 2 :]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Followers:
    """Streams of one server."""

    def __init__(self, host: str, port: int, authorization: str) -> None:
        self._host, self._port, self._authorization = host, port, authorization
        self._open: list[_Follower] = []

    async def open(self, executions: Sequence[str], *, at_once: int = 50) -> None:
        """Open a stream for each execution and wait until each has shown something."""
        loop = asyncio.get_running_loop()
        for first in range(0, len(executions), at_once):
            for execution in executions[first : first + at_once]:
                request = (
                    f"GET /api/v1/main/executions/{execution}/follow HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
                    f"Authorization: {self._authorization}\r\nAccept: text/event-stream\r\n\r\n"
                ).encode()
                _, follower = await loop.create_connection(
                    lambda request=request: _Follower(request),  # type: ignore[misc]  # a default binds the loop's variable
                    self._host,
                    self._port,
                )
                self._open.append(follower)
            await self._until(lambda: all(each.events >= 2 for each in self._open))

    async def first_delays(self, state: str, count: int) -> list[float]:
        """The delays with which a state was seen, once `count` followers saw it."""
        await self._until(lambda: sum(state in each.seen for each in self._open) >= count)
        return [each.seen[state] for each in self._open if state in each.seen]

    async def _until(self, is_so: object) -> None:
        assert callable(is_so)
        async with asyncio.timeout(60):
            while not is_so():
                if any(each.lost and not each.seen for each in self._open):
                    raise RuntimeError("a follower was refused")
                await asyncio.sleep(0.01)

    def close(self) -> None:
        """Leave."""
        for each in self._open:
            if each.transport is not None:
                each.transport.abort()
        self._open.clear()
