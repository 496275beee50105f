"""Connections that only cost: the server's connections in, those that stall are closed, with a line in the log.

A client that has not sent the head of its first request in time, and one that does not take what is written to it:
requests at a snail's pace, followers that never read, half-closed connections.  State: what was last seen of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

logger = structlog.get_logger(__name__)

_LOOKS = 6  # within a time limit; a client that takes something between any two of them is not stalled


@dataclass(slots=True)
class _Seen:
    since: float  # when it began to wait
    waiting: int  # bytes that its client has not taken; -1: the head of its first request is awaited


class StalledConnections:
    """Looks at the connections of a server again and again.

    `connections` gives aiohttp's protocols.  A client may take `head_timeout` from the opening of the connection to
    the end of its first request's head; later ones are the server's keep-alive's business.  It may leave what is
    written to it for `write_timeout`.
    """

    def __init__(
        self,
        connections: Callable[[], Iterable[Any]],
        *,
        head_timeout: timedelta,
        write_timeout: timedelta,
    ) -> None:
        self._connections = connections
        self._head_seconds = head_timeout.total_seconds()
        self._write_seconds = write_timeout.total_seconds()
        self._seen: dict[Any, _Seen] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        pause = min(self._head_seconds, self._write_seconds) / _LOOKS
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause)
            self.look(loop.time())

    def look(self, now: float) -> None:
        """Close what has stalled for too long; `now` is in seconds of a clock that never goes back."""
        seen: dict[Any, _Seen] = {}
        for connection in self._connections():
            transport = connection.transport
            if transport is None or transport.is_closing():
                continue
            waiting = transport.get_write_buffer_size()
            # aiohttp counts the requests of a connection as their heads are complete.
            if not waiting and getattr(connection, "_request_count", 1) == 0:
                waiting = -1
            if not waiting:
                continue
            before = self._seen.get(connection)
            found = before if before is not None and before.waiting == waiting else _Seen(now, waiting)
            seen[connection] = found
            limit, reason = (
                (self._head_seconds, "its client sends no request")
                if waiting < 0
                else (self._write_seconds, "its client does not take what it asked for")
            )
            if now - found.since >= limit:
                del seen[connection]
                peer = transport.get_extra_info("peername")
                logger.warning(
                    "a connection was closed",
                    reason=reason,
                    remote=peer[0] if peer else None,
                    bytes=max(waiting, 0),
                )
                transport.abort()
        self._seen = seen
