"""Files on their way into a container and back: folders to tar files and tar files to folders, in threads.

Paths are the same on both sides, so that `{{ workingDir }}` and the local paths of stored files hold in a container.
"""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from flowtide.model.task import TaskLogger
from flowtide.plugins.runners.docker.unpack import unpack

if TYPE_CHECKING:
    from aiodocker import Docker as Client
    from aiodocker.containers import DockerContainer

_CHUNK_BYTES: Final = 256 * 1024
_OPEN_TO_ALL: Final = 0o777  # the container's user need not be the worker's
_NOT_FOUND: Final = 404


async def send(container: DockerContainer, directory: Path, folders: Sequence[Path]) -> set[str]:
    """Copy the working directory and the read-only folders into the container; gives the names of the files sent."""
    with tempfile.TemporaryFile() as packed:
        names = await asyncio.to_thread(_pack, packed, directory, folders)
        await container.put_archive("/", _chunks(packed))  # type: ignore[no-untyped-call]  # the library's lack
    return names


async def fetch(
    client: Client, container: DockerContainer, directory: Path, *, sent: set[str], lines: TaskLogger
) -> None:
    """Copy the working directory back, also what was removed in it."""
    from aiodocker import DockerError

    with tempfile.TemporaryFile() as packed:
        try:
            # The library's own method holds all of it in memory.
            async with client._query(  # noqa: SLF001
                f"containers/{container.id}/archive", params={"path": str(directory)}
            ) as response:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    await asyncio.to_thread(packed.write, chunk)
        except DockerError as error:
            if error.status != _NOT_FOUND:
                raise
            return  # the script removed the folder itself
        refused = await asyncio.to_thread(unpack, packed, directory, sent=sent)
    for name in refused:
        lines.warn("The file {} of the container was left there: it leads out of the working directory", name)


def _pack(packed: IO[bytes], directory: Path, folders: Sequence[Path]) -> set[str]:
    def writable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode |= _OPEN_TO_ALL if entry.isdir() else 0o666
        return entry

    def readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode |= 0o555 if entry.isdir() else 0o444
        return entry

    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(directory, arcname=str(directory), filter=writable)
        prefix = str(directory).lstrip("/") + "/"
        names = {
            entry.name.removeprefix(prefix)
            for entry in archive.getmembers()
            if entry.isfile() and entry.name.startswith(prefix)
        }
        for folder in folders:
            archive.add(folder, arcname=str(folder), filter=readable)
    packed.seek(0)
    return names


async def _chunks(packed: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(packed.read, _CHUNK_BYTES):
        yield chunk
