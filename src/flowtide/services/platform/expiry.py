"""Removes expired pairs of the key-value store now and then, in one server of an installation (KVS-03, PURGE-7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from flowtide.errors import FlowtideError
from flowtide.services.catalog import Catalog
from flowtide.services.platform.platforms import Platforms

logger = structlog.get_logger(__name__)


class ExpiryPurge:
    """The job.  `is_leader` says before each round whether this server is the one that does it."""

    def __init__(
        self,
        platforms: Platforms,
        catalog: Catalog,
        *,
        is_leader: Callable[[], bool],
        initial_delay: timedelta,
        fixed_delay: timedelta,
        batch_size: int,
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
    ) -> None:
        self._platforms = platforms
        self._catalog = catalog
        self._is_leader = is_leader
        self._initial_delay = initial_delay
        self._fixed_delay = fixed_delay
        self._batch_size = batch_size
        self._sleep = sleep or _sleep

    async def run(self) -> None:
        """Purge until cancelled; what fails is tried again in the next round."""
        await self._sleep(self._initial_delay)
        while True:
            if self._is_leader():
                try:
                    await self.round()
                except FlowtideError as error:
                    logger.warning("expired pairs could not be removed", reason=error.message)
            await self._sleep(self._fixed_delay)

    async def round(self) -> int:
        """Remove all that is expired now, in batches; gives how many."""
        total = 0
        for tenant in sorted(self._catalog.tenants()):
            store = self._platforms.of(tenant).key_values
            while True:
                removed = await store.purge_expired(self._batch_size)
                total += removed
                if removed < self._batch_size:
                    break
        if total:
            logger.info("expired pairs were removed", count=total)
        return total


async def _sleep(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())
