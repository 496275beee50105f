"""The scheduler: a server that fires schedules and has workers evaluate triggers.  Several may run; they share the
partitions of the triggers.  When a worker dies, each sees to the triggers of its own partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from flowtide.model.services import ServiceState
from flowtide.processors.runtime import Partition, Runtime
from flowtide.processors.triggers import TriggersPartition
from flowtide.services.liveness import Heartbeat, Liveness

logger = structlog.get_logger(__name__)


class Scheduler:
    """Hosts the *triggers* processor, which `flowtide.services.runtimes.triggers_runtime` builds.

    `on_failure` is called when the processor ended by a defect: the server cannot go on.  `liveness` tells of dead
    workers by `worker_died`; without it nobody takes over what they were evaluating.
    """

    def __init__(
        self,
        runtime: Runtime,
        heartbeat: Heartbeat,
        *,
        on_failure: Callable[[BaseException], None],
        liveness: Liveness | None = None,
    ) -> None:
        self._runtime = runtime
        self._heartbeat = heartbeat
        self._liveness = liveness
        self._dead: set[str] = set()
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the other schedulers.  Raises LogUnavailable."""
        await self._heartbeat.start()
        self._task = asyncio.create_task(self._runtime.run(), name="triggers")
        self._task.add_done_callback(self._ended)
        if self._liveness is not None:
            await self._liveness.start()
        await self._heartbeat.become(ServiceState.RUNNING)

    async def stop(self) -> None:
        """Finish the batch in hand and leave, so that other schedulers take over at once."""
        if self._task is None:
            return
        await self._heartbeat.become(ServiceState.TERMINATING)
        if self._liveness is not None:
            await self._liveness.stop()
        self._runtime.stop()
        with suppress(Exception):  # told to `on_failure`
            await self._task
        self._task = None
        await self._heartbeat.stop(ServiceState.TERMINATED_GRACEFULLY)

    def worker_died(self, worker_id: str, resubmit: bool) -> None:
        """Hand out again what a dead worker was evaluating or listening to (LIFE-9).

        Also with the strategy NEVER, which is about tasks: a trigger without a worker would never fire again.
        """
        self._dead.add(worker_id)
        self._tell({worker_id})

    def took_over(self) -> None:
        """Partitions came: their triggers may be at workers that died before."""
        self._tell(set(self._dead))

    def _tell(self, worker_ids: set[str]) -> None:
        def tell(partition: Partition, now: datetime) -> None:
            assert isinstance(partition, TriggersPartition)
            partition.lose_workers(worker_ids, now)
            partition.show_evaluating()

        self._runtime.request(tell)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the scheduler ended by a defect", exc_info=error)
            self._on_failure(error)
