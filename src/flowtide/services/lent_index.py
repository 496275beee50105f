"""The search index for services that have none of their own: opened when a flow first asks for log lines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flowtide.index.port import Index


class LentIndex:
    """An index that is opened at most once.  Calling `get` from several coroutines is safe."""

    def __init__(self, open_index: Callable[[], Index]) -> None:
        self._open = open_index
        self._index: Index | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> Index:
        """The index, started.  Raises IndexUnavailable."""
        async with self._opening:
            if self._index is None:
                index = self._open()
                try:
                    await index.start()
                except BaseException:
                    await index.close()
                    raise
                self._index = index
        return self._index

    async def close(self) -> None:
        """Close it if it was opened."""
        index, self._index = self._index, None
        if index is not None:
            await index.close()
