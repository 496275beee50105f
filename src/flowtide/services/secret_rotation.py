"""Encrypts what is saved with the keys of now, after a key was changed, so that the former one is not needed any more.

In comes everything saved that is encrypted: secrets, and the configurations of tenants and namespaces; out go new
revisions of what another key was used for.  No state; a second call finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.records import encode
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.dedicated import CONFIGURATIONS, Dedicated
from flowtide.services.saving import ResourceClient
from flowtide.services.secret_store import SecretStore


async def encrypt_again(
    *, catalog: Catalog, client: ResourceClient, secrets: SecretStore, dedicated: Dedicated, by: str | None
) -> Mapping[str, int]:
    """Gives how many secrets and configurations were encrypted anew.

    Raises SecretInvalid for what no key reads, which leaves it and what follows as it is, and as
    `ResourceClient.save`.
    """
    counts = {"configurations": 0, "secrets": 0}
    for name, saved in tuple(catalog.list(ResourceKind.TENANT, SYSTEM_TENANT)):
        counts["configurations"] += await _configurations(
            (ResourceKind.TENANT, SYSTEM_TENANT, name), saved, (name, None), client, dedicated, by
        )
    for tenant in sorted(catalog.tenants()):
        for name, saved in tuple(catalog.list(ResourceKind.NAMESPACE, tenant)):
            counts["configurations"] += await _configurations(
                (ResourceKind.NAMESPACE, tenant, name), saved, (tenant, name), client, dedicated, by
            )
        counts["secrets"] += await secrets.encrypt_again(tenant, by=by)
    return counts


async def _configurations(
    key: tuple[ResourceKind, str, str],
    saved: Resource,
    owner: tuple[str, str | None],
    client: ResourceClient,
    dedicated: Dedicated,
    by: str | None,
) -> bool:
    body: dict[str, Any] = msgspec.json.decode(saved.body)
    changed = False
    for field in CONFIGURATIONS:
        if isinstance(body.get(field), Mapping):
            options = dedicated.opened(*owner, field, body[field])
            sealed = await dedicated.sealed(*owner, field, options)
            # The same text at the same place under the same key looks the same.
            changed, body[field] = changed or sealed != body[field], sealed
    if changed:
        await client.save(*key, encode(body), saved.revision, by=by)
    return changed
