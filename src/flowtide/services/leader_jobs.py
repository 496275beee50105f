"""What one executor of an installation does besides deciding: it removes expired pairs, and tenants that were closed.

In come the parts of a process; the jobs run until the stack is left.  State: none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from flowtide.index.port import Index
from flowtide.log.port import Log
from flowtide.services.catalog import Catalog
from flowtide.services.dedicated import Dedicated
from flowtide.services.platform import Platforms
from flowtide.services.platform.expiry import ExpiryPurge
from flowtide.services.saving import ResourceClient
from flowtide.services.tenant_removal import TenantRemoval
from flowtide.settings import Settings
from flowtide.storage import Storage


def start_leader_jobs(
    stack: AsyncExitStack,
    *,
    settings: Settings,
    is_leader: Callable[[], bool],
    catalog: Catalog,
    client: ResourceClient,
    dedicated: Dedicated,
    platforms: Platforms,
    storage: Storage,
    index: Callable[[], Awaitable[Index]],
    log: Log,
    clock: Callable[[], datetime],
) -> None:
    """Start the jobs; each looks at `is_leader` before it does something."""
    purge = settings.kv.purge_expired
    if purge.enabled:
        expiry = ExpiryPurge(
            platforms,
            catalog,
            is_leader=is_leader,
            initial_delay=purge.initial_delay,
            fixed_delay=purge.fixed_delay,
            batch_size=purge.batch_size,
        )
        _start(stack, expiry.run, "expired-pairs")
    removal = TenantRemoval(
        catalog=catalog,
        client=client,
        dedicated=dedicated,
        platforms=platforms,
        storage=storage,
        index=index,
        log=log,
        clock=clock,
        is_leader=is_leader,
    )
    _start(stack, removal.run, "tenant-removal")


def _start(stack: AsyncExitStack, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    task = asyncio.create_task(run(), name=name)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)
