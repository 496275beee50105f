"""Which worker groups have workers, as far as this server heard (WG-08), and which tenants may use them (WG-01)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.instance import WORKER_GROUP_DECODER
from flowtide.model.resources import ResourceKind
from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.services.catalog import Catalog

GROUP_PROPERTY = "workerGroup"
"""Under which the heartbeats of a worker name its group."""

_TAKES_JOBS = frozenset({ServiceState.CREATED, ServiceState.RUNNING, ServiceState.MAINTENANCE})
"""In maintenance too: its jobs wait, and nothing is to fail for that."""


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


class AllowedTenants:
    """Callable: whether a tenant may use a group; one that nobody saved is for all of them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __call__(self, tenant: str, group: str) -> bool:
        saved = self._catalog.get(ResourceKind.WORKER_GROUP, SYSTEM_TENANT, group)
        if saved is None or saved.deleted:
            return True
        allowed = WORKER_GROUP_DECODER.decode(saved.body).allowed_tenants
        return allowed is None or tenant in allowed
