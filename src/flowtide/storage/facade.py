"""The storage for coroutines: the same calls as `BlockingStorage`, each in a thread of its own small pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

from flowtide.storage.blocking import BlockingStorage

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Storage:
    """What is stored, by tenant and `kestra:///` URI; for the errors see `BlockingStorage`.

    Close it to end its threads.
    """

    def __init__(self, blocking: BlockingStorage, *, threads: int = 8) -> None:
        self.blocking = blocking  # for callers that are in a thread already
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")

    async def put(self, tenant_id: str, uri: str, content: bytes | Path | BinaryIO) -> int:
        """Store bytes, a file or a readable stream; replaces what stood there; gives the number of bytes."""
        return await self._call(self.blocking.put, tenant_id, uri, content)

    async def get(self, tenant_id: str, uri: str, *, maximum: int | None = None) -> bytes:
        """Read a file whole.  Raises StorageError when it has more than `maximum` bytes."""
        return await self._call(self.blocking.get, tenant_id, uri, maximum=maximum)

    async def fetch(self, tenant_id: str, uri: str, target: Path) -> None:
        """Copy a file to a local path, whose folder exists."""
        await self._call(self.blocking.fetch, tenant_id, uri, target)

    async def stream(
        self, tenant_id: str, uri: str, *, first: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Read a file piece by piece, from byte `first` on, at most `length` bytes."""
        chunks = self.blocking.chunks(tenant_id, uri, first=first, length=length)
        try:
            while (chunk := await self._call(next, chunks, b"")) != b"":
                yield chunk
        finally:
            close: Any = getattr(chunks, "close", None)
            if close is not None:
                await self._call(close)

    async def exists(self, tenant_id: str, uri: str) -> bool:
        """Whether there is such a file."""
        return await self._call(self.blocking.exists, tenant_id, uri)

    async def size(self, tenant_id: str, uri: str) -> int:
        """The number of bytes of a file."""
        return await self._call(self.blocking.size, tenant_id, uri)

    async def version(self, tenant_id: str, uri: str) -> str:
        """A short text that is another one once the file was written anew."""
        return await self._call(self.blocking.version, tenant_id, uri)

    async def delete(self, tenant_id: str, uri: str) -> bool:
        """Remove a file, or a folder with all that is in it; False when there was nothing."""
        return await self._call(self.blocking.delete, tenant_id, uri)

    async def list(self, tenant_id: str, uri: str) -> dict[str, int]:
        """All files below a folder, as URI and number of bytes."""
        return await self._call(self.blocking.list, tenant_id, uri)

    async def close(self) -> None:
        """Wait for what is being written and end the threads.  A second call does nothing."""
        await asyncio.to_thread(self._pool.shutdown)

    async def _call(
        self, call: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*arguments, **named))
