"""Reading one's own writes: waits until the catalog has what was saved before, once for all who ask meanwhile."""

from __future__ import annotations

import asyncio

from flowtide.services.catalog import Catalog


class Freshness:
    """Catches the catalog up.  To be used on the event loop of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Return when all that was saved before this call is in the catalog.  Raises LogUnavailable.

        A look that has begun already may have missed it, so who comes then waits for the one after it, which all who
        come meanwhile share.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._look(self._running), name="catalog-freshness")
            # Nobody may be left to ask for its exception.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._next)

    async def _look(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        # From here on the look begins: who comes now waits for the next one.
        self._running, self._next = self._next, None
        await self._catalog.catch_up()
