"""Files by their URI, whatever they are: of executions, of namespaces, of the host (FIL-01).

In comes what a flow wrote; out goes where the file is, once it is known that the flow may read it.  Called from
threads; nothing here waits for the catalog.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowtide.errors import FileForbidden, FileMissing, StorageError, StorageUriInvalid
from flowtide.services.platform.namespace_files import TenantNamespaceFiles
from flowtide.storage import BlockingStorage, ExecutionFolder, check_readable, named_namespace_file


@dataclass(frozen=True, kw_only=True)
class Located:
    """A file that may be read: stored, or on the host."""

    shown: str  # as the flow named it
    uri: str | None = None
    path: Path | None = None


class ReadableFiles:
    """What one execution may read.

    `allowed_paths` are the operator's folders of the host; `working_directory` gives the task's own, if it has one;
    `fresh` waits for what was saved before, for the methods that can wait; `check` raises where nothing may be read.
    """

    def __init__(
        self,
        *,
        tenant_id: str,
        folder: ExecutionFolder,
        ancestors: Collection[str],
        storage: BlockingStorage,
        namespace_files: TenantNamespaceFiles | None,
        allowed_paths: Sequence[Path] = (),
        working_directory: Callable[[], Path | None] = lambda: None,
        fresh: Callable[[], Awaitable[None]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._check = check
        self._fresh = fresh
        self._tenant_id = tenant_id
        self._folder = folder
        self._ancestors = ancestors
        self._storage = storage
        self._namespace_files = namespace_files
        self._allowed_paths = allowed_paths
        self._working_directory = working_directory

    def locate(
        self, name: str, *, namespace: str | None = None, revision: int | None = None, plain: bool = True
    ) -> Located:
        """Where a file is that is named by a URI or, if `plain`, by its path in a namespace (the flow's by default).

        Raises FileMissing, FileForbidden, NamespaceForbidden, StorageUriInvalid.
        """
        self._check()
        text = name.strip()
        if "://" not in text:
            if not plain:
                raise StorageUriInvalid(f"{text[:200]!r} is not the URI of a file")
            return self._of_namespace(text, namespace or self._folder.namespace, text, revision)
        scheme = text.split("://", maxsplit=1)[0]
        if scheme == "nsfile":
            owner, path = _namespace_and_path(text)
            return self._of_namespace(text, owner or namespace or self._folder.namespace, path, revision)
        if scheme == "file":
            return Located(shown=text, path=self._on_host(text))
        if scheme == "kestra":
            named = named_namespace_file(text)
            if named is not None:
                return self._of_namespace(text, *named, revision)
            check_readable(text, folder=self._folder, ancestors=self._ancestors)
            return Located(shown=text, uri=text)
        raise StorageUriInvalid(f"Cannot process the URI {text[:200]}: scheme {scheme[:20]} not supported.")

    def read(self, located: Located, *, maximum: int | None = None) -> bytes:
        """The whole content.  Raises StorageError when it has more than `maximum` bytes."""
        if located.uri is not None:
            return self._storage.get(self._tenant_id, located.uri, maximum=maximum)
        assert located.path is not None
        try:
            with located.path.open("rb") as source:
                content = source.read() if maximum is None else source.read(maximum + 1)
        except OSError as error:
            raise _unreadable(located, error) from None
        if maximum is not None and len(content) > maximum:
            raise StorageError(
                f"the file {located.shown} has more than the {maximum} bytes that may be read here"
            )
        return content

    def fetch(self, located: Located, target: Path) -> None:
        """Copy it to a local path, whose folder exists."""
        if located.uri is not None:
            self._storage.fetch(self._tenant_id, located.uri, target)
            return
        assert located.path is not None
        try:
            shutil.copyfile(located.path, target)
        except OSError as error:
            raise _unreadable(located, error) from None

    def size(self, located: Located) -> int:
        """The number of its bytes.  Raises FileMissing."""
        if located.uri is not None:
            return self._storage.size(self._tenant_id, located.uri)
        assert located.path is not None
        try:
            return located.path.stat().st_size
        except OSError as error:
            raise _unreadable(located, error) from None

    def exists(self, located: Located) -> bool:
        """Whether there is such a file."""
        if located.uri is not None:
            return self._storage.exists(self._tenant_id, located.uri)
        assert located.path is not None
        return located.path.is_file()

    # For coroutines; only URIs, because a plain path is not told from any other text here.

    async def get(self, uri: str, to: Path) -> None:
        """Copy a file to a local path, whose folder exists.  Raises as `locate`."""
        await asyncio.to_thread(self.fetch, await self._located(uri), to)

    async def content(self, uri: str) -> bytes:
        """Read a file whole.  Raises as `locate`."""
        return await asyncio.to_thread(self.read, await self._located(uri))

    async def bytes_of(self, uri: str) -> int:
        """The size of a file.  Raises as `locate`."""
        return await asyncio.to_thread(self.size, await self._located(uri))

    async def _located(self, uri: str) -> Located:
        if self._fresh is not None and not uri.startswith("file:"):
            await self._fresh()
        return await asyncio.to_thread(self.locate, uri, plain=False)

    def _of_namespace(self, shown: str, namespace: str, path: str, revision: int | None) -> Located:
        if self._namespace_files is None:
            raise FileForbidden(f"the namespace file {shown[:200]} cannot be read where this is rendered")
        return Located(shown=shown, uri=self._namespace_files.content_uri(namespace, path, revision))

    def _on_host(self, text: str) -> Path:
        path = Path(unquote(text[len("file://") :]))
        if not path.is_absolute():
            raise StorageUriInvalid(f"the URI {text[:200]} must be of the form file:///path/to/file")
        # Links and `..` count as what they lead to.
        real = Path(os.path.realpath(path))
        own = self._working_directory()
        for folder in (*self._allowed_paths, *(() if own is None else (own,))):
            if real.is_relative_to(os.path.realpath(folder)):
                return real
        raise FileForbidden(
            f"The path {path} is not authorized. Only files inside the working directory are allowed by default, "
            "other paths must be allowed either globally inside the Kestra configuration using the "
            "`kestra.local-files.allowed-paths` property, or by plugin using the `allowed-paths` plugin "
            "configuration."
        )


def _namespace_and_path(text: str) -> tuple[str, str]:
    """The namespace (empty: the flow's own) and the path of a `nsfile://` URI.  Raises StorageUriInvalid."""
    try:
        parts = urlsplit(text)
        path = unquote(parts.path, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise StorageUriInvalid(f"{text[:200]!r} is not the URI of a namespace file") from None
    if not path.strip("/"):
        raise StorageUriInvalid(
            f"the URI {text[:200]} must be of the form nsfile:///path/to/file, or nsfile://namespace/path/to/file"
        )
    return text[len("nsfile://") :].partition("/")[0], path


def _unreadable(located: Located, error: OSError) -> StorageError:
    if isinstance(error, FileNotFoundError):
        return FileMissing(f"there is no file {located.shown} on the host of this server")
    return StorageError(f"the file {located.shown} cannot be read on this server: {error.strerror}")
