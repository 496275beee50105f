"""What an interface or a client must know of the instance before and after login: what is there and switched on.

In come settings and what is saved; out go documents without anything secret.  State: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from zlib import crc32

from aiohttp import web

import flowtide
from flowtide.api.answers import json_answer, without_nulls
from flowtide.api.keys import CATALOG, REGISTRY, SITE
from flowtide.api.notices import active_notices
from flowtide.api.problems import Problem
from flowtide.api.recognition import RECOGNITION
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.access import Principal
from flowtide.model.instance import MAINTENANCE
from flowtide.model.plugin import Registry
from flowtide.model.resources import ResourceKind
from flowtide.services.dedicated import SECRET_KINDS
from flowtide.storage import storage_kinds


async def configs(request: web.Request) -> web.StreamResponse:
    """What the interface needs to draw its pages; announcements and kill switches only for who is logged in."""
    site, recognition = request.app[SITE], request.app[RECOGNITION]
    caller = await _caller(request)
    tenants = [] if caller is None else [name for name, _ in recognition.identities.tenants_of(caller.id)]
    notices = {} if caller is None else active_notices(request, tenants)
    return json_answer(
        without_nulls(
            {
                "version": flowtide.__version__,
                "edition": "EE",  # what only the enterprise edition of the original serves is served
                "isBasicAuthInitialized": recognition.is_set_up,
                "isCustomDashboardsEnabled": True,
                "isAnonymousUsageEnabled": False,
                "isUiAnonymousUsageEnabled": False,
                "isTemplateEnabled": site.templates_enabled,
                "isAiEnabled": False,
                "isConcurrencyViewEnabled": True,
                "systemNamespace": site.system_namespace,
                "hiddenLabelsPrefixes": list(site.hidden_label_prefixes),
                "url": site.url,
                "environment": None if site.environment is None else dict(site.environment),
                "preview": {"initial": site.preview_initial_rows, "max": site.preview_max_rows},
                "pluginsHash": _hash_of(request.app[REGISTRY]),
                "tenants": {"storageByTenant": True, "secretByTenant": True},
                "secretsEnabled": True,
                "supportedStorages": [_supported(kind) for kind in storage_kinds()],
                "supportedSecrets": [_supported(kind) for kind in SECRET_KINDS],
                "pluginManagementEnabled": False,
                "pluginCustomEnabled": False,
                "mailServiceEnabled": recognition.security.mail_server is not None,
                "outputsInInternalStorageEnabled": True,
                "inMaintenance": _in_maintenance(request),
                "passwordRegexp": recognition.security.password_rule,
                "passwordlessEnabled": False,
                "airgapped": True,  # nothing is fetched from anybody
                "featureGating": False,
                "features": [],
                **notices,
            }
        )
    )


async def license_info(request: web.Request) -> web.StreamResponse:
    """The licence: none is needed, and nothing ends (EE-1, LIC-02)."""
    return json_answer(
        {"type": "NONE", "expired": False, "standalone": True, "workerGroups": True, "online": False}
    )


async def refresh_license(request: web.Request) -> web.StreamResponse:
    """Ask for the licence again: there is none."""
    return web.Response(status=204)


async def _caller(request: web.Request) -> Principal | None:
    """Who asks, on a path that needs no login; None for a visitor."""
    if "Authorization" not in request.headers and not request.cookies:
        return None
    try:
        return await request.app[RECOGNITION].principal(request)
    except Problem:
        return None


def _in_maintenance(request: web.Request) -> bool:
    setting = request.app[CATALOG].get(ResourceKind.SETTING, SYSTEM_TENANT, MAINTENANCE)
    return setting is not None and not setting.deleted


def _supported(kind: str) -> Mapping[str, Any]:
    return {"id": kind, "version": flowtide.__version__}


@cache
def _hash_of(registry: Registry) -> int:
    """A number that changes with the plugins, by which a browser knows that what it keeps of them is old."""
    return crc32("\n".join(sorted(name for _, name, _ in registry)).encode())
