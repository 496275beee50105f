"""Hands out what stands around flows: one `TenantPlatform` for each tenant and namespace, on what a process shares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from flowtide.errors import FlowtideError
from flowtide.index.port import Index
from flowtide.log.port import Log
from flowtide.model.outbound import OPEN, OutboundRules
from flowtide.model.services import ServiceType
from flowtide.secrets import Secrets
from flowtide.services.catalog import Catalog
from flowtide.services.platform.executions import TenantExecutions
from flowtide.services.platform.files import ReadableFiles
from flowtide.services.platform.freshness import Freshness
from flowtide.services.platform.functions import AccessTokens, expression_functions
from flowtide.services.platform.isolation import Isolation
from flowtide.services.platform.key_values import TenantKeyValues
from flowtide.services.platform.namespace_files import TenantNamespaceFiles
from flowtide.services.platform.namespaces import Namespaces
from flowtide.services.platform.records import TenantRecords
from flowtide.services.saving import ResourceClient
from flowtide.storage import ExecutionFolder, Storage

_Result = TypeVar("_Result")


class TenantPlatform:
    """`flowtide.model.platform.Platform` of one tenant, for flows of one namespace or for the API."""

    def __init__(
        self,
        *,
        key_values: TenantKeyValues,
        files: TenantNamespaceFiles,
        executions: TenantExecutions,
        records: TenantRecords,
        namespaces: Namespaces,
        outbound: OutboundRules = OPEN,
    ) -> None:
        self.outbound = outbound
        self.key_values = key_values
        self.files = files
        self.executions = executions
        self.records = records
        self.namespaces = namespaces


class Platforms:
    """Builds platforms.  To be made on the event loop of the process.

    `index` opens the search index when it is first needed; a process whose services do not need it pays nothing.
    `allowed_paths` are the folders of the host that `file://` may name (KEY-21), for all types of tasks, and
    `allowed_paths_of` those of single types, by their name.
    """

    def __init__(
        self,
        *,
        log: Log,
        catalog: Catalog,
        client: ResourceClient,
        storage: Storage,
        index: Callable[[], Awaitable[Index]],
        clock: Callable[[], datetime],
        new_identifier: Callable[[], str],
        allowed_paths: Sequence[Path] = (),
        allowed_paths_of: Mapping[str, Sequence[Path]] | None = None,
        isolation: Isolation | None = None,
        credentials: AccessTokens | None = None,
        stores_outputs: Callable[[str, str], bool] = lambda tenant, namespace: False,
        outbound: OutboundRules = OPEN,
    ) -> None:
        self._outbound = outbound
        self.stores_outputs = stores_outputs  # whether all outputs of a tenant's namespace go to the storage
        self._credentials = credentials
        self.isolation = isolation or Isolation()
        self._loop = asyncio.get_running_loop()
        self._log = log
        self._catalog = catalog
        self._client = client
        self._storage = storage
        self._index = index
        self._clock = clock
        self._new_identifier = new_identifier
        self._allowed_paths = tuple(allowed_paths)
        self._allowed_paths_of = dict(allowed_paths_of or {})
        self._freshness = Freshness(catalog)
        self._namespaces: dict[str, Namespaces] = {}
        self._platforms: dict[tuple[str, str | None], TenantPlatform] = {}

    def namespaces(self, tenant: str) -> Namespaces:
        """The namespaces of a tenant."""
        found = self._namespaces.get(tenant)
        if found is None:
            found = self._namespaces[tenant] = Namespaces(self._catalog, tenant)
        return found

    def check_access(self, tenant: str, reader: str, owner: str) -> None:
        """Insist that flows of one namespace may use what another one has.  Raises NamespaceForbidden."""
        self.namespaces(tenant).check_access(reader, owner)

    def of(self, tenant: str, reader: str | None = None) -> TenantPlatform:
        """The platform of a tenant for flows of the namespace `reader`; None is the API, which checked already."""
        found = self._platforms.get((tenant, reader))
        if found is not None:
            return found
        namespaces = self.namespaces(tenant)
        shared: dict[str, Any] = {
            "tenant": tenant,
            "reader": reader,
            "catalog": self._catalog,
            "freshness": self._freshness,
            "namespaces": namespaces,
            "client": self._client,
            "storage": self._storage,
            "clock": self._clock,
            "new_identifier": self._new_identifier,
        }
        found = TenantPlatform(
            key_values=TenantKeyValues(**shared),
            files=TenantNamespaceFiles(**shared),
            executions=TenantExecutions(tenant=tenant, log=self._log, index=self._index),
            records=TenantRecords(
                tenant=tenant, log=self._log, storage=self._storage, index=self._index, clock=self._clock
            ),
            namespaces=namespaces,
            outbound=self._outbound,
        )
        if len(self._platforms) > 10_000:
            self._platforms.clear()
        self._platforms[tenant, reader] = found
        return found

    async def fresh(self) -> None:
        """Return when all that was saved before this call can be read.  Raises LogUnavailable."""
        await self._freshness.wait()

    def readable_files(
        self,
        tenant: str,
        folder: ExecutionFolder,
        ancestors: Collection[str] = (),
        *,
        service: ServiceType = ServiceType.WORKER,
        plugin_type: str = "",
        working_directory: Callable[[], Path | None] = lambda: None,
    ) -> ReadableFiles:
        """The files that an execution may read at a service; `plugin_type` may have host folders of its own."""
        return ReadableFiles(
            tenant_id=tenant,
            folder=folder,
            ancestors=ancestors,
            storage=self._storage.blocking,
            namespace_files=self.of(tenant, folder.namespace).files,
            allowed_paths=(*self._allowed_paths, *self._allowed_paths_of.get(plugin_type, ())),
            working_directory=working_directory,
            fresh=self.fresh,
            check=lambda: self.isolation.check_files(service, tenant, folder.namespace),
        )

    def functions(
        self,
        tenant: str,
        folder: ExecutionFolder,
        files: ReadableFiles,
        *,
        secrets: Secrets,
        service: ServiceType = ServiceType.WORKER,
        on_secret: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Callable[..., Any]]:
        """The expression functions with input or output, for one execution or what is rendered before there is one.

        They may be called from threads, where they wait for what was saved before; called on the event loop they
        answer from what this process has read by then, and `http` and `errorLogs` refuse.
        """
        return expression_functions(
            platform=self.of(tenant, folder.namespace),
            tenant=tenant,
            folder=folder,
            files=files,
            bridge=Bridge(self._loop, self._freshness),
            secrets=secrets,
            on_secret=on_secret,
            check_secrets=lambda: self.isolation.check_secrets(service, tenant, folder.namespace),
            credentials=self._credentials,
        )


class Bridge:
    """From threads that render to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, freshness: Freshness) -> None:
        self._loop = loop
        self._freshness = freshness

    def fresh(self) -> None:
        """Wait for what was saved before, unless this is the event loop itself, which cannot."""
        if not self.on_loop():
            self.wait_for(self._freshness.wait())

    def on_loop(self) -> bool:
        """Whether the caller is the event loop, and must not wait."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def wait_for(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine on the event loop and wait.  Raises FlowtideError on the event loop itself."""
        if self.on_loop():
            coroutine.close()
            raise FlowtideError(
                "this cannot be used in expressions that a server renders at once, such as conditions of triggers; "
                "use it in a task, or in the expression of an input"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
