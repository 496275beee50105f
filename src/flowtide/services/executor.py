"""The executor: hosts the processors that decide, *executions*, *flows* and *resources*, and watches over the workers.

Several executors share the partitions.  When a worker dies, each executor sees to the executions of its own
partitions, also of those that it takes over later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from flowtide.model.services import ServiceState
from flowtide.processors.executions import ExecutionsPartition
from flowtide.processors.runtime import Partition, Runtime
from flowtide.services.liveness import Heartbeat, Liveness

logger = structlog.get_logger(__name__)


class Executor:
    """Runs the deciding processors until it is stopped.

    `executions` is the runtime of the *executions* processor, `others` are those of *flows* and *resources*.
    `on_failure` is called when a processor ended by a defect: the server cannot go on.
    """

    def __init__(
        self,
        executions: Runtime,
        others: Sequence[Runtime],
        *,
        heartbeat: Heartbeat,
        liveness: Liveness,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._executions = executions
        self._runtimes = (executions, *others)
        self._heartbeat = heartbeat
        self._liveness = liveness
        self._on_failure = on_failure
        self._dead: set[str] = set()  # workers whose runs are handed out again
        self._unreplaced: set[str] = set()  # dead workers whose runs stay as they are
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join the other executors.  Raises LogUnavailable."""
        await self._heartbeat.start()
        self._tasks = [asyncio.create_task(runtime.run(), name="processor") for runtime in self._runtimes]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        await self._liveness.start()
        await self._heartbeat.become(ServiceState.RUNNING)

    async def stop(self) -> None:
        """Finish the batches in hand and leave, so that others take over at once."""
        if not self._tasks:
            return
        await self._heartbeat.become(ServiceState.TERMINATING)
        await self._liveness.stop()
        for runtime in self._runtimes:
            runtime.stop()
        for task in self._tasks:
            with suppress(Exception):  # told to `on_failure`
                await task
        self._tasks = []
        await self._heartbeat.stop(ServiceState.TERMINATED_GRACEFULLY)

    def worker_died(self, worker_id: str, resubmit: bool) -> None:
        """Take the runs of a dead worker from it; with the strategy NEVER they stay as they are (LIFE-8), unless
        somebody kills them.
        """
        (self._dead if resubmit else self._unreplaced).add(worker_id)
        self._tell({worker_id}, resubmit=resubmit)

    def took_over(self) -> None:
        """Partitions came: their executions may have runs at workers that died before."""
        if self._dead:
            self._tell(set(self._dead), resubmit=True)
        if self._unreplaced:
            self._tell(set(self._unreplaced), resubmit=False)

    def _tell(self, worker_ids: set[str], *, resubmit: bool) -> None:
        def tell(partition: Partition, now: datetime) -> None:
            assert isinstance(partition, ExecutionsPartition)
            if resubmit:
                partition.lose_workers(worker_ids, now)
            else:
                partition.leave_to_workers(worker_ids, now)

        self._executions.request(tell)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a processor ended by a defect", exc_info=error)
            self._on_failure(error)
