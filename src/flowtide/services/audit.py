"""Writes audit entries of what is not saved: verbs of executions and triggers, logins and their failures (AUD-01).

In come actions; out go records of the topic `audit_logs`, in batches: an entry may be some milliseconds behind its
action, and what the executions' own events say of who asked is never lost.  What is saved has its entry from the
processor that saves it.  State: what waits to be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog

from flowtide.errors import LogUnavailable, MessageTooLarge
from flowtide.log.port import Log, Message
from flowtide.model.audit import AuditAction, AuditEntry, masked
from flowtide.model.audit_note import Actor
from flowtide.model.records import encode

_MOST_WAITING = 10_000
_PORTION = 500
_BACK_OFF_SECONDS = 0.5

logger = structlog.get_logger(__name__)


class Audit:
    """The audit log of one process.  `record` returns at once; `close` writes what waits."""

    def __init__(self, log: Log, *, clock: Callable[[], datetime], ids: Callable[[], str]) -> None:
        self._log = log
        self._clock = clock
        self._ids = ids
        self._waiting: list[Message] = []
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def record(
        self,
        *,
        tenant: str,
        action: AuditAction,
        resource: str,
        actor: Actor,
        details: Mapping[str, Any] | None = None,
        before: Any = None,
        after: Any = None,
    ) -> None:
        """Note that somebody did something.

        `tenant` is `_system` for what belongs to none; `resource` a ResourceType such as USER or EXECUTION; `details`
        what the entry is found by; `before` and `after` are values of JSON, whose secrets are masked here.  Never
        raises: when the log is away for very long, the oldest entries that wait are lost, with a line in the log.
        """
        entry = AuditEntry(
            id=self._ids(),
            tenant_id=tenant,
            date=self._clock(),
            action=action,
            resource=resource,
            actor=actor,
            details={str(key): str(value) for key, value in (details or {}).items() if value is not None},
            before=masked(before),
            after=masked(after),
        )
        self._waiting.append(Message(topic="audit_logs", key=f"{tenant}/{entry.id}", value=encode(entry)))
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[0]
            logger.error("an audit entry was lost, because the log cannot be written")
        self._there.set()
        if self._task is None:
            self._task = asyncio.create_task(self._write(), name="audit")

    async def written(self) -> None:
        """Return when all that was recorded before this call is on the log, or cannot be written now."""
        if self._waiting or self._writing.locked():
            with suppress(LogUnavailable):
                await self._flush()

    async def close(self) -> None:
        """Write what waits, once, and stop."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with suppress(LogUnavailable):
            await self._flush()

    async def _write(self) -> None:
        while True:
            await self._there.wait()
            self._there.clear()
            try:
                await self._flush()
            except LogUnavailable:
                await asyncio.sleep(_BACK_OFF_SECONDS)
                self._there.set()

    async def _flush(self) -> None:
        async with self._writing:
            while self._waiting:
                portion, self._waiting = self._waiting[:_PORTION], self._waiting[_PORTION:]
                try:
                    await self._log.append(portion)
                except MessageTooLarge:
                    logger.error("audit entries are too large for the log", count=len(portion))
                except (LogUnavailable, asyncio.CancelledError):
                    self._waiting[:0] = portion
                    raise
