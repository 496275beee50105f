"""Two servers with a key-value store and namespace files on one log and one storage, for the contract of both."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from flowtide.index.port import Index
from flowtide.log.port import Log
from flowtide.model.flow import Flow
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.resources import ResourceKind
from flowtide.model.source import parse_flow
from flowtide.services.catalog import Catalog
from flowtide.services.platform import Platforms
from flowtide.services.runtimes import resources_runtime
from flowtide.services.saving import ResourceClient
from flowtide.storage import open_storage
from flowtide.testing.contracts.platform import ManualClock, Servers

_REGISTRY = Registry({})
_PATIENCE = timedelta(seconds=20)


def _parse(source: str, tenant: str) -> Flow:
    return parse_flow(source, _REGISTRY).valid()


async def _no_index() -> Index:
    raise AssertionError("nothing here reads the index")


@asynccontextmanager
async def open_servers(log: Log, folder: Path) -> AsyncIterator[Callable[[str], Servers]]:
    """Start both on a log that is started, and give what shows one tenant of them; everything ends with the block."""
    clock = ManualClock()
    names = itertools.count()
    storage = open_storage("local", {"base-path": str(folder)})
    async with AsyncExitStack() as stack:
        stack.push_async_callback(storage.close)
        runtime = resources_runtime(log, instance="executor", clock=clock, parse=_parse)
        running = asyncio.create_task(runtime.run())

        async def stop() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        stack.push_async_callback(stop)
        both: list[Platforms] = []
        clients: list[ResourceClient] = []
        for name in ("first", "second"):
            catalog = Catalog(log, _parse)
            await catalog.start()
            stack.push_async_callback(catalog.close)
            client = ResourceClient(
                log,
                catalog,
                instance=name,
                clock=clock,
                ids=lambda: f"request-{next(names)}",
                patience=_PATIENCE,
            )
            await client.start()
            stack.push_async_callback(client.close)
            clients.append(client)
            both.append(
                Platforms(
                    log=log,
                    catalog=catalog,
                    client=client,
                    storage=storage,
                    index=_no_index,
                    clock=clock,
                    new_identifier=lambda: f"file{next(names)}",
                )
            )

        def of(tenant: str) -> Servers:
            async def save_namespace(name: str, document: dict[str, Any]) -> None:
                await clients[0].save(ResourceKind.NAMESPACE, tenant, name, encode({"id": name, **document}))
                await both[1].fresh()

            def stored_files() -> list[str]:
                return [path.name for path in (folder / tenant).rglob("*") if path.is_file()]

            return Servers(
                first=lambda reader: both[0].of(tenant, reader),
                second=lambda reader: both[1].of(tenant, reader),
                other_tenant=both[1].of(f"{tenant}-other"),
                clock=clock,
                save_namespace=save_namespace,
                stored_files=stored_files,
            )

        yield of
