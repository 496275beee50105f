"""Provisioning by SCIM 2.0 over a real socket, as Okta and Entra speak it: who is let in and out, and no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.api_system import System, running
from tests.integration.test_api_identities import PASSWORD, asked

MAIN = "/api/v1/main"
INTEGRATIONS = MAIN + "/security-integrations"


@dataclass
class Provider:
    """The other end of a provisioning."""

    system: System
    id: str
    token: str

    async def ask(self, method: str, path: str, expected: int = 200, body: Any = None) -> Any:
        """The answer to a request of the provider."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/scim+json"}
        place = f"{MAIN}/integrations/{self.id}/scim/v2{path}"
        more = {} if body is None else {"json": body}
        return await asked(self.system.stranger, method, place, expected, headers=headers, **more)

    async def patch(self, path: str, *operations: dict[str, Any], expected: int = 200) -> Any:
        """The answer to a PATCH."""
        return await self.ask("PATCH", path, expected, {"Operations": list(operations)})


@asynccontextmanager
async def provisioned(folder: Path) -> AsyncIterator[Provider]:
    """A system with one provisioning."""
    async with running(folder, with_executor=False) as system:
        made = await asked(system.client, "POST", INTEGRATIONS, json={"name": "Okta", "type": "SCIM"})
        assert made["uri"].endswith(f"{MAIN}/integrations/{made['id']}/scim/v2")
        yield Provider(system, made["id"], made["secretToken"])


async def test_users_are_let_in_and_out_and_stay(tmp_path: Path) -> None:
    """SCIM-04, SCIM-05: made, found by name, changed, deactivated and back, and deleted from the tenant only."""
    async with provisioned(tmp_path) as provider:
        client = provider.system.client
        assert (await provider.ask("GET", '/Users?filter=userName eq "u@b.org"'))["totalResults"] == 0
        name = {"givenName": "Uma", "familyName": "Berg"}
        body = {"userName": "u@b.org", "externalId": "x-1", "name": name, "active": True}
        user = await provider.ask("POST", "/Users", 201, body)
        assert (user["userName"], user["externalId"], user["name"]) == ("u@b.org", "x-1", name)
        assert (await provider.ask("POST", "/Users", 409, body))["scimType"] == "uniqueness"
        for text in ('userName eq "U@B.org"', 'externalId eq "x-1"', f'id eq "{user["id"]}"'):
            found = await provider.ask("GET", f"/Users?filter={text}")
            assert [each["id"] for each in found["Resources"]] == [user["id"]], text
        refused = await provider.ask("GET", '/Users?filter=title sw "x"', 400)
        assert refused["scimType"] == "invalidFilter"
        path = f"/Users/{user['id']}"
        changed = await provider.patch(
            path,
            {"op": "Replace", "path": "name.familyName", "value": "Tal"},
            {"op": "replace", "value": {"userName": "uma@b.org", "name.givenName": "U."}},
        )
        assert (changed["userName"], changed["displayName"]) == ("uma@b.org", "U. Tal")
        await asked(client, "GET", f"{MAIN}/tenant-access/{user['id']}")
        out = await provider.patch(path, {"op": "Replace", "path": "active", "value": "False"})
        assert out["active"] is False
        await asked(client, "GET", f"{MAIN}/tenant-access/{user['id']}", 404)
        assert (await provider.ask("GET", path))["active"] is False
        assert (await provider.ask("PUT", path, body={**body, "userName": "uma@b.org"}))["active"]
        await provider.ask("DELETE", path, 204)
        await provider.ask("GET", path, 404)
        assert (await asked(client, "GET", f"/api/v1/users/{user['id']}"))["tenants"] == []


async def test_a_provider_changes_only_whom_it_made(tmp_path: Path) -> None:
    """A tenant's provider must not take over a user of the instance by another e-mail address."""
    async with provisioned(tmp_path) as provider:
        client = provider.system.client
        body = {"email": "boss@b.org", "password": PASSWORD, "superAdmin": True, "firstName": "Bea"}
        boss = await asked(client, "POST", "/api/v1/users", 201, json=body)
        await provider.ask("GET", f"/Users/{boss['id']}", 404)
        linked = await provider.ask("POST", "/Users", 201, {"userName": "boss@b.org", "externalId": "b"})
        assert linked["id"] == boss["id"]
        path = f"/Users/{boss['id']}"
        refused = await provider.patch(
            path, {"op": "replace", "path": "userName", "value": "evil@b.org"}, expected=400
        )
        assert refused["scimType"] == "mutability"
        kept = await provider.patch(path, {"op": "replace", "path": "name.givenName", "value": "Eve"})
        assert kept["name"]["givenName"] == "Bea"


async def test_groups_have_the_members_that_the_provider_says(tmp_path: Path) -> None:
    """SCIM-05, SCIM-07: add, remove in both spellings, replace, rename; roles are bound to them by hand."""
    async with provisioned(tmp_path) as provider:
        client = provider.system.client
        ids = [
            (await provider.ask("POST", "/Users", 201, {"userName": f"{name}@b.org"}))["id"]
            for name in ("a", "b", "c")
        ]
        first = {"displayName": "Team", "externalId": "g-1", "members": [{"value": ids[0]}]}
        group = await provider.ask("POST", "/Groups", 201, first)
        await provider.ask("POST", "/Groups", 409, first)
        path = f"/Groups/{group['id']}"

        async def members() -> set[str]:
            return {each["value"] for each in (await provider.ask("GET", path))["members"]}

        await provider.patch(path, {"op": "add", "path": "members", "value": [{"value": ids[1]}]})
        assert await members() == {ids[0], ids[1]}
        await provider.patch(path, {"op": "remove", "path": f'members[value eq "{ids[0]}"]'})
        await provider.patch(
            path, {"op": "Add", "path": "members", "value": [{"value": "nobody"}]}, expected=400
        )
        assert await members() == {ids[1]}
        await provider.patch(path, {"op": "replace", "value": {"displayName": "Crew"}})
        await provider.patch(path, {"op": "remove", "path": "members", "value": [{"value": ids[1]}]})
        assert await members() == set()
        await provider.ask("PUT", path, body={"displayName": "Crew", "members": [{"value": ids[2]}]})
        found = await provider.ask("GET", '/Groups?filter=displayName eq "Crew"&excludedAttributes=members')
        assert [(each["id"], each.get("members")) for each in found["Resources"]] == [(group["id"], None)]
        shown = await asked(client, "GET", f"{MAIN}/groups/search?q=crew")
        assert shown["results"][0]["securityIntegrationName"] == "Okta"
        await asked(client, "DELETE", f"{MAIN}/groups/{group['id']}/members/{ids[2]}", 409)
        user = await provider.ask("GET", f"/Users/{ids[2]}")
        assert [each["display"] for each in user["groups"]] == ["Crew"]
        await asked(client, "DELETE", f"{INTEGRATIONS}/{provider.id}", 204)
        await provider.ask("GET", "/Users", 401)
        await asked(client, "DELETE", f"{MAIN}/groups/{group['id']}/members/{ids[2]}")


async def test_a_disabled_provisioning_takes_nothing_and_secrets_are_not_exchanged(tmp_path: Path) -> None:
    """SCIM-02, SCIM-03: disabling holds for other secrets of the tenant, too; what the role may do is what is said."""
    async with provisioned(tmp_path) as provider:
        client = provider.system.client
        other = await asked(client, "POST", INTEGRATIONS, json={"name": "Entra", "enabled": False})
        await asked(client, "POST", INTEGRATIONS, 409, json={"name": "Entra"})
        assert "secretToken" not in await asked(client, "GET", f"{INTEGRATIONS}/{other['id']}")
        assert (await asked(client, "GET", f"{INTEGRATIONS}/search"))["total"] == 2
        foreign = Provider(provider.system, provider.id, other["secretToken"])
        await foreign.ask("GET", "/Users", 403)
        own = Provider(provider.system, other["id"], other["secretToken"])
        await own.ask("GET", "/Users", 403)
        await asked(client, "POST", f"{INTEGRATIONS}/{other['id']}/enable")
        await own.ask("GET", "/Users")
        await asked(client, "POST", f"{INTEGRATIONS}/{other['id']}/disable")
        await own.ask("GET", "/Users", 403)
        bearer = {"Authorization": f"Bearer {provider.token}"}
        await asked(provider.system.stranger, "GET", f"{MAIN}/flows/search", 403, headers=bearer)
        await asked(provider.system.stranger, "GET", "/api/v1/users", 403, headers=bearer)
        config = await provider.ask("GET", "/ServiceProviderConfig")
        assert (config["patch"]["supported"], config["bulk"]["supported"]) == (True, False)
        assert config["changePassword"]["supported"] is False
        types = await provider.ask("GET", "/ResourceTypes")
        assert [each["endpoint"] for each in types["Resources"]] == ["/Users", "/Groups"]
        assert (await provider.ask("GET", "/Schemas"))["totalResults"] == 2
