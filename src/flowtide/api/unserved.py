"""What the clients of the API could ask for and this server does not serve, as one table of paths.

In comes a request that fits no route, out goes why not; docs/reference/api.md is made of it too.  State: none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Unserved:
    """Operations that belong together and are not served; each is answered 501 with the reason."""

    name: str
    reason: str  # a sentence for whoever called
    paths: tuple[str, ...]  # regular expressions of whole paths below PREFIX, without the tenant
    methods: frozenset[str] | None = None  # None: all

    def takes(self, method: str, path: str) -> bool:
        """Whether an operation is one of these; `path` is below PREFIX, with or without a tenant before it."""
        if self.methods is not None and method not in self.methods:
            return False
        return any(re.fullmatch(f"(/[^/]+)?{pattern}", path) is not None for pattern in self.paths)


_BELOW = "(/.*)?"

UNSERVED: tuple[Unserved, ...] = (
    Unserved(
        name="apps",
        reason="apps are not part of this version of Flowtide; a flow is started by its form or by the API",
        paths=("/apps" + _BELOW,),
    ),
    Unserved(
        name="unit tests of flows",
        reason="unit tests of flows are not part of this version of Flowtide",
        paths=("/tests" + _BELOW,),
    ),
    Unserved(
        name="assets",
        reason="assets are not part of this version of Flowtide",
        paths=("/assets" + _BELOW,),
    ),
    Unserved(
        name="AI assistance",
        reason="the assistant that writes flows is not part of this version of Flowtide",
        paths=("/ai" + _BELOW,),
    ),
    Unserved(
        name="MCP servers",
        reason="MCP servers are new in version 2.0 of the API; this server serves version 1.3",
        paths=("/mcp" + _BELOW, "/mcp-servers" + _BELOW, "/instance/mcp-servers"),
    ),
    Unserved(
        name="policies",
        reason="governance policies are new in version 2.0 of the API; plugin defaults do some of it (1.3)",
        paths=(
            "/instance/policies" + _BELOW,
            "/policies" + _BELOW,
            "/namespaces/[^/]+/policies" + _BELOW,
            "/flows/policies/preview",
        ),
    ),
    Unserved(
        name="promotions",
        reason="promotions are new in version 2.0 of the API; send the sources with `flowtide flow namespace update`",
        paths=(
            "/promotion-targets" + _BELOW,
            "/flows/promote/by-ids",
            "/flows/[^/]+/[^/]+/(promote|promotions)" + _BELOW,
        ),
    ),
    Unserved(
        name="reusable inputs",
        reason="reusable inputs are new in version 2.0 of the API",
        paths=("/reusable-inputs" + _BELOW, "/namespaces/[^/]+/reusable-inputs" + _BELOW),
    ),
    Unserved(
        name="cases",
        reason="cases are new in version 2.0 of the API",
        paths=("/cases" + _BELOW, "/case-templates" + _BELOW),
    ),
    Unserved(
        name="notifications to users",
        reason="notifications to users are new in version 2.0 of the API; a Flow trigger can tell of failures",
        paths=("/notifications" + _BELOW,),
    ),
    Unserved(
        name="worker queues and subscriptions",
        reason="worker queues are new in version 2.0 of the API; worker groups do their work (1.3)",
        paths=(
            "/instance/worker-queues" + _BELOW,
            "/instance/worker-groups/[^/]+/(subscriptions|capacity)" + _BELOW,
            "/worker-selectors/tags",
        ),
    ),
    Unserved(
        name="tokens of worker groups",
        reason="workers have no tokens of their own: they log in to the log, as its settings say",
        paths=("/instance/worker-groups/[^/]+/tokens" + _BELOW,),
    ),
    Unserved(
        name="replacing in sources",
        reason="replacing in all sources is new in version 2.0 of the API; search, and save the flows that change",
        paths=("/flows/source/replace/[^/]+",),
    ),
    Unserved(
        name="installation of plugins",
        reason="plugins are Python packages: install them with pip on each server and start it again",
        paths=("/plugins/install" + _BELOW, "/plugins/auto-install/detect"),
    ),
    Unserved(
        name="web pages of plugins",
        reason="pages that plugins bring are new in version 2.0 of the API",
        paths=("/plugins/pluginUiManifest", "/plugins/[^/]+/pluginUi/[^/]+"),
    ),
    Unserved(
        name="reports of use",
        reason="Flowtide reports nothing to anybody, so there is no report of its use",
        paths=("/stats/generate-reports",),
    ),
)


def unserved(method: str, path: str) -> Unserved | None:
    """What an operation that fits no route belongs to; None when nobody knows it."""
    return next((each for each in UNSERVED if each.takes(method, path)), None)
