"""Every route that is no GET against the middleware of the audit log: it is noted, or said not to be, with a reason."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from flowtide.api.access import PRINCIPAL
from flowtide.api.auditing import QUIET, audit
from flowtide.api.keys import AUDIT, SITE, TENANT, USER, Site
from flowtide.api.route import PATTERNS, PREFIX, Route
from flowtide.api.routes import ROUTES
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.access import Principal
from flowtide.services.trail import TRAIL

Client = TestClient[web.Request, web.Application]
_PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")

#: What needs no login and changes something: who it is noted as.
OPEN = {
    "POST /setup": "the first user, by the handler",
    "POST /{tenant}/basicAuth": "the first login, by the handler",
    "POST /invitation/create/{invitationId}": "who accepts the invitation, by the handler",
    "POST /password-reset": "the user, when a mail is sent",
    "POST /password-reset/confirm": "the user, by the handler",
}
WEBHOOK = "/{tenant}/executions/webhook/"  # the execution says which trigger started it, with what


@dataclass
class Written:
    """An audit log that remembers."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def record(self, **entry: Any) -> None:
        """Keep an entry."""
        self.entries.append(entry)


@pytest.fixture
def written() -> Written:
    """What was noted."""
    return Written()


@pytest.fixture
async def client(written: Written) -> AsyncIterator[Client]:
    """The table of routes with handlers that save nothing, and somebody who is logged in."""

    @web.middleware
    async def logged_in(request: web.Request, handler: Any) -> web.StreamResponse:
        request[TENANT] = request.match_info.get("tenant", "main")
        request[USER] = "u@b.org"
        request[PRINCIPAL] = Principal(id="u", name="u@b.org", impersonator=request.headers.get("X-Acts"))
        return cast("web.StreamResponse", await handler(request))

    async def answer(request: web.Request) -> web.StreamResponse:
        if "X-Saves" in request.headers:
            trail = TRAIL.get()
            assert trail is not None
            trail.recorded = True
        return web.Response(status=int(request.headers.get("X-Status", "200")))

    app = web.Application(middlewares=[logged_in, audit])
    app[SITE] = Site(client_address_header="X-Real-IP")
    app[AUDIT] = cast("Any", written)
    patterns: dict[str, Route] = {}
    for route in ROUTES:
        added = app.router.add_route(route.method, PREFIX + route.path, answer)
        assert added.resource is not None
        patterns.setdefault(f"{route.method} {added.resource.canonical}", route)
    app[PATTERNS] = patterns
    async with TestClient(TestServer(app)) as client:
        yield client


def _url(path: str) -> str:
    return PREFIX + _PARAMETER.sub(lambda match: "red" if match[1] == "tenant" else "x1", path)


async def test_each_route_that_changes_something_is_noted(client: Client, written: Written) -> None:
    """AUD-01: whatever is no GET has an entry with who, what and from where, or stands in the list with a reason."""
    problems = []
    for route in ROUTES:
        written.entries.clear()
        async with client.request(
            route.method, _url(route.path), headers={"X-Acts": "boss@b.org", "X-Real-IP": "10.1.2.3"}
        ) as response:
            assert response.status == 200
        name = f"{route.method} {route.path}"
        if route.method == "GET" or name in QUIET:
            problems += [f"{name} is noted"] if written.entries else []
        elif len(written.entries) != 1:
            problems.append(f"{name} has {len(written.entries)} entries")
        else:
            entry = written.entries[0]
            tenant = "red" if route.path.startswith("/{tenant}") else SYSTEM_TENANT
            actor = entry["actor"]
            assert (entry["tenant"], actor.id, actor.impersonated_by) == (tenant, "u@b.org", "boss@b.org"), (
                name
            )
            assert actor.ip_address == "10.1.2.3"
            assert re.fullmatch(r"[A-Z][A-Z_]+[A-Z]", entry["resource"]), f"{name}: {entry['resource']}"
    assert not problems


async def test_what_was_saved_or_refused_is_not_noted_again(client: Client, written: Written) -> None:
    """The processor that saves writes the entry of a change; what failed changed nothing."""
    for headers in ({"X-Saves": "1"}, {"X-Status": "409"}):
        async with client.request("POST", _url("/{tenant}/executions/{executionId}/pause"), headers=headers):
            assert not written.entries


def test_the_lists_name_routes_that_there_are() -> None:
    """No reason is kept for a route that is gone, and each route without a login is accounted for."""
    there = {f"{route.method} {route.path}" for route in ROUTES}
    assert set(QUIET) <= there
    assert all(reason for reason in QUIET.values())
    opened = {
        f"{route.method} {route.path}"
        for route in ROUTES
        if route.open and route.method != "GET" and not route.path.startswith(WEBHOOK)
    }
    assert opened == set(OPEN)
