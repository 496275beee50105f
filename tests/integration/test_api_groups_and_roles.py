"""Groups, roles, bindings, service accounts and invitations over a real socket: what each gives, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from flowtide.api.keys import Site
from tests.integration.api_system import System, running
from tests.integration.test_api_identities import PASSWORD, asked, basic

MAIN = "/api/v1/main"


async def user_of(system: System, email: str, *tenants: str) -> dict[str, Any]:
    """A new user with the password of these tests."""
    body = {"email": email, "password": PASSWORD, "tenants": list(tenants)}
    made: dict[str, Any] = await asked(system.client, "POST", "/api/v1/users", 201, json=body)
    return made


async def test_a_role_grants_when_it_is_bound_and_to_groups_too(tmp_path: Path) -> None:
    """REC-02 to REC-04, IAM-02 to IAM-05, IAM-19: role, binding and group, and what is left when they go."""
    async with running(tmp_path, with_executor=False) as system:
        client, stranger = system.client, system.stranger
        user = await user_of(system, "u@b.org", "main")
        own: dict[str, Any] = {"headers": basic("u@b.org")}
        await asked(
            client, "POST", MAIN + "/roles", 422, json={"name": "x", "permissions": {"NOPE": ["READ"]}}
        )
        body = {"name": "Readers", "permissions": {"KVSTORE": ["READ"], "GROUP": ["READ"]}}
        role = await asked(client, "POST", MAIN + "/roles", json=body)
        assert role["permissions"] == body["permissions"]
        await asked(stranger, "GET", MAIN + "/groups/search", 403, **own)
        binding = {"type": "USER", "externalId": user["id"], "roleId": role["id"]}
        within = await asked(client, "POST", MAIN + "/bindings", json={**binding, "namespaceId": "company"})
        assert (within["namespace"], within["user"]["username"]) == ("company", "u@b.org")
        await asked(stranger, "GET", MAIN + "/namespaces/company.team/kv", **own)
        await asked(stranger, "GET", MAIN + "/namespaces/companyother/kv", 403, **own)
        await asked(stranger, "GET", MAIN + "/groups/search", 403, **own)  # tenant-wide (TRAP-03)
        found = await asked(client, "GET", f"{MAIN}/bindings/search?id={user['id']}&namespace=company")
        assert [each["id"] for each in found["results"]] == [within["id"]]
        await asked(client, "DELETE", f"{MAIN}/bindings/{within['id']}", 204)
        await asked(stranger, "GET", MAIN + "/namespaces/company.team/kv", 403, **own)
        group = await asked(
            client, "POST", MAIN + "/groups", json={"name": "Team", "membersId": [user["id"]]}
        )
        await asked(client, "POST", MAIN + "/groups", 409, json={"name": "Team"})
        many = [{"type": "GROUP", "externalId": group["id"], "roleId": role["id"]}]
        wrong = [*many, {**binding, "externalId": "nobody"}]
        await asked(client, "POST", MAIN + "/bindings/bulk", 404, json=wrong)
        assert (await asked(client, "GET", MAIN + "/bindings/search?type=GROUP"))["total"] == 0
        await asked(client, "POST", MAIN + "/bindings/bulk", json=many)
        found = await asked(stranger, "GET", MAIN + "/groups/search", **own)
        assert [each["name"] for each in found["results"]] == ["Team"]
        access = await asked(client, "GET", f"{MAIN}/tenant-access/{user['id']}")
        assert [(each["name"], each["origin"]) for each in access["roles"]] == [("Readers", "GROUP")]
        changed = {"name": "Readers", "permissions": {"KVSTORE": ["READ"]}}
        await asked(client, "PUT", f"{MAIN}/roles/{role['id']}", json=changed)
        await asked(stranger, "GET", MAIN + "/groups/search", 403, **own)
        await asked(stranger, "GET", MAIN + "/namespaces/any/kv", **own)
        await asked(client, "DELETE", f"{MAIN}/groups/{group['id']}", 204)
        await asked(stranger, "GET", MAIN + "/namespaces/any/kv", 403, **own)
        assert (await asked(client, "GET", f"/api/v1/users/{user['id']}"))["groups"] == []
        for method in ("PUT", "DELETE"):
            await asked(client, method, MAIN + "/roles/viewer", 403, json=changed)
        await asked(client, "DELETE", f"{MAIN}/roles/{role['id']}", 204)
        await asked(client, "GET", f"{MAIN}/roles/{role['id']}", 404)
        assert "FLOW" in await asked(client, "GET", MAIN + "/acls/permissions")
        assert len(await asked(client, "GET", MAIN + "/acls/actions")) == 4


async def test_the_latest_default_role_is_the_one(tmp_path: Path) -> None:
    """SSO-06: whoever is let in has the tenant's default role, of which there is one."""
    async with running(tmp_path, with_executor=False) as system:
        client = system.client
        for name in ("First", "Second"):
            body = {"name": name, "permissions": {"KVSTORE": ["READ"]}, "isDefault": True}
            await asked(client, "POST", MAIN + "/roles", json=body)
        found = await asked(client, "POST", MAIN + "/roles/autocomplete", json={"q": "s"})
        assert [each["name"] for each in found if each["isDefault"]] == ["Second"]
        user = await user_of(system, "u@b.org", "main")
        access = await asked(client, "GET", f"{MAIN}/tenant-access/{user['id']}")
        assert [each["name"] for each in access["roles"]] == ["Second"]


async def test_the_owner_of_a_group_says_who_is_in_it(tmp_path: Path) -> None:
    """PERM-X11: an owner needs no permission, a member has none; joining lets into the tenant, leaving lets out."""
    async with running(tmp_path, with_executor=False) as system:
        client, stranger = system.client, system.stranger
        owner, other = await user_of(system, "o@b.org"), await user_of(system, "x@b.org")
        group = await asked(client, "POST", MAIN + "/groups", json={"name": "Team"})
        members = f"{MAIN}/groups/{group['id']}/members"
        await asked(client, "PUT", f"{members}/{owner['id']}")
        own: dict[str, Any] = {"headers": basic("o@b.org")}
        await asked(stranger, "PUT", f"{members}/{other['id']}", 403, **own)
        await asked(client, "PUT", f"{members}/membership/{owner['id']}?membership=owner")
        added = await asked(stranger, "PUT", f"{members}/{other['id']}", **own)
        assert [each["membership"] for each in added["groups"]] == ["MEMBER"]
        found = await asked(stranger, "GET", members, **own)
        assert [each["username"] for each in found["results"]] == ["o@b.org", "x@b.org"]
        await asked(stranger, "DELETE", f"{MAIN}/groups/{group['id']}", 403, **own)
        await asked(client, "GET", f"{MAIN}/tenant-access/{other['id']}")
        await asked(stranger, "DELETE", f"{members}/{other['id']}", **own)
        await asked(client, "GET", f"{MAIN}/tenant-access/{other['id']}", 404)
        second = await asked(client, "POST", MAIN + "/groups", json={"name": "Second"})
        await asked(client, "PUT", f"{MAIN}/groups/{second['id']}", 409, json={"name": "Team"})
        path = f"{MAIN}/users/{owner['id']}/groups"
        await asked(client, "PUT", path, 204, json={"groupIds": [second["id"]]})
        user = await asked(client, "GET", f"/api/v1/users/{owner['id']}")
        assert user["groups"] == [{"id": second["id"], "tenantId": "main"}]
        await asked(client, "PUT", f"{MAIN}/users/{other['id']}/groups", 400, json={"groupIds": []})


async def test_a_service_account_acts_in_its_tenant_and_no_further(tmp_path: Path) -> None:
    """SA-01 to SA-06: tokens work with its roles; rights in one tenant give no hold on what reaches beyond it."""
    async with running(tmp_path, with_executor=False) as system:
        client, stranger = system.client, system.stranger
        await asked(client, "POST", "/api/v1/tenants", json={"id": "red", "name": "Red"})
        admin = await user_of(system, "a@b.org", "main")
        binding = {"type": "USER", "externalId": admin["id"], "roleId": "admin"}
        await asked(client, "POST", MAIN + "/bindings", json=binding)
        own: dict[str, Any] = {"headers": basic("a@b.org")}
        accounts = MAIN + "/service-accounts"
        group = await asked(stranger, "POST", MAIN + "/groups", json={"name": "Robots"}, **own)
        await asked(stranger, "POST", accounts, 422, json={"name": "-no-"}, **own)
        await asked(stranger, "POST", accounts, 403, json={"name": "root", "superAdmin": True}, **own)
        made = await asked(
            stranger, "POST", accounts, json={"name": "ci", "groups": [{"id": group["id"]}]}, **own
        )
        assert made["groups"] == [{"id": group["id"]}]
        token = await asked(
            stranger, "POST", f"{accounts}/{made['id']}/api-tokens", json={"name": "t"}, **own
        )
        bearer: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token['fullToken']}"}}
        await asked(stranger, "GET", MAIN + "/namespaces/any/kv", 403, **bearer)
        binding = {"type": "GROUP", "externalId": group["id"], "roleId": "viewer"}
        await asked(stranger, "POST", MAIN + "/bindings", json=binding, **own)
        await asked(stranger, "GET", MAIN + "/namespaces/any/kv", **bearer)
        await asked(stranger, "GET", "/api/v1/red/namespaces/any/kv", 403, **bearer)
        wide = await asked(
            client, "POST", "/api/v1/service-accounts", json={"name": "wide", "tenants": ["main", "red"]}
        )
        assert [each["id"] for each in wide["tenants"]] == ["main", "red"]
        await asked(stranger, "POST", f"{accounts}/{wide['id']}/api-tokens", 403, json={"name": "t"}, **own)
        await asked(stranger, "PUT", f"{accounts}/{wide['id']}", 403, json={"name": "mine"}, **own)
        await asked(stranger, "GET", "/api/v1/service-accounts", 403, **own)
        assert (await asked(stranger, "GET", accounts, **own))["total"] == 2
        await asked(stranger, "DELETE", f"{accounts}/{wide['id']}", 204, **own)
        kept = await asked(client, "GET", f"/api/v1/service-accounts/{wide['id']}")
        assert [each["id"] for each in kept["tenants"]] == ["red"]
        await asked(client, "PATCH", f"/api/v1/service-accounts/{wide['id']}", json={"name": "wider"})
        path = f"/api/v1/service-accounts/{wide['id']}/superadmin"
        await asked(client, "PATCH", path, 204, json={"superAdmin": True})
        assert (await asked(client, "GET", f"/api/v1/service-accounts/{wide['id']}"))["superAdmin"]
        await asked(stranger, "DELETE", f"{accounts}/{made['id']}", 204, **own)
        await asked(stranger, "GET", MAIN + "/namespaces/any/kv", 401, **bearer)


async def test_an_invitation_is_accepted_once_by_whom_it_is_for(tmp_path: Path) -> None:
    """INV-01 to INV-04: by a newcomer who sets a password, by a user who logs in; taken back, it is gone."""
    site = Site(url="http://flowtide.example.org")
    async with running(tmp_path, with_executor=False, site=site) as system:
        client, stranger = system.client, system.stranger
        group = await asked(client, "POST", MAIN + "/groups", json={"name": "Team"})
        body = {
            "email": "new@b.org",
            "groups": [group["id"]],
            "roles": [{"id": "viewer", "namespaces": ["company", "other"]}],
        }
        await asked(client, "POST", MAIN + "/invitations", 404, json={**body, "roles": [{"id": "nope"}]})
        made = await asked(client, "POST", MAIN + "/invitations", json=body)
        assert made["status"] == "PENDING"
        assert made["link"].startswith("http://flowtide.example.org/ui/")
        await asked(client, "POST", MAIN + "/invitations", 409, json=body)
        assert (await asked(stranger, "GET", f"/api/v1/invitation/{made['id']}"))["userExists"] is False
        create = f"/api/v1/invitation/create/{made['id']}"
        names = {"firstName": "New", "lastName": "Comer"}
        await asked(stranger, "POST", create, 422, json={**names, "password": "weak"})
        browser: Any = TestClient(system.client.server, cookie_jar=CookieJar(unsafe=True))
        await asked(browser, "POST", create, json={**names, "password": PASSWORD})
        me = await asked(browser, "GET", "/api/v1/me")
        assert me["profile"]["username"] == "new@b.org"
        access = await asked(browser, "GET", f"{MAIN}/tenant-access/{me['id']}")
        assert {each["namespace"] for each in access["roles"]} == {"company", "other"}
        assert [each["name"] for each in access["groups"]] == ["Team"]
        await asked(browser, "POST", f"/api/v1/invitation/accept/{made['id']}", 404)
        await browser.session.close()
        found = await asked(client, "GET", MAIN + "/invitations/search?status=ACCEPTED")
        assert [each["email"] for each in found["results"]] == ["new@b.org"]
        await asked(client, "POST", MAIN + "/invitations", 409, json=body)

        await user_of(system, "known@b.org")
        own: dict[str, Any] = {"headers": basic("known@b.org")}
        made = await asked(client, "POST", MAIN + "/invitations", json={"email": "Known@b.org"})
        await asked(stranger, "POST", f"/api/v1/invitation/create/{made['id']}", 409,
                    json={**names, "password": PASSWORD})  # fmt: skip  # reads better in one
        await asked(client, "POST", f"/api/v1/invitation/accept/{made['id']}", 403)
        mine = await asked(stranger, "GET", "/api/v1/me/invitations", **own)
        assert [each["id"] for each in mine] == [made["id"]]
        await asked(stranger, "POST", f"/api/v1/invitation/accept/{made['id']}", **own)
        assert await asked(stranger, "GET", "/api/v1/me/invitations", **own) == []
        assert [each["id"] for each in (await asked(stranger, "GET", "/api/v1/me", **own))["tenants"]] == [
            "main"
        ]

        made = await asked(client, "POST", MAIN + "/invitations", json={"email": "late@b.org"})
        await asked(client, "DELETE", f"{MAIN}/invitations/{made['id']}", 204)
        await asked(stranger, "GET", f"/api/v1/invitation/{made['id']}", 404)
        direct = {"email": "direct@b.org", "createUserIfNotExist": True, "roles": [{"id": "viewer"}]}
        await asked(client, "POST", MAIN + "/invitations", 204, json=direct)
        assert await asked(client, "GET", MAIN + "/invitations/email/direct@b.org") == []
        found = await asked(client, "GET", MAIN + "/tenant-access?q=direct")
        assert found["total"] == 1


async def test_without_a_public_address_nobody_is_invited(tmp_path: Path) -> None:
    """The link needs `kestra.url`; and who is no superadmin invites none."""
    async with running(tmp_path, with_executor=False) as system:
        async with system.client.post(MAIN + "/invitations", json={"email": "a@b.org"}) as response:
            assert response.status == 422
            assert "kestra.url" in await response.text()
        admin = await user_of(system, "a@b.org", "main")
        binding = {"type": "USER", "externalId": admin["id"], "roleId": "admin"}
        await asked(system.client, "POST", MAIN + "/bindings", json=binding)
        body = {"email": "x@b.org", "superAdmin": True, "createUserIfNotExist": True}
        own: dict[str, Any] = {"headers": basic("a@b.org")}
        await asked(system.stranger, "POST", MAIN + "/invitations", 403, json=body, **own)
