"""The scheduler: a server that fires schedules.  Several may run; they share the partitions of the
triggers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from flowtide.model.services import ServiceState
from flowtide.processors.runtime import Runtime
from flowtide.services.liveness import Heartbeat

logger = structlog.get_logger(__name__)


class Scheduler:
    """Hosts the *triggers* processor, which `flowtide.services.runtimes.triggers_runtime` builds.

    `on_failure` is called when the processor ended by a defect: the server cannot go on.
    """

    def __init__(
        self, runtime: Runtime, heartbeat: Heartbeat, *, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._runtime = runtime
        self._heartbeat = heartbeat
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the other schedulers.  Raises LogUnavailable."""
        await self._heartbeat.start()
        self._task = asyncio.create_task(self._runtime.run(), name="triggers")
        self._task.add_done_callback(self._ended)
        await self._heartbeat.become(ServiceState.RUNNING)

    async def stop(self) -> None:
        """Finish the batch in hand and leave, so that other schedulers take over at once."""
        if self._task is None:
            return
        await self._heartbeat.become(ServiceState.TERMINATING)
        self._runtime.stop()
        with suppress(Exception):  # told to `on_failure`
            await self._task
        self._task = None
        await self._heartbeat.stop(ServiceState.TERMINATED_GRACEFULLY)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the scheduler ended by a defect", exc_info=error)
            self._on_failure(error)
