"""What the stores of a tenant stand on: whose they are, who reads, where their records and files are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flowtide.services.catalog import Catalog
from flowtide.services.platform.freshness import Freshness
from flowtide.services.platform.namespaces import Namespaces
from flowtide.services.saving import ResourceClient
from flowtide.storage import Storage


class TenantStore:
    """A store of one tenant, for flows of one namespace (`reader`); `reader` None is the API, which checked already."""

    def __init__(
        self,
        *,
        tenant: str,
        reader: str | None,
        catalog: Catalog,
        freshness: Freshness,
        namespaces: Namespaces,
        client: ResourceClient,
        storage: Storage,
        clock: Callable[[], datetime],
        new_identifier: Callable[[], str],
    ) -> None:
        self._tenant = tenant
        self._reader = reader
        self._catalog = catalog
        self._freshness = freshness
        self._namespaces = namespaces
        self._client = client
        self._storage = storage
        self._clock = clock
        self._new_identifier = new_identifier
