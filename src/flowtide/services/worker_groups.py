"""Which worker groups have workers, as far as this server heard (WG-08)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowtide.model.services import ServiceInstance, ServiceState, ServiceType

GROUP_PROPERTY = "workerGroup"
"""Under which the heartbeats of a worker name its group."""

_TAKES_JOBS = frozenset({ServiceState.CREATED, ServiceState.RUNNING})


class WorkerGroups:
    """Callable: whether somebody works in a group.

    `instances` are all servers that are known by id, None as long as nothing was heard of any: then every group counts
    as one with workers, so that a server that has just started gives nothing up.
    """

    def __init__(self, instances: Callable[[], Mapping[str, ServiceInstance] | None]) -> None:
        self._instances = instances

    def __call__(self, group: str) -> bool:
        instances = self._instances()
        return instances is None or any(
            instance.type is ServiceType.WORKER
            and instance.state in _TAKES_JOBS
            and instance.properties.get(GROUP_PROPERTY) == group
            for instance in instances.values()
        )
