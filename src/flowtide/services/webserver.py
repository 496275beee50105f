"""The webserver: an application in, a listening socket out; ends gracefully.

It owns nothing else: log, index, storage, catalog and client are started before it and closed after it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from flowtide.services.stalled import StalledConnections
from flowtide.services.unreadable import Runner

logger = structlog.get_logger(__name__)

_BACKLOG = 1_024
STALLED_AFTER = timedelta(minutes=1)  # the default, and the most that is configured
_FORWARDED_LENGTH = 100
_WEBHOOK_KEY = re.compile(r"(/executions/webhook/[^/]+/[^/]+/)[^/]+")


class Webserver:
    """Serves one application.

    `port` 0 takes a free one, see `port` after the start.  `grace` is how long requests may go on after `stop`;
    streams to followers are ended at once.  Connections whose clients stall are closed, see services/stalled.py.
    `access_log` writes a line per request, but not for paths that one of
    `access_log_exclusions` matches.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        host: str = "0.0.0.0",  # noqa: S104 - a server is reached from outside
        port: int = 8080,
        idle_timeout: timedelta = timedelta(minutes=60),
        grace: timedelta = timedelta(seconds=10),
        head_timeout: timedelta = STALLED_AFTER,
        write_timeout: timedelta = STALLED_AFTER,
        access_log: bool = False,
        access_log_exclusions: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._idle_timeout = idle_timeout
        self._grace = grace
        self._access_log = access_log
        self._exclusions = tuple(re.compile(each) for each in access_log_exclusions)
        self._runner: web.AppRunner | None = None
        self._head_timeout = head_timeout
        self._write_timeout = write_timeout
        self._looking: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; the configured one before the start."""
        if self._runner is not None:
            for address in self._runner.addresses:
                number: int = address[1]
                return number
        return self._port

    async def start(self) -> None:
        """Begin to listen.  Raises OSError when the address cannot be had; a second call does nothing."""
        if self._runner is not None:
            return
        chosen = type("ChosenAccessLogger", (AccessLogger,), {"exclusions": self._exclusions})
        runner = Runner(
            self._app,
            handle_signals=False,
            handler_cancellation=True,  # a follower that is gone releases everything at once
            keepalive_timeout=self._idle_timeout.total_seconds(),
            shutdown_timeout=self._grace.total_seconds(),
            access_log=logging.getLogger("flowtide.access") if self._access_log else None,
            access_log_class=chosen,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        stalled = StalledConnections(
            lambda: () if runner.server is None else runner.server.connections,
            head_timeout=self._head_timeout,
            write_timeout=self._write_timeout,
        )
        self._looking = asyncio.create_task(stalled.run(), name="webserver: stalled connections")
        logger.info("the API is served", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Stop listening, let requests end within the grace period, then release what the application holds.

        A second call does nothing.
        """
        runner, self._runner = self._runner, None
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        if runner is not None:
            await asyncio.shield(runner.cleanup())


class AccessLogger(AbstractAccessLogger):
    """One line per request (KEY-65); the caller's address is what a proxy in front of us says it is (KEY-60)."""

    exclusions: ClassVar[tuple[re.Pattern[str], ...]] = ()

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line."""
        path = request.rel_url.raw_path
        if any(each.search(path) for each in self.exclusions):
            return
        forwarded = request.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
        logger.info(
            "request",
            method=request.method,
            path=without_secrets(path),
            status=response.status,
            bytes=response.body_length,
            ms=round(time * 1000, 1),
            remote=forwarded[:_FORWARDED_LENGTH] or request.remote,
        )


def without_secrets(path: str) -> str:
    """A request's path as logs may show it: the key of a webhook, which opens it to whoever knows it, is masked."""
    return _WEBHOOK_KEY.sub(r"\1***", path)
