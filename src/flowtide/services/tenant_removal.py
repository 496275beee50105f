"""Removes tenants that were closed, with everything of theirs, in one server of an installation (TEN-08).

In come closed tenants of the catalog; out go deletions on the log, in the index and in the storages, in portions.  No
state of its own: whatever was done is not there any more, so after a crash another server goes on where one ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from flowtide.errors import FlowtideError, ResourceConflict
from flowtide.index.kinds import KINDS, SYSTEM_TENANT
from flowtide.index.port import Index
from flowtide.index.queries import Match, Operation
from flowtide.log.keys import ExecutionKey, ResourceKey
from flowtide.log.port import Log, Message
from flowtide.model.commands import KillExecution
from flowtide.model.identity import TENANT_DECODER, Tenant
from flowtide.model.instance import KILL_SWITCH_DECODER, WORKER_GROUP_DECODER
from flowtide.model.platform import ExecutionSelection
from flowtide.model.records import encode
from flowtide.model.resources import Resource, ResourceKind
from flowtide.model.states import TERMINAL
from flowtide.services.catalog import Catalog
from flowtide.services.dedicated import Dedicated
from flowtide.services.platform import Platforms
from flowtide.services.saving import ResourceClient
from flowtide.services.tenant_settings import kept_setting
from flowtide.storage import RoutedStorage, Storage

_PORTION: Final = 50
_BETWEEN: Final = timedelta(seconds=2)
_AFTER_FAILURE: Final = timedelta(seconds=30)
_PATIENCE: Final = timedelta(seconds=0.5)
_MOST_ROUNDS: Final = 120
_STARTING: Final = (ResourceKind.FLOW, ResourceKind.TEMPLATE)
"""What goes first, so that nothing begins any more."""
_LAST: Final = (ResourceKind.NAMESPACE,)
"""What goes last: namespaces tell where files are."""
_KEPT_WITH_HISTORY: Final = frozenset(
    {ResourceKind.KEY_VALUE, ResourceKind.NAMESPACE_FILE, ResourceKind.FLOW_REVISION}
)
_OF_HISTORY: Final = tuple(name for name in KINDS if name != "audit_logs")
logger = structlog.get_logger(__name__)


class TenantRemoval:
    """The job.  `is_leader` says before each tenant whether this server is the one that does it."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        client: ResourceClient,
        dedicated: Dedicated,
        platforms: Platforms,
        storage: Storage,
        index: Callable[[], Awaitable[Index]],
        log: Log,
        clock: Callable[[], datetime],
        is_leader: Callable[[], bool],
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
    ) -> None:
        self._catalog = catalog
        self._client = client
        self._dedicated = dedicated
        self._platforms = platforms
        self._storage = storage
        self._index = index
        self._log = log
        self._clock = clock
        self._is_leader = is_leader
        self._sleep = sleep or _sleep
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Remove until cancelled; what fails, or waits for another server to lead, is tried again soon."""
        end = self._catalog.on_change(self._on_change)
        try:
            while True:
                self._closed.clear()
                pause = _BETWEEN
                for tenant, record in self._to_remove():
                    if not self._is_leader():
                        break
                    try:
                        await self.remove(tenant, record)
                    except FlowtideError as error:
                        logger.warning(
                            "a tenant could not be removed yet", tenant=tenant, reason=error.message
                        )
                        pause = _AFTER_FAILURE
                    except Exception:  # one tenant must not keep the others from being removed
                        logger.exception("a tenant could not be removed yet", tenant=tenant)
                        pause = _AFTER_FAILURE
                left = pause.total_seconds() if self._to_remove() else None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), left)
        finally:
            end()

    async def remove(self, tenant: str, record: Tenant) -> bool:
        """Remove a closed tenant; False when something of it is still there, to be removed later.

        Raises FlowtideError when the log, the index or a storage is away.
        """
        await self._delete(tenant, _STARTING)
        await self._leave_instance(tenant)
        rest = [kind for kind in ResourceKind if kind not in (*_STARTING, *_LAST)]
        if record.keeps_history:
            await self._delete(tenant, [kind for kind in rest if kind not in _KEPT_WITH_HISTORY])
            await self._client.save(
                ResourceKind.SETTING, SYSTEM_TENANT, kept_setting(tenant), b"{}", by="removal"
            )
        else:
            if not await self._remove_history(tenant):
                return False
            await self._remove_files(tenant)
            await self._delete(tenant, rest)
        await self._delete(tenant, _LAST)
        await self._client.delete(ResourceKind.TENANT, SYSTEM_TENANT, tenant, by="removal")
        logger.info("a tenant was removed", tenant=tenant, history_kept=bool(record.keeps_history))
        return True

    def _to_remove(self) -> list[tuple[str, Tenant]]:
        found = []
        for tenant, saved in self._catalog.list(ResourceKind.TENANT, SYSTEM_TENANT):
            record = TENANT_DECODER.decode(saved.body)
            if record.closed:
                found.append((tenant, record))
        return found

    def _on_change(self, key: ResourceKey, resource: Resource | None) -> None:
        if key.kind == ResourceKind.TENANT and resource is not None and not resource.deleted:
            self._closed.set()

    async def _delete(self, tenant: str, kinds: Sequence[ResourceKind]) -> None:
        for kind in kinds:
            names = [identifier for identifier, _ in self._catalog.list(kind, tenant)]
            for first in range(0, len(names), _PORTION):
                portion = names[first : first + _PORTION]
                await asyncio.gather(*(self._delete_one(kind, tenant, name) for name in portion))

    async def _delete_one(self, kind: ResourceKind, tenant: str, name: str) -> None:
        with suppress(ResourceConflict):  # somebody else did
            await self._client.delete(kind, tenant, name, by="removal")

    async def _leave_instance(self, tenant: str) -> None:
        """Take the tenant out of what the instance says of it, so that a later one of its name inherits nothing."""
        for name, saved in tuple(self._catalog.list(ResourceKind.KILL_SWITCH, SYSTEM_TENANT)):
            if KILL_SWITCH_DECODER.decode(saved.body).tenant_id == tenant:
                await self._delete_one(ResourceKind.KILL_SWITCH, SYSTEM_TENANT, name)
        for name, saved in tuple(self._catalog.list(ResourceKind.WORKER_GROUP, SYSTEM_TENANT)):
            group = WORKER_GROUP_DECODER.decode(saved.body)
            if group.allowed_tenants is not None and tenant in group.allowed_tenants:
                left = tuple(each for each in group.allowed_tenants if each != tenant)
                body = encode(msgspec.structs.replace(group, allowed_tenants=left))
                await self._client.save(ResourceKind.WORKER_GROUP, SYSTEM_TENANT, name, body, by="removal")

    async def _remove_history(self, tenant: str) -> bool:
        """Executions with all they left, those that run ended first; False when some do not end for long."""
        index = await self._index()
        running = Match("state", Operation.NOT_IN, [state.value for state in TERMINAL])
        records = self._platforms.of(tenant).records
        clean = 0  # looks in a row that found nothing: what was on its way to the index has come by then
        for _ in range(_MOST_ROUNDS):
            await index.refresh()
            found = 0
            async for page in index.scan(tenant, "executions", running, size=_PORTION):
                found += len(page)
                await self._kill(tenant, [each.id for each in page])
            if found == 0:
                purged = await records.purge_executions(
                    ExecutionSelection(), executions=True, logs=True, metrics=True, files=True, batch=_PORTION
                )
                found = purged.executions
                for kind in _OF_HISTORY:
                    found += await index.delete(tenant, kind)
            clean = 0 if found else clean + 1
            if clean == 2:
                return True
            await self._sleep(_PATIENCE)
        logger.warning("executions of a tenant that is being removed do not end", tenant=tenant)
        return False

    async def _kill(self, tenant: str, execution_ids: list[str]) -> None:
        command = encode(KillExecution(at=self._clock(), by="removal"))
        await self._log.append(
            [
                Message(topic="execution_commands", key=str(ExecutionKey(tenant, each)), value=command)
                for each in execution_ids
            ]
        )

    async def _remove_files(self, tenant: str) -> None:
        storage = self._storage.blocking
        await asyncio.to_thread(storage.delete_tenant, tenant)
        if isinstance(storage, RoutedStorage):
            for backend in tuple(self._dedicated.storages(tenant)):
                opened = storage.dedicated(backend.kind, backend.options)
                await asyncio.to_thread(opened.delete_tenant, tenant)


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())
