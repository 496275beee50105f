"""Which services a command needs to save something: settings in, the ones to start in this process out.

What is saved is decided by an executor. One that runs already does it, and is not disturbed by another one that joins
for a moment and takes partitions from it; without one, the command brings its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from flowtide.log.topics import load_topics
from flowtide.model.records import UNREADABLE
from flowtide.model.services import SERVICE_DECODER, ServiceInstance, ServiceState, ServiceType
from flowtide.services.ports import open_log
from flowtide.settings import QueueType, Settings

_POLL = timedelta(milliseconds=250)
_MAXIMUM = 1_000
_AT_WORK = frozenset({ServiceState.RUNNING, ServiceState.MAINTENANCE})


async def saving_services(settings: Settings) -> tuple[ServiceType, ...]:
    """None when an executor runs elsewhere, else an executor.  Raises LogUnavailable."""
    if settings.queue.type is QueueType.EMBEDDED:
        return (ServiceType.EXECUTOR,)  # its log belongs to one process
    log = open_log(settings)
    await log.start()
    try:
        await log.ensure_topics(list(load_topics().values()))
        reader = await log.reader("services", "beginning")
        known: dict[str, ServiceInstance] = {}
        while not await reader.at_end():
            for record in await reader.poll(maximum=_MAXIMUM, timeout=_POLL):
                try:
                    instance = SERVICE_DECODER.decode(record.value or b"")
                except UNREADABLE:
                    continue  # a tombstone, or of a version to come
                known[instance.id] = instance
        await reader.close()
    finally:
        await log.close()
    since = datetime.now(UTC) - settings.server.liveness.timeout
    return () if executor_runs(known.values(), since) else (ServiceType.EXECUTOR,)


def executor_runs(instances: Iterable[ServiceInstance], since: datetime) -> bool:
    """Whether an executor is among the servers that said since then that they are at work."""
    return any(
        each.type is ServiceType.EXECUTOR and each.state in _AT_WORK and each.heartbeat >= since
        for each in instances
    )
