"""What tenants and namespaces have of their own over HTTP: documents come in, are checked and sealed, and are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flowtide.api.access import principal
from flowtide.api.keys import DEDICATED
from flowtide.api.problems import Problem
from flowtide.services.dedicated import CONFIGURATIONS, check_settings, reaches_host

SETTINGS = (
    "storageType", "storageConfiguration", "storageIsolation", "secretType", "secretConfiguration", "secretIsolation",
    "secretReadOnly", "workerGroup", "outputsInInternalStorage",
)  # fmt: skip  # reads better as a paragraph


async def sealed_settings(
    request: web.Request, tenant: str, owner: str | None, document: Mapping[str, Any]
) -> dict[str, Any]:
    """A document whose configurations are encrypted, after it was checked; `owner` None is the tenant itself.

    Raises Problem 403, 422, ValueInvalid.
    """
    dedicated = request.app[DEDICATED]
    if reaches_host(document) and not principal(request).super_admin and dedicated.differs(
        tenant, owner, document
    ):  # fmt: skip  # a condition
        raise Problem(
            403,
            "only a superadmin may name disks and variables of the servers (`local`, `file`, `environment`)",
        )
    opened = {
        field: dedicated.restored(tenant, owner, field, document[field])
        for field in CONFIGURATIONS
        if isinstance(document.get(field), Mapping)
    }
    check_settings(document, opened)
    kept = {name: value for name, value in document.items() if name not in CONFIGURATIONS}
    for field, options in opened.items():
        if sealed := await dedicated.sealed(tenant, owner, field, options):
            kept[field] = sealed
    return kept
