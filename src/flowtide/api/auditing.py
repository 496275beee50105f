"""The middleware of the audit log: a request that changes something comes in, an entry goes out (AUD-01).

What handlers save has its entry from the processor that saves it; here the trail is laid for that, and requests that
save nothing, such as the verbs of executions, are noted themselves, but for those of the list QUIET.  Requests without
a login have no trail: their handlers say who acts (`acting_as`).  Reads cost one comparison.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web

from flowtide.api.access import PRINCIPAL
from flowtide.api.keys import AUDIT, NAMED, TENANT, USER
from flowtide.api.recognition import address_of
from flowtide.api.route import PATTERNS
from flowtide.api.route import TENANT as TENANT_STEP
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.audit import AuditAction
from flowtide.model.audit_note import Actor
from flowtide.services.trail import TRAIL, Trail

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_IDS: Final = 100
_RESOURCES: Final = {  # where the first step of a path is not the name of what is changed
    "logs": "EXECUTION",
    "concurrency-limit": "FLOW",
    "me": "USER",
    "service-accounts": "USER",
    "tenant-access": "TENANT_ACCESS",
    "auditlogs": "AUDITLOG",
    "cluster": "INSTANCE",
    "banners": "INSTANCE",
}
_LOOKS: Final = "it looks at something and changes nothing"
_ASKS: Final = "it asks another system and changes nothing here"
QUIET: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "POST /{tenant}/executions/latest",
            "POST /{tenant}/executions/{executionId}/resume/validate",
            "POST /{tenant}/executions/{executionId}/actions/resume/validate",
            "POST /{tenant}/executions/{executionId}/eval",
            "POST /{tenant}/executions/{executionId}/eval/{taskRunId}",
            "POST /{tenant}/executions/{executionId}/actions/eval",
            "POST /{tenant}/executions/{executionId}/actions/eval/{taskRunId}",
            "POST /{tenant}/executions/{namespace}/{id}/validate",
            "POST /{tenant}/flows/validate",
            "POST /{tenant}/flows/validate/task",
            "POST /{tenant}/flows/validate/trigger",
            "POST /{tenant}/flows/hashes/by-ids",
            "POST /{tenant}/flows/export/by-ids",
            "POST /{tenant}/flows/graph",
            "POST /{tenant}/flows/expressions",
            "POST /{tenant}/templates/validate",
            "POST /{tenant}/templates/export/by-ids",
            "POST /{tenant}/auditlogs/find",
            "POST /{tenant}/namespaces/autocomplete",
            "POST /{tenant}/namespaces/{id}/plugindefaults/export",
            "POST /{tenant}/dashboards/validate",
            "POST /{tenant}/dashboards/validate/chart",
            "POST /{tenant}/dashboards/charts/preview",
            "POST /{tenant}/dashboards/charts/export/to-csv",
            "POST /{tenant}/dashboards/charts/export",
            "POST /{tenant}/dashboards/{id}/charts/{chartId}",
            "POST /{tenant}/dashboards/{id}/charts/{chartId}/export/to-csv",
            "POST /{tenant}/dashboards/{id}/charts/{chartId}/export",
            "POST /{tenant}/tenant-access/autocomplete",
            "POST /{tenant}/groups/autocomplete",
            "POST /{tenant}/groups/ids",
            "POST /{tenant}/roles/autocomplete",
            "POST /{tenant}/roles/ids",
            "POST /{tenant}/blueprints/flows/{id}/use-template",
            "POST /instance/versioned-plugins/resolve",
            "POST /cluster/versioned-plugins/resolve",
        ),
        _LOOKS,
    ),
    "POST /{tenant}/namespaces/{namespace}/credentials/{name}/test": _ASKS,
    "POST /{tenant}/credentials/{id}/test": _ASKS,
}
"""What is no GET and has no entry, with the reason; whatever is added to the API has one."""


@web.middleware
async def audit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lay the trail of a request, and note what it did when nothing was saved by it."""
    name = request.get(USER)
    if request.method in _READS or name is None:
        return await handler(request)
    trail = Trail(actor=actor_of(request, name))
    token = TRAIL.set(trail)
    try:
        response = await handler(request)
    finally:
        TRAIL.reset(token)
    if not trail.recorded and response.status < 400:
        _note(request, trail.actor)
    return response


@contextmanager
def acting_as(request: web.Request, name: str) -> Iterator[None]:
    """What a request without a login saves meanwhile has entries of this user: who proved who they are otherwise."""
    token = TRAIL.set(Trail(actor=Actor(id=name, ip_address=address_of(request))))
    try:
        yield
    finally:
        TRAIL.reset(token)


def actor_of(request: web.Request, name: str) -> Actor:
    """Who sits at the other end."""
    caller = request.get(PRINCIPAL)
    if caller is None:
        return Actor(id=name, ip_address=address_of(request))
    return Actor(
        id=name, type=caller.type.value, ip_address=address_of(request), impersonated_by=caller.impersonator
    )


def _note(request: web.Request, actor: Actor) -> None:
    resource = request.match_info.route.resource
    pattern = "" if resource is None else resource.canonical
    route = request.app[PATTERNS].get(f"{request.method} {pattern}")
    if route is None or f"{route.method} {route.path}" in QUIET:
        return
    in_tenant = route.path.startswith(TENANT_STEP)
    parts = [part for part in route.path.split("/") if part and part != "{tenant}"]
    kind = _RESOURCES.get(parts[0], parts[0].removesuffix("s").replace("-", "_").upper())
    own = dict(request.match_info)
    own.pop("tenant", None)
    verb = "/".join(part for part in parts[1:] if not part.startswith("{") and part != "actions")
    if kind == "EXECUTION" and "executionId" in pattern and "executionId" not in own:
        verb = ""  # a form that started the flow of this name
    action = AuditAction.UPDATE
    if request.method == "DELETE" and not verb.startswith("kill"):
        action = AuditAction.DELETE
    elif kind == "EXECUTION" and verb in ("", "trigger", "replay", "replay-with-inputs"):
        action = AuditAction.CREATE
    details: dict[str, Any] = {"verb": verb or None, "query": request.query_string[:1_000] or None}
    if kind == "EXECUTION" and "executionId" not in own and "id" in own:
        details |= {"flowId": own.pop("id"), "namespace": own.pop("namespace", None)}
    details |= own
    if "by-ids" in verb:
        ids = request.get(NAMED, [])
        more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
        details["ids"] = ",".join(ids[:_MOST_IDS]) + more
    details.setdefault("id", own.get("executionId", own.get("triggerId", details.get("flowId"))))
    tenant = request[TENANT] if in_tenant else SYSTEM_TENANT
    request.app[AUDIT].record(tenant=tenant, action=action, resource=kind, actor=actor, details=details)
