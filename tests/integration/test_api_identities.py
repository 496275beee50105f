"""Users, tenants and what they see, over a real socket: set-up, logins, tokens, and who is bound to a namespace."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from flowtide.api.recognition import RECOGNITION, Recognition
from flowtide.api.route import PREFIX
from flowtide.api.routes import ROUTES
from flowtide.model.identity import Binding, BindingType
from flowtide.services.identity import Directory
from tests.integration.api_system import System, running

PASSWORD = "Strong123"
OWN, FOREIGN = "company.team", "company.other"
PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
LOGGING = f"""
id: hello
namespace: {OWN}
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: hello
"""
YAML = {"Content-Type": "application/x-yaml"}


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    """The header of a login."""
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def directory_of(system: System) -> Directory:
    """What changes identities in the running application."""
    app = system.client.app
    assert app is not None
    recognition: Recognition = app[RECOGNITION]
    return recognition.directory


async def asked(
    client: Any,
    method: str,
    path: str,
    expected: int = 200,
    *,
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Any:
    """The answer to a request, which must have this status."""
    async with client.request(method, path, headers=headers, **body) as response:
        text = await response.text()
        assert response.status == expected, f"{method} {path}: {response.status} {text[:500]}"
        return await response.json() if text.startswith(("{", "[")) else text


async def test_the_first_user_is_set_up_once_and_logs_in_and_out(tmp_path: Path) -> None:
    """Set-up, session, tokens, impersonation and logging out as a client of 1.3 does them (catalogue H)."""
    async with running(tmp_path, with_executor=False, username=None, password=None) as system:
        browser: Any = TestClient(system.client.server, cookie_jar=CookieJar(unsafe=True))
        first = {"username": "a@b.org", "password": PASSWORD, "tenant": {"id": "blue", "name": "Blue"}}
        begun = await asked(browser, "GET", "/api/v1/setup")
        assert not begun["done"]
        assert begun["haveAuthNotBasic"] is False
        await asked(browser, "POST", "/api/v1/setup", 422, json={**first, "password": "weak"})
        await asked(browser, "POST", "/api/v1/setup", json=first)
        await asked(browser, "POST", "/api/v1/setup", 405, json={**first, "username": "x@b.org"})
        other = {"username": "x@b.org", "password": PASSWORD}
        await asked(browser, "POST", "/api/v1/main/basicAuth", 409, json=other)
        assert (await asked(browser, "GET", "/api/v1/configs"))["isBasicAuthInitialized"]
        await asked(browser, "POST", "/login", 401, json={**first, "password": "wrong"})
        await asked(browser, "GET", "/api/v1/me", 401)
        await asked(browser, "POST", "/login", json={"username": "a@b.org", "password": PASSWORD})
        me = await asked(browser, "GET", "/api/v1/me")
        assert me["superAdmin"]
        assert [tenant["id"] for tenant in me["tenants"]] == ["blue", "main"]
        made = await asked(browser, "POST", "/api/v1/me/api-tokens", json={"name": "ci", "maxAge": "P1D"})
        token = {"Authorization": f"Bearer {made['fullToken']}"}
        await asked(system.stranger, "GET", "/api/v1/blue/flows/search", headers=token)
        listed = await asked(browser, "GET", "/api/v1/me/api-tokens")
        assert made["fullToken"] not in str(listed)
        user = await asked(
            browser, "POST", "/api/v1/users", 201,
            json={"email": "u@b.org", "password": PASSWORD, "tenants": ["blue"]},
        )  # fmt: skip  # reads better as a paragraph
        await asked(browser, "POST", "/api/v1/users", 409, json={"email": "U@b.org"})
        await asked(system.stranger, "GET", "/api/v1/users", 403, headers=basic("u@b.org"))
        await asked(system.stranger, "GET", "/api/v1/main/kv", 403, headers=basic("u@b.org"))
        await asked(browser, "POST", "/oauth/access_token")
        assert (await asked(browser, "GET", "/api/v1/me"))["id"] == me["id"]
        await asked(browser, "POST", f"/api/v1/users/{user['id']}/impersonate")
        acting = await asked(browser, "GET", "/api/v1/me")
        assert (acting["id"], acting["impersonatedBy"]) == (user["id"], "a@b.org")
        await asked(browser, "POST", "/api/v1/me/api-tokens", 403, json={"name": "left"})
        kept = browser.session.cookie_jar.filter_cookies(browser.make_url("/"))["JWT"].value
        await asked(browser, "POST", "/logout")
        held = {"Authorization": f"Bearer {kept}"}
        await asked(system.stranger, "GET", "/api/v1/me", 401, headers=held)
        await asked(system.stranger, "DELETE", f"/api/v1/users/{user['id']}", 204, headers=token)
        await asked(system.stranger, "GET", "/api/v1/me", 401, headers=basic("u@b.org"))
        await browser.session.close()


async def test_tenants_come_and_go_with_what_is_in_them(tmp_path: Path) -> None:
    """Who makes one is its administrator (TEN-09); a deleted one is not found, its id taken until it is empty."""
    async with running(tmp_path, with_executor=False) as system:
        client = system.client
        await asked(client, "POST", "/api/v1/tenants", json={"id": "red", "name": "Red", "deleted": False})
        for wrong in ("RED", "a/b", "..", "_system", "flows", "users", "x" * 65):
            await asked(client, "POST", "/api/v1/tenants", 422, json={"id": wrong, "name": "x"})
        await asked(client, "POST", "/api/v1/tenants", 409, json={"id": "main", "name": "x"})
        await asked(
            client, "POST", "/api/v1/tenants", 422, json={"id": "s", "name": "s", "storageType": "s3"}
        )
        await asked(client, "GET", "/api/v1/red/flows/search")
        user = await asked(
            client, "POST", "/api/v1/users", 201,
            json={"email": "u@b.org", "password": PASSWORD, "tenants": ["red"]},
        )  # fmt: skip  # reads better as a paragraph
        binding = Binding(type=BindingType.USER, external_id=user["id"], role_id="admin")
        await directory_of(system).bind("red", binding)
        own = basic("u@b.org")
        flow = LOGGING
        await asked(system.stranger, "POST", "/api/v1/red/flows", headers={**own, **YAML}, data=flow)
        await asked(system.stranger, "GET", f"/api/v1/red/flows/{OWN}/hello", headers=own)
        await asked(client, "GET", f"/api/v1/main/flows/{OWN}/hello", 404)
        assert (await asked(client, "GET", "/api/v1/main/flows/search"))["total"] == 0
        access = await asked(system.stranger, "GET", f"/api/v1/red/tenant-access/{user['id']}", headers=own)
        assert [role["name"] for role in access["roles"]] == ["Admin"]
        await asked(client, "PUT", "/api/v1/tenants/red", json={"id": "red", "name": "Rot", "deleted": False})
        assert (await asked(client, "GET", "/api/v1/tenants/search"))["total"] == 2
        await asked(client, "DELETE", "/api/v1/tenants/red", 204)
        await asked(client, "GET", "/api/v1/tenants/red", 404)
        await asked(system.stranger, "GET", "/api/v1/red/flows/search", 404, headers=own)
        await asked(client, "POST", "/api/v1/tenants", 409, json={"id": "red", "name": "Red"})
        await asked(client, "DELETE", "/api/v1/tenants/main", 409)


async def test_who_is_bound_to_a_namespace_sees_and_changes_it_only(tmp_path: Path) -> None:
    """Lists leave the rest out, single things answer 403, and a bulk request with a foreign one does nothing."""
    async with running(tmp_path) as system:
        client = system.client
        ids = {}
        for namespace in (OWN, FOREIGN):
            flow = (
                f"id: hello\nnamespace: {namespace}\n"
                "tasks: [{id: wait, type: io.kestra.plugin.core.flow.Pause}]\n"
                "triggers: [{id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: '0 0 * * *'}]\n"
            )
            await asked(client, "POST", "/api/v1/main/flows", headers=YAML, data=flow)
            await asked(client, "PUT", f"/api/v1/main/namespaces/{namespace}/kv/k", data="1")
            ids[namespace] = (await asked(client, "POST", f"/api/v1/main/executions/{namespace}/hello"))["id"]
            await system.until(
                f"/api/v1/main/executions/{ids[namespace]}", lambda body: body["state"]["current"] == "PAUSED"
            )
        await system.indexed()
        user = await asked(
            client, "POST", "/api/v1/users", 201,
            json={"email": "u@b.org", "password": PASSWORD, "tenants": ["main"]},
        )  # fmt: skip  # reads better as a paragraph
        binding = Binding(type=BindingType.USER, external_id=user["id"], role_id="developer", namespace=OWN)
        await directory_of(system).bind("main", binding)
        own: dict[str, Any] = {"headers": basic("u@b.org")}
        bound, base = system.stranger, "/api/v1/main"
        for path in ("/flows/search", "/executions/search", "/kv", "/namespaces/search"):
            results = (await asked(bound, "GET", base + path, **own))["results"]
            places = {each.get("namespace", each.get("id")) for each in results}
            assert places == {OWN}, path
        assert await asked(bound, "GET", base + "/flows/distinct-namespaces", **own) == [OWN]
        mine, theirs = ids[OWN], ids[FOREIGN]
        await asked(bound, "GET", f"{base}/executions/{mine}", **own)
        for method, path in (
            ("GET", f"/flows/{FOREIGN}/hello"),
            ("DELETE", f"/flows/{FOREIGN}/hello"),
            ("GET", f"/executions/{theirs}"),
            ("DELETE", f"/executions/{theirs}/kill"),
            ("GET", f"/logs/{theirs}"),
            ("GET", f"/namespaces/{FOREIGN}/kv/k"),
            ("GET", f"/namespaces/{FOREIGN}/kv"),
            ("GET", f"/namespaces/{FOREIGN}/files?path=/a"),
            ("POST", f"/executions/{FOREIGN}/hello"),
            ("GET", "/dashboards"),
            ("GET", "/groups/search"),
        ):
            async with bound.request(method, base + path, **own) as response:
                assert response.status in (403, 404), path
                assert response.status == 403 or "groups" in path, path
        foreign = {"namespace": FOREIGN, "flowId": "hello", "triggerId": "daily"}
        source = LOGGING.replace(OWN, FOREIGN)
        for method, path, body in (
            ("DELETE", "/executions/kill/by-ids", {"json": [mine, theirs]}),
            ("POST", "/executions/resume/by-ids", {"json": [theirs]}),
            (
                "POST",
                "/executions/labels/by-ids",
                {"json": {"executionsId": [theirs], "executionLabels": [{"key": "a", "value": "b"}]}},
            ),
            ("DELETE", "/executions/by-ids", {"json": [theirs]}),
            ("DELETE", "/flows/delete/by-ids", {"json": [{"namespace": FOREIGN, "id": "hello"}]}),
            ("POST", "/flows/disable/by-ids", {"json": [{"namespace": FOREIGN, "id": "hello"}]}),
            ("PUT", "/triggers", {"json": {**foreign, "disabled": False}}),
            ("POST", "/triggers/unlock/by-triggers", {"json": [foreign]}),
            ("POST", "/namespaces", {"json": {"id": "company.third"}}),
            ("POST", "/flows", {"data": source, "headers": {**own["headers"], **YAML}}),
        ):
            await asked(bound, method, base + path, 403, **{**own, **body})
        counted = await asked(bound, "DELETE", base + "/executions/kill/by-query?state=PAUSED", **own)
        assert counted["count"] == 1
        await system.until(f"{base}/executions/{mine}", lambda body: body["state"]["current"] == "KILLED")
        other = await asked(client, "GET", f"{base}/executions/{theirs}")
        assert other["state"]["current"] == "PAUSED"
        assert (await asked(client, "GET", f"{base}/flows/{FOREIGN}/hello"))["disabled"] is False


async def test_nothing_of_one_tenant_is_seen_through_any_endpoint_of_another(tmp_path: Path) -> None:
    """Every endpoint that reads, asked in `main` for the things of `red` by their ids, never answers with them."""
    async with running(tmp_path) as system:
        client = system.client
        await asked(client, "POST", "/api/v1/tenants", json={"id": "red", "name": "Red", "deleted": False})
        me = await asked(client, "GET", "/api/v1/me")
        await directory_of(system).grant_access("red", me["id"])
        binding = Binding(type=BindingType.USER, external_id=me["id"], role_id="admin")
        await directory_of(system).bind("red", binding)
        known = "known.space"  # what the paths below name; what they must not show is called unseen
        flow = LOGGING.replace(OWN, known) + "description: unseen\nlabels: {unseen: unseen}\n"
        flow = flow.replace("message: hello", "message: unseen")
        await asked(client, "POST", "/api/v1/red/flows", headers=YAML, data=flow)
        other = flow.replace("id: hello", "id: unseen").replace(known, "unseen.space")
        await asked(client, "POST", "/api/v1/red/flows", headers=YAML, data=other)
        for namespace, key in ((known, "known"), ("unseen.space", "unseen")):
            await asked(client, "PUT", f"/api/v1/red/namespaces/{namespace}/kv/{key}", data='"unseen"')
        started = await asked(client, "POST", f"/api/v1/red/executions/{known}/hello")
        execution = f"/api/v1/red/executions/{started['id']}"
        await system.until(execution, lambda body: body["state"]["current"] == "SUCCESS")
        values = {
            "tenant": "main", "namespace": known, "executionId": started["id"], "flowId": "hello", "key": "known",
        }  # fmt: skip  # reads better as a paragraph
        looked, shown = 0, 0
        for route in ROUTES:
            if route.method != "GET" or not route.path.startswith("/{tenant}") or "follow" in route.path:
                continue
            for own in ("hello", known, started["id"]):
                names = {name: values.get(name, own) for name in PARAMETER.findall(route.path)}
                for tenant in ("main", "red"):
                    path = PREFIX + PARAMETER.sub("{\\1}", route.path).format(**{**names, "tenant": tenant})
                    async with client.get(path) as response:
                        text = (await response.read()).decode(errors="replace")
                    assert response.status < 500, path
                    if tenant == "main":
                        assert "unseen" not in text, f"{path}: {text[:500]}"
                        looked += 1
                    else:
                        shown += "unseen" in text
        assert looked > 150
        assert shown > 20  # asked in its own tenant, the same shows it
