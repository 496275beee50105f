"""Tenants never mix: acts in two tenants at once, then every endpoint that lists or reads is asked from both sides."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowtide.api.route import Route
from flowtide.api.routes import ROUTES
from flowtide.testing.servers import kafka_shape
from tests.integration.installation import installed
from tests.integration.outside import remove_topics_and_indices
from tests.integration.tenant_world import CHART, DASHBOARD, FLOW, NAMESPACE, Tenant, make_tenant, words_of

_ACTS = 5
_SEED = 7

PARAMETERS: Mapping[str, str] = {
    "namespace": NAMESPACE,
    "flowId": "work",
    "key": "colour",
    "taskId": "give",
    "triggerId": "yearly",
    "metric": "count",
    "number": "1",
    "name": "crm",
    "chartId": "table",
    "kind": "flow",
    "email": "<email>",
    "executionId": "<executionId>",
    "taskRunId": "<taskRunId>",
    "userId": "<user>",
    "detailId:.+": "flow",
    "integration": "<integration>",
    "path:.+": "further",
}
"""What stands for a parameter of a path; `<name>` is known of the tenant that is asked for."""

IDENTIFIERS: Mapping[str, str] = {
    "flows": "work",
    "executions": "work",
    "templates": "work",
    "namespaces": NAMESPACE,
    "dashboards": "board",
    "auditlogs": "<audit>",
    "credentials": "crm",
    "service-accounts": "<account>",
    "groups": "<group>",
    "roles": "<role>",
    "bindings": "<binding>",
    "invitations": "<invitation>",
    "security-integrations": "<integration>",
    "integrations": "<user>",
    "blueprints": "<blueprint>",
}
"""What `{id}` is, by the first part of the path."""

OF_INSTANCE = (
    "/plugins", "/pebble", "/instance", "/cluster", "/banners", "/kill-switches", "/auditlogs", "/me", "/users",
    "/service-accounts", "/tenants", "/invitation", "/setup", "/license", "/configs", "/auths", "/basicAuth",
    "/worker-groups", "/password-reset", "/openapi",
)  # fmt: skip  # reads better as a paragraph
"""Of no tenant: a member of one must not find another one there either.  What they ask for is the other's."""
INSTANCE_IDENTIFIERS: Mapping[str, str] = {
    "users": "<user>",
    "tenants": "<tenant>",
    "service-accounts": "<account>",
}

QUERIES: Mapping[str, str] = {
    "/{tenant}/executions": "?namespace=shared.team&flowId=work",
    "/{tenant}/flows/source": "?q=needle",
    "/{tenant}/executions/distinct-field-values": "?field=flowId",
    "/{tenant}/executions/{executionId}/file": "?path=<file>",
    "/{tenant}/executions/{executionId}/file/metas": "?path=<file>",
    "/{tenant}/executions/{executionId}/file/preview": "?path=<file>",
    "/{tenant}/namespaces/{namespace}/files": "?path=/a.txt",
    "/{tenant}/namespaces/{namespace}/files/stats": "?path=/a.txt",
    "/{tenant}/namespaces/{namespace}/files/revisions": "?path=/a.txt",
    "/{tenant}/namespaces/{namespace}/files/search": "?q=a",
}

BODIES: Mapping[str, Any] = {
    "/{tenant}/executions/latest": [{"namespace": NAMESPACE, "id": "work"}],
    "/{tenant}/executions/{executionId}/eval": "{{ inputs.name }} {{ outputs.give.value }}",
    "/{tenant}/executions/{executionId}/eval/{taskRunId}": "{{ inputs.name }}",
    "/{tenant}/executions/{executionId}/actions/eval": "{{ inputs.name }}",
    "/{tenant}/executions/{executionId}/actions/eval/{taskRunId}": "{{ inputs.name }}",
    "/{tenant}/executions/{executionId}/resume/validate": None,
    "/{tenant}/executions/{executionId}/actions/resume/validate": None,
    "/{tenant}/executions/{namespace}/{id}/validate": None,
    "/{tenant}/flows/validate": FLOW,
    "/{tenant}/flows/validate/task": "{id: a, type: io.kestra.plugin.core.log.Log, message: m}",
    "/{tenant}/flows/validate/trigger": "{id: a, type: io.kestra.plugin.core.trigger.Schedule, cron: '* * * * *'}",
    "/{tenant}/flows/hashes/by-ids": [{"namespace": NAMESPACE, "id": "work"}],
    "/{tenant}/flows/export/by-ids": [{"namespace": NAMESPACE, "id": "work"}],
    "/{tenant}/flows/graph": FLOW,
    "/{tenant}/flows/expressions": FLOW,
    "/{tenant}/templates/validate": "id: a",
    "/{tenant}/templates/export/by-ids": [{"namespace": NAMESPACE, "id": "work"}],
    "/{tenant}/auditlogs/find": {"resource": "FLOW"},
    "/{tenant}/namespaces/autocomplete": {"q": ""},
    "/{tenant}/namespaces/{id}/plugindefaults/export": {},
    "/{tenant}/dashboards/validate": DASHBOARD,
    "/{tenant}/dashboards/validate/chart": CHART,
    "/{tenant}/dashboards/charts/preview": {"chart": CHART, "globalFilter": {}},
    "/{tenant}/dashboards/charts/export/to-csv": {"chart": CHART, "globalFilter": {}},
    "/{tenant}/dashboards/charts/export": {"chart": CHART, "globalFilter": {}},
    "/{tenant}/dashboards/{id}/charts/{chartId}": {},
    "/{tenant}/dashboards/{id}/charts/{chartId}/export/to-csv": {},
    "/{tenant}/dashboards/{id}/charts/{chartId}/export": {},
    "/{tenant}/tenant-access/autocomplete": {"q": ""},
    "/{tenant}/groups/autocomplete": {"q": ""},
    "/{tenant}/groups/ids": {"ids": ["<group>"]},
    "/{tenant}/roles/autocomplete": {"q": ""},
    "/{tenant}/roles/ids": {"ids": ["<role>"]},
}
"""What is no GET and reads: its body."""

_READS = re.compile(
    r"/(search|export|find|validate|autocomplete|latest|eval|graph|expressions|hashes|preview|ids|to-csv)(/|$)|/charts/"
)
_SHOWN_AT_LEAST = 55  # endpoints that must show the tenant's own word, or the walk would prove nothing


def _walked() -> list[Route]:
    """Every route that lists or reads; what is neither in BODIES nor a GET changes something."""
    return [
        route
        for route in ROUTES
        if route.method == "GET" or (route.path in BODIES and route.method == "POST")
    ]


def test_every_route_that_reads_is_in_the_walk() -> None:
    """A new endpoint must say here what its parameters are, and what is sent to it."""
    left = [
        f"{route.method} {route.path}"
        for route in ROUTES
        if route.method != "GET"
        and _READS.search(route.path)
        and route.path not in BODIES
        and route.method == "POST"
    ]
    assert left == []
    for route in _walked():
        _place(route)


def _place(route: Route) -> str:
    """The path with what stands for its parameters."""
    path = route.path
    first = path.removeprefix("/{tenant}").lstrip("/").partition("/")[0]
    if not path.startswith("/{tenant}/"):
        assert path.startswith(OF_INSTANCE), f"say of {path} whether it is of the instance"

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name == "tenant":
            return "{tenant}"
        if name == "id" and path.startswith("/{tenant}/"):
            assert first in IDENTIFIERS, f"say what {{id}} is in {path}"
            return IDENTIFIERS[first]
        if not path.startswith("/{tenant}/"):
            return INSTANCE_IDENTIFIERS.get(first, "<tenant>")
        assert name in PARAMETERS, f"say what {{{name}}} is in {path}"
        return PARAMETERS[name]

    return re.sub(r"\{([^}]+)\}", value, path) + QUERIES.get(path, "")


async def _walk(one: Tenant, other: Tenant, *, closed: bool) -> set[str]:
    """Ask every endpoint as a member of one tenant; gives those that show its own word.

    In the own tenant with the own names and with those of the other one, with `closed` in the other tenant with either;
    nowhere the other one's word is found, and its paths are closed.
    """
    shown: set[str] = set()
    gate = asyncio.Semaphore(8)
    foreign = other.word.casefold()

    async def ask(route: Route, tenant: Tenant, names: Tenant) -> None:
        path = names.said(_place(route)).replace("{tenant}", tenant.name)
        if "/webhook/" in path:
            path = path.replace("/colour", f"/{names.word}-key-of-a-length")
        body = None if route.method == "GET" else names.said(BODIES[route.path])
        if tenant is other and route.path.startswith("/{tenant}/executions/webhook"):
            return  # who knows the key may call it
        # What was sent comes back in messages; only what was not sent tells of the other tenant.
        sent = f"{path} {body}".casefold()
        async with gate:
            answer = await one.member.ask(route.method, path, body, allow_redirects=False)
        words = words_of(answer)
        assert answer.status < 500, (route.path, answer.status, answer.text[:300])
        if foreign not in sent:
            assert foreign not in words, (route.method, path, answer.status, answer.text[:500])
        if route.path.startswith("/{tenant}/") and tenant is other and not route.open:
            assert answer.status in (401, 403, 404), (route.method, path, answer.status)
            assert foreign not in words.replace(path.casefold(), ""), (route.method, path, answer.text[:500])
        if tenant is one and names is one and answer.status == 200 and one.word.casefold() in words:
            shown.add(f"{route.method} {route.path}")

    places = [(one, one), (one, other), *([(other, other), (other, one)] if closed else [])]
    for tenant, names in places:
        await asyncio.gather(*(ask(route, tenant, names) for route in _walked()))
    return shown


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def backends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mapping[str, Any]]:
    """The settings of the log and the index: in files, and real ones with topics and indices of their own."""
    if request.param == "embedded":
        yield {}
        return
    kafka, url = request.getfixturevalue("kafka_address"), request.getfixturevalue("elasticsearch_url")
    prefix = f"test_tenants_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(tmp_path, kafka=kafka, elasticsearch=url, prefix=prefix, partitions=1)
    yield {**shape.overrides, "indexer.batch-duration": "PT0.05S"}
    await asyncio.to_thread(remove_topics_and_indices, kafka, url, prefix)


async def test_no_tenant_sees_another_one(tmp_path: Path, backends: Mapping[str, Any]) -> None:
    """Both have the same names of everything and act at once; whatever is asked, and with whose identifiers, a member
    of one sees their own and never the other's.
    """
    more = {**backends, "kestra.url": "http://flowtide.example.org"}
    async with installed(tmp_path, more) as found:
        tenants = [await make_tenant(found.admin, name, _SEED) for name in ("alpha", "beta")]
        await asyncio.gather(*(tenant.act(_ACTS) for tenant in tenants))
        alpha, beta = tenants
        # Who is let in does not depend on log and index, so one side and what it may enter is enough there.
        for one, other in ((alpha, beta),) if backends else ((alpha, beta), (beta, alpha)):
            shown = await _walk(one, other, closed=not backends)
            assert len(shown) >= _SHOWN_AT_LEAST, sorted(shown)
