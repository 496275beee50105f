"""Several storages as one: a tenant's file goes to the storage that is dedicated to its namespace (ISO-03, TEN-11).

In come tenants and URIs; each goes to the storage that a callback names, or to that of the instance.  State: the
dedicated storages that were opened.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from flowtide.storage.backends import open_blocking
from flowtide.storage.blocking import BlockingStorage
from flowtide.storage.paths import namespace_of, path_of

Choose = Callable[[str, str | None], tuple[str, Mapping[str, Any]] | None]
"""Gives kind and options of the storage of a tenant's namespace (None: of no namespace); None is the instance's."""

_OF_INSTANCE = "backups/"


class RoutedStorage(BlockingStorage):
    """Looks the storage up at every call, so that a saved change counts at once.  Safe to call from several threads."""

    def __init__(self, instance: BlockingStorage, choose: Choose) -> None:
        """`instance` has what no tenant or namespace keeps elsewhere, and the backups."""
        self._instance = instance
        self._choose = choose
        self._opened: dict[str, BlockingStorage] = {}
        self._lock = threading.Lock()

    def put(self, tenant_id: str, uri: str, content: bytes | Path | BinaryIO) -> int:
        """See BlockingStorage."""
        return self._of(tenant_id, uri).put(tenant_id, uri, content)

    @contextmanager
    def opened(self, tenant_id: str, uri: str) -> Iterator[BinaryIO]:
        """See BlockingStorage."""
        with self._of(tenant_id, uri).opened(tenant_id, uri) as source:
            yield source

    def exists(self, tenant_id: str, uri: str) -> bool:
        """See BlockingStorage."""
        return self._of(tenant_id, uri).exists(tenant_id, uri)

    def size(self, tenant_id: str, uri: str) -> int:
        """See BlockingStorage."""
        return self._of(tenant_id, uri).size(tenant_id, uri)

    def version(self, tenant_id: str, uri: str) -> str:
        """See BlockingStorage."""
        return self._of(tenant_id, uri).version(tenant_id, uri)

    def delete(self, tenant_id: str, uri: str) -> bool:
        """See BlockingStorage."""
        return self._of(tenant_id, uri).delete(tenant_id, uri)

    def list(self, tenant_id: str, uri: str) -> dict[str, int]:
        """See BlockingStorage."""
        return self._of(tenant_id, uri).list(tenant_id, uri)

    def delete_tenant(self, tenant_id: str) -> bool:
        """What a tenant has in the instance's storage; for the others see `dedicated`."""
        return self._instance.delete_tenant(tenant_id)

    def dedicated(self, kind: str, options: Mapping[str, Any]) -> BlockingStorage:
        """A storage that is not the instance's, opened once.  Raises StorageMisconfigured."""
        key = json.dumps([kind, options], sort_keys=True, default=str)
        with self._lock:
            found = self._opened.get(key)
            if found is None:
                if len(self._opened) > 1_000:
                    self._opened.clear()
                found = self._opened[key] = open_blocking(kind, of_kind(kind, options))
        return found

    def _of(self, tenant_id: str, uri: str) -> BlockingStorage:
        path = path_of(uri)
        if path.startswith(_OF_INSTANCE):
            return self._instance
        chosen = self._choose(tenant_id, namespace_of(path))
        return self._instance if chosen is None else self.dedicated(*chosen)


def of_kind(kind: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options themselves, also where they stand under the name of the kind as in the settings of the instance."""
    inner = options.get(kind)
    return inner if len(options) == 1 and isinstance(inner, Mapping) else options


def check_storage(kind: str, options: Mapping[str, Any]) -> None:
    """Insist that a storage could be opened.  Raises StorageMisconfigured."""
    open_blocking(kind, of_kind(kind, options))
