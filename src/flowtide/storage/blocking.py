"""Files by URI on any fsspec filesystem, for callers in threads: bytes and paths come in, files stand under the base.

Errors of the backends are translated here: FileMissing when there is no such file, StorageUnavailable otherwise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import uuid4

from flowtide.errors import FileMissing, StorageError, StorageUnavailable
from flowtide.storage.paths import path_of, stored_path, tenant_folder

_CHUNK_BYTES: Final = 256 * 1024


class BlockingStorage:
    """What is stored, by tenant and URI.  Safe to call from several threads."""

    def __init__(self, filesystem: Any, base: str) -> None:
        """`filesystem` is an fsspec filesystem, `base` a bucket or folder on it."""
        self._filesystem = filesystem
        self._base = base.rstrip("/")
        protocol = filesystem.protocol
        self._is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def put(self, tenant_id: str, uri: str, content: bytes | Path | BinaryIO) -> int:
        """Store bytes, a file or a readable stream; replaces what stood there; gives the number of bytes."""
        path = self._path(tenant_id, uri)
        with _translated(uri, "write"):
            if isinstance(content, bytes):
                with self._writing(path) as target:
                    target.write(content)
                return len(content)
            if isinstance(content, Path):
                with content.open("rb") as source:
                    return self._copy(source, path)
            return self._copy(content, path)

    def get(self, tenant_id: str, uri: str, *, maximum: int | None = None) -> bytes:
        """Read a file whole.  Raises StorageError when it has more than `maximum` bytes."""
        with self.opened(tenant_id, uri) as source:
            content = source.read() if maximum is None else source.read(maximum + 1)
        if maximum is not None and len(content) > maximum:
            raise StorageError(f"the file {uri} has more than the {maximum} bytes that may be read here")
        return content

    def fetch(self, tenant_id: str, uri: str, target: Path) -> None:
        """Copy a file to a local path, whose folder exists."""
        with self.opened(tenant_id, uri) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, _CHUNK_BYTES)

    def chunks(
        self, tenant_id: str, uri: str, *, first: int = 0, length: int | None = None
    ) -> Iterator[bytes]:
        """Read a file piece by piece, from byte `first` on, at most `length` bytes."""
        with self.opened(tenant_id, uri) as source:
            if first:
                source.seek(first)
            left = length
            while chunk := source.read(_CHUNK_BYTES if left is None else min(_CHUNK_BYTES, left)):
                if left is not None:
                    left -= len(chunk)
                yield chunk

    @contextmanager
    def opened(self, tenant_id: str, uri: str) -> Iterator[BinaryIO]:
        """Open a file for reading."""
        path = self._path(tenant_id, uri)
        with _translated(uri, "read"), self._filesystem.open(path, "rb") as source:
            yield source

    def exists(self, tenant_id: str, uri: str) -> bool:
        """Whether there is such a file; a folder is none."""
        path = self._path(tenant_id, uri)
        with _translated(uri, "look for"):
            return bool(self._filesystem.isfile(path))

    def size(self, tenant_id: str, uri: str) -> int:
        """The number of bytes of a file."""
        path = self._path(tenant_id, uri)
        with _translated(uri, "look at"):
            if not self._filesystem.isfile(path):
                raise FileNotFoundError(path)
            return int(self._filesystem.size(path))

    def version(self, tenant_id: str, uri: str) -> str:
        """A short text that is another one once the file was written anew."""
        path = self._path(tenant_id, uri)
        with _translated(uri, "look at"):
            if not self._filesystem.isfile(path):
                raise FileNotFoundError(path)
            return sha256(str(self._filesystem.ukey(path)).encode()).hexdigest()[:32]

    def delete(self, tenant_id: str, uri: str) -> bool:
        """Remove a file, or a folder with all that is in it; False when there was nothing."""
        path = self._path(tenant_id, uri)
        with _translated(uri, "delete"):
            if not self._filesystem.exists(path):
                return False
            self._filesystem.rm(path, recursive=True)
        return True

    def delete_tenant(self, tenant_id: str) -> bool:
        """Remove everything of a tenant; False when there was nothing."""
        path = f"{self._base}/{tenant_folder(tenant_id)}"
        with _translated("of the tenant", "delete files"):
            if not self._filesystem.exists(path):
                return False
            self._filesystem.rm(path, recursive=True)
        return True

    def list(self, tenant_id: str, uri: str) -> dict[str, int]:
        """All files below a folder, as URI and number of bytes; none when there is no such folder."""
        from urllib.parse import quote

        path = self._path(tenant_id, uri)
        with _translated(uri, "list"):
            found: Mapping[str, Any] = self._filesystem.find(path, detail=True)
        root = f"{self._root(path)}"
        home = path_of(uri)
        return {
            f"kestra:///{quote(home + name[name.index(root) + len(root) :], safe='/-._~+=')}": int(
                entry["size"]
            )
            for name, entry in sorted(found.items())
        }

    def _root(self, path: str) -> str:
        # fsspec strips the protocol and a leading slash from the names that it gives back.
        return str(self._filesystem._strip_protocol(path))  # noqa: SLF001 - fsspec has no public form of it

    def _path(self, tenant_id: str, uri: str) -> str:
        return f"{self._base}/{stored_path(tenant_id, uri)}"

    def _copy(self, source: BinaryIO, path: str) -> int:
        written = 0
        with self._writing(path) as target:
            while chunk := source.read(_CHUNK_BYTES):
                target.write(chunk)
                written += len(chunk)
        return written

    @contextmanager
    def _writing(self, path: str) -> Iterator[BinaryIO]:
        if not self._is_local:
            # Object stores show a file only once it is complete.
            with self._filesystem.open(path, "wb") as target:
                yield target
            return
        # On a disk a reader, or a crash, would meet half a file: it gets its name when it is complete.
        destination = Path(path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(f".{uuid4().hex}.part")
        try:
            with partial.open("wb") as target:
                yield target
            os.replace(partial, destination)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def _translated(uri: str, action: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FileMissing(f"there is no file {uri}; it was never stored, or was purged") from error
    except StorageError:
        raise
    except Exception as error:  # every backend brings exceptions of its own
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StorageUnavailable(
            f"the storage could not {action} {uri}: {reason}; check its disk, bucket and credentials"
        ) from error
