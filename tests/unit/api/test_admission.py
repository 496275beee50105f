"""Every endpoint of the table against every kind of caller: who gets in and who does not (PERM-00)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer

from flowtide.api import admission
from flowtide.api.access import authorized_namespaces
from flowtide.api.admission import admit
from flowtide.api.keys import INDEX, LIVE_VIEW, SITE, Site
from flowtide.api.permissions import Caller, Place, all_rules, reference
from flowtide.api.problems import answer_problems
from flowtide.api.recognition import RECOGNITION
from flowtide.api.route import PATTERNS, PREFIX, Route
from flowtide.api.routes import ROUTES
from flowtide.api.unserved import unserved
from flowtide.model.access import SUPERADMIN_PERMISSIONS, TENANT_WIDE, Action, Permission
from tests.unit.api.identity_world import World

if TYPE_CHECKING:
    from flowtide.index.port import Index
    from flowtide.services.live_view import LiveView

HOME, AWAY = "company.team", "company.other"
_PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
Client = TestClient[web.Request, web.Application]

#: What the managed roles hold, written out here (IAM-08): C, R, U, D of each permission.
_SEEN = "FLOW EXECUTION TEMPLATE NAMESPACE KVSTORE DASHBOARD BLUEPRINT APP APPEXECUTION ASSET TEST"
_WRITTEN = "FLOW TEMPLATE KVSTORE DASHBOARD BLUEPRINT APP ASSET TEST AI_COPILOT"
VIEWER = dict.fromkeys(_SEEN.split(), "R")
LAUNCHER = {**VIEWER, "EXECUTION": "CRU", "APPEXECUTION": "RU"}
EDITOR = {**LAUNCHER, **dict.fromkeys(_WRITTEN.split(), "CRUD")}
DEVELOPER = {**EDITOR, **dict.fromkeys(["EXECUTION", "SECRET", "CREDENTIAL", "NAMESPACE"], "CRUD")}
MANAGED: dict[str, dict[str, str]] = {
    "viewer": VIEWER,
    "launcher": LAUNCHER,
    "editor": EDITOR,
    "developer": DEVELOPER,
    "admin": dict.fromkeys(map(str, Permission), "CRUD"),
}


async def _answer(request: web.Request) -> web.StreamResponse:
    """A handler that asks whose rows it shows, as those of the API do."""
    if request.headers.get("X-Asks"):
        authorized_namespaces(request)
    return web.Response()


async def _nothing(*_: object) -> None:
    """Nobody reads what was written here."""


@pytest.fixture
async def world() -> World:
    """People and no log."""
    return World()


@pytest.fixture
async def client(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """The table of routes with handlers that only answer."""
    app = web.Application(middlewares=[answer_problems, admit])
    app[SITE] = Site()
    app[RECOGNITION] = world.recognition
    header = {"namespace": HOME, "lastEvent": 1}
    live = SimpleNamespace(header=header, is_settled=True)
    app[LIVE_VIEW] = cast("LiveView", SimpleNamespace(get=lambda key: live, created=lambda key: None))
    app[INDEX] = cast("Index", SimpleNamespace())
    monkeypatch.setattr(admission, "own_writes_seen", lambda request, route: nullcontext())
    monkeypatch.setattr(admission, "note_own_write", _nothing)
    patterns: dict[str, Route] = {}
    for route in ROUTES:
        added = app.router.add_route(route.method, PREFIX + route.path, _answer)
        assert added.resource is not None
        patterns.setdefault(f"{route.method} {added.resource.canonical}", route)
    app[PATTERNS] = patterns
    async with TestClient(TestServer(app)) as client:
        yield client


def _url(route: Route) -> str:
    values = {"tenant": "main", "namespace": HOME}
    if "/namespaces/{id}" in route.path:
        values["id"] = HOME
    return PREFIX + _PARAMETER.sub(lambda match: values.get(match[1], "x1"), route.path)


async def _status(client: Client, route: Route, login: str | None, **headers: str) -> int:
    if login is not None:
        headers["Authorization"] = login
    async with client.request(route.method, _url(route), headers=headers) as response:
        return response.status


def _letters(actions: Any) -> set[str]:
    return {action.value[0] for action in actions}


def test_each_route_is_in_the_table() -> None:
    """A route without a line is for superadmins only; whoever adds one says what it asks."""
    missing = [f"{route.method} {route.path}" for route in ROUTES if route.permission is None]
    assert not missing, "add these to src/flowtide/api/permission_table.py"
    for route in ROUTES:
        assert route.permission is not None
        assert route.open == (route.permission.caller is Caller.OPEN), f"{route.method} {route.path}"
    assert len(list(all_rules())) > 350


def test_each_line_of_the_table_is_walked() -> None:
    """A line that no route answers to would be walked by no test: it is of what is said not to be served."""
    idle = []
    for rule in all_rules():
        if "*" in f"{rule.method} {rule.path}":
            continue
        walked = any(route.permission is rule or route.permission == rule for route in ROUTES)
        path = _PARAMETER.sub("x1", rule.path)
        if not walked and unserved(rule.method, path) is None:
            idle.append(f"{rule.method} {rule.path}")
    assert not idle


def test_the_reference_of_permissions_is_up_to_date() -> None:
    """The page is what `make docs` writes from the table."""
    file = Path(__file__).parents[3] / "docs" / "reference" / "permissions.md"
    assert file.read_text(encoding="utf-8") == reference()


async def test_nobody_comes_in_without_a_login(client: Client) -> None:
    """Without a login every endpoint answers 401, but for those that are open."""
    for route in ROUTES:
        status = await _status(client, route, None)
        assert (status == 200) is route.open, f"{route.method} {route.path} {status}"
        assert status in (200, 401)


@pytest.mark.parametrize("name", sorted(MANAGED))
async def test_managed_roles_do_what_they_are_for(client: Client, world: World, name: str) -> None:
    """Each endpoint with each managed role: allowed exactly when the role holds what the endpoint needs."""
    login = world.person(name)
    world.bind(name, name)
    held = {permission: set(letters) for permission, letters in MANAGED[name].items()}
    for route in ROUTES:
        rule = route.permission
        assert rule is not None
        allowed = rule.caller in (Caller.OPEN, Caller.LOGIN, Caller.TENANT) or (
            rule.caller is Caller.PERMITTED
            and all(
                _letters(need.actions) <= held.get(need.permission, set())
                if need.every
                else _letters(need.actions) & held.get(need.permission, set())
                for need in rule.needs
            )
        )
        expected = 200 if allowed else 403
        status = await _status(client, route, login, **{"X-Asks": "1"})
        assert status == expected, f"{route.method} {route.path} as {name}"


async def test_exactly_what_is_needed_is_enough_and_anything_else_is_not(
    client: Client, world: World
) -> None:
    """A role with just the needed actions gets in; one with everything but them does not."""
    for number, route in enumerate(ROUTES):
        rule = route.permission
        assert rule is not None
        if rule.caller is not Caller.PERMITTED:
            continue
        where = f"{route.method} {route.path}"
        chosen = {
            need.permission: need.actions if need.every else frozenset(sorted(need.actions)[:1])
            for need in rule.needs
        }
        exact, without = f"exact{number}", f"without{number}"
        login = world.person(exact)
        world.bind(exact, world.role(exact, chosen))
        assert await _status(client, route, login, **{"X-Asks": "1"}) == 200, where
        need = rule.needs[0]
        rest = {permission: frozenset(Action) for permission in Permission}
        rest[need.permission] = frozenset(Action) - (
            frozenset(sorted(need.actions)[:1]) if need.every else need.actions
        )
        login = world.person(without)
        world.bind(without, world.role(without, rest))
        assert await _status(client, route, login, **{"X-Asks": "1"}) == 403, where


async def test_a_binding_to_a_namespace_counts_there_and_below_only(client: Client, world: World) -> None:
    """Bound to another namespace: refused where the namespace is named; bound above: let in (IAM-03)."""
    everything = world.role("everything", {permission: frozenset(Action) for permission in Permission})
    away, near, above = world.person("away"), world.person("near"), world.person("above")
    world.bind("away", everything, AWAY)
    world.bind("near", everything, HOME[:-1])  # `company.tea` is not above `company.team`
    world.bind("above", everything, "company")
    for route in ROUTES:
        rule = route.permission
        assert rule is not None
        if rule.caller is not Caller.PERMITTED:
            continue
        where = f"{route.method} {route.path}"
        fits = rule.place in (Place.ROWS, Place.NOWHERE)
        for login in (away, near):
            assert await _status(client, route, login, **{"X-Asks": "1"}) == (200 if fits else 403), where
        wide = rule.place is Place.TENANT
        assert await _status(client, route, above, **{"X-Asks": "1"}) == (403 if wide else 200), where
        if any(need.permission in TENANT_WIDE for need in rule.needs):
            assert wide, where


async def test_a_form_that_starts_a_flow_called_like_a_verb_needs_what_a_creation_needs(
    client: Client, world: World
) -> None:
    """A form to `/executions/company.team/labels` starts a flow (page 466): CREATE in that namespace counts."""
    path = f"{PREFIX}/main/executions/{HOME}/labels"
    for name, action, expected in (
        ("starter", Action.CREATE, (200, 403)),
        ("changer", Action.UPDATE, (403, 200)),
    ):
        login = world.person(name)
        world.bind(name, world.role(name, {Permission.EXECUTION: frozenset({action})}), HOME)
        headers = {"Authorization": login}
        form = FormData(default_to_multipart=True)
        form.add_field("input", "value")
        async with (
            client.post(path, data=form, headers=headers) as of_form,
            client.post(path, json=[], headers=headers) as of_json,
        ):
            assert (of_form.status, of_json.status) == expected, name


async def test_the_answer_of_a_handler_that_forgets_to_ask_is_withheld(client: Client, world: World) -> None:
    """Who is bound to a namespace never sees rows that nobody looked at."""
    everything = world.role("everything", {permission: frozenset(Action) for permission in Permission})
    bound, free = world.person("bound"), world.person("free")
    world.bind("bound", everything, HOME)
    world.bind("free", everything)
    for route in ROUTES:
        rule = route.permission
        assert rule is not None
        if rule.place is Place.ROWS:
            assert await _status(client, route, bound) == 403, route.path
            assert await _status(client, route, free) == 200, route.path


async def test_a_superadmin_manages_people_and_nothing_else(client: Client, world: World) -> None:
    """Without a binding: users, roles, groups, tenants; no flow, no execution (IAM-09, IAM-10, TRAP-04)."""
    login = world.person("root", super_admin=True, tenant=None)
    for route in ROUTES:
        rule = route.permission
        assert rule is not None
        needed = {need.permission for need in rule.needs}
        expected = 200 if not needed or needed <= SUPERADMIN_PERMISSIONS else 403
        assert await _status(client, route, login) == expected, f"{route.method} {route.path}"


async def test_a_tenant_is_entered_by_who_was_let_in(client: Client, world: World) -> None:
    """A role in a tenant is worth nothing without access to it; an unknown tenant is not found (TEN-03)."""
    login = world.person("outside", tenant=None)
    world.bind("outside", "admin")
    headers = {"Authorization": login}
    async with client.get("/api/v1/main/flows/search", headers=headers) as response:
        assert response.status == 403
    for name in ("red", "..", "%2e%2e", "main%2F..", "main%252F", "_system", "MAIN"):
        async with client.get(f"/api/v1/{name}/flows/search", headers=headers) as response:
            assert response.status in (403, 404), name
    async with client.get("/api/v1/main/../users", headers=headers) as response:
        assert response.status == 403


async def test_what_was_bound_on_another_server_counts_at_once(client: Client, world: World) -> None:
    """A refusal is decided after everything was read that was saved before the request."""
    login = world.person("late")
    before = world.saved.caught_up

    async def arrives() -> None:
        world.saved.caught_up += 1
        world.bind("late", "viewer")

    world.saved.catch_up = arrives  # type: ignore[method-assign]  # what another server saved arrives now
    headers = {"Authorization": login, "X-Asks": "1"}
    async with client.get("/api/v1/main/flows/search", headers=headers) as response:
        assert response.status == 200
    assert world.saved.caught_up == before + 1


async def test_a_page_of_another_origin_changes_nothing(client: Client, world: World) -> None:
    """A cookie is taken for changes from our own pages only; a header is, from everywhere (CSRF)."""
    world.person("browser", super_admin=True)
    session_id, _, session = await world.directory.open_session(
        "browser", lifetime=world.recognition.security.session_lifetime
    )
    token, _ = await world.tokens.sign("browser", session_id, session.expires)
    own = str(client.make_url("/")).rstrip("/")
    for headers, expected in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Referer": "https://evil.example/x"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": f"{own}.evil.example"}, 403),
        ({"Origin": own}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ):
        sent = {**headers, "Cookie": f"JWT={token}"}
        async with client.post("/api/v1/users", headers=sent) as response:
            assert response.status == expected, headers
        async with client.get("/api/v1/users", headers=sent) as response:
            assert response.status == 200
        sent = {**headers, "Authorization": f"Bearer {token}"}
        async with client.post("/api/v1/users", headers=sent) as response:
            assert response.status == 200


async def test_nobody_becomes_more_than_they_are_by_acting_as_somebody(client: Client, world: World) -> None:
    """The header needs IMPERSONATE in the tenant; a superadmin is acted as by superadmins only (TRAP-42)."""
    root, helper, other = (
        world.person("root", super_admin=True),
        world.person("helper"),
        world.person("other"),
    )
    viewer = world.person("viewer")
    world.bind("viewer", "viewer")
    may = frozenset({Action.READ})
    world.bind("helper", world.role("helping", {Permission.IMPERSONATE: may}))
    for login, wanted, path, expected in (
        (helper, "viewer", "/main/flows/search", 200),
        (helper, "root", "/main/groups/search", 403),
        (helper, "viewer", "/users", 403),
        (helper, "root", "/users", 403),
        (other, "viewer", "/main/flows/search", 403),
        (viewer, "helper", "/main/flows/search", 403),
        (root, "viewer", "/main/flows/search", 200),
        (root, "viewer", "/users", 403),
        (root, "nobody", "/users", 403),
    ):
        headers = {"Authorization": login, "X-Kestra-Impersonate": f"{wanted}@example.org", "X-Asks": "1"}
        async with client.get(PREFIX + path, headers=headers) as response:
            assert response.status == expected, (wanted, path)
