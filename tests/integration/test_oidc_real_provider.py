"""Logging in by OpenID Connect against the npm package `oidc-provider`: the whole way of a browser, there and back.

The provider of `deploy/services/oidc` asks who logs in; `oidc_provider.py` beside this file tells lies instead.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from flowtide.api.oidc_providers import PROVIDERS
from flowtide.api.security import Security
from flowtide.services.identity import DefaultRole
from flowtide.services.identity.oidc import OidcClient
from tests.integration.api_system import System, running
from tests.integration.test_api_identities import PASSWORD, asked

MAIN = "/api/v1/main"


@dataclass
class Browser:
    """A browser with cookies, at the application and at the provider."""

    client: Any

    async def to_the_provider(self, name: str = "real") -> str:
        """Press the button; gives the address of the provider's page to log in."""
        async with self.client.get(f"/oauth/login/{name}", allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            address = response.headers["Location"]
        for _ in range(3):
            if "/interaction/" in address or "/oauth/callback/" in address:
                return str(address)
            async with self.client.session.get(address, allow_redirects=False) as response:
                assert response.status == 303, await response.text()
                there = response.headers["Location"]
                address = there if "://" in there else str(response.url.join(type(response.url)(there)))
        raise AssertionError(f"the provider asks nobody: {address}")

    async def answer(self, page: str, said: dict[str, Any]) -> str:
        """Type and agree at the provider; gives the address that it sends the browser back to."""
        async with self.client.session.post(page, json=said, allow_redirects=False) as response:
            assert response.status == 303, await response.text()
            address = response.headers["Location"]
        async with self.client.session.get(address, allow_redirects=False) as response:
            assert response.status == 303, await response.text()
            return str(response.headers["Location"])

    async def back(self, address: str) -> tuple[int, str]:
        """Follow the provider's answer; gives the status, and where the application sends the browser or its error."""
        async with self.client.session.get(address, allow_redirects=False) as response:
            return response.status, response.headers.get("Location") or await response.text()

    async def log_in(self, account: str, claims: dict[str, Any], name: str = "real") -> tuple[int, str]:
        """All of it."""
        page = await self.to_the_provider(name)
        if "/oauth/callback/" in page:  # the provider remembers who it is
            return await self.back(page)
        return await self.back(await self.answer(page, {"account": account, "claims": claims}))


@asynccontextmanager
async def together(folder: Path, issuer: str, **options: Any) -> AsyncIterator[System]:
    """An application with two clients at the provider, which says who is in which group."""
    clients = (
        OidcClient(
            name="real",
            client_id="flowtide",
            client_secret="s3cret-of-flowtide",
            issuer=issuer,
            scopes=("openid", "profile", "email", "groups"),
        ),
        OidcClient(name="second", client_id="second", client_secret="s3cret-of-second", issuer=issuer),
        OidcClient(name="wrong", client_id="flowtide", client_secret="not it", issuer=issuer),
    )
    security = Security(oidc_clients=clients, oidc_groups_claim=("groups",), hash_rounds=4, **options)
    async with running(folder, with_executor=False, security=security) as system:
        yield system


@asynccontextmanager
async def opened(system: System) -> AsyncIterator[Browser]:
    """A browser that nobody has used."""
    client: Any = TestClient(system.client.server, cookie_jar=CookieJar(unsafe=True))
    try:
        yield Browser(client)
    finally:
        await client.session.close()


def person(name: str) -> dict[str, Any]:
    """The claims of somebody."""
    return {
        "email": f"{name}@example.org",
        "email_verified": True,
        "given_name": name.title(),
        "family_name": "Berg",
    }


async def test_the_whole_way_with_groups_a_default_role_and_logging_out(
    tmp_path: Path, oidc_address: str
) -> None:
    """SSO-01 to SSO-07: code, PKCE, state and nonce as a real provider checks them; groups anew each time; logout."""
    role = DefaultRole(name="Everybody", permissions={})
    subject = uuid.uuid4().hex
    async with together(tmp_path, oidc_address, default_role=role) as system:
        async with opened(system) as browser:
            page = await browser.to_the_provider()
            assert page.startswith(f"{oidc_address}/interaction/")
            claims = {**person("uma"), "groups": ["operators", "writers"]}
            back = await browser.answer(page, {"account": subject, "claims": claims})
            assert set(parse_qs(urlsplit(back).query)) == {"code", "state", "iss"}
            assert await browser.back(back) == (302, "/ui/")
            me = await asked(browser.client, "GET", "/api/v1/me")
            assert me["profile"]["firstName"] == "Uma"
            assert [each["id"] for each in me["auths"]] == ["OIDC:real"]
            access = await asked(system.client, "GET", f"{MAIN}/tenant-access/{me['id']}")
            assert {each["name"] for each in access["groups"]} == {"operators", "writers"}
            assert [each["name"] for each in access["roles"]] == ["Everybody"]
            assert (await browser.back(back))[0] == 401  # the code is used
            left = await asked(browser.client, "POST", "/logout")
            assert left["redirect"].startswith(f"{oidc_address}/session/end?")
            await asked(browser.client, "GET", "/api/v1/me", 401)
            async with browser.client.session.get(left["redirect"]) as response:
                assert response.status == 200  # the provider asks whether to log out there
        async with opened(system) as browser:
            claims = {**person("uma"), "email": "moved@example.org", "groups": ["writers"]}
            assert (await browser.log_in(subject, claims))[0] == 302
            again = await asked(browser.client, "GET", "/api/v1/me")
            assert again["id"] == me["id"]
            access = await asked(system.client, "GET", f"{MAIN}/tenant-access/{me['id']}")
            assert {each["name"] for each in access["groups"]} == {"writers"}


async def test_a_second_client_and_a_password_are_ways_of_the_same_user(
    tmp_path: Path, oidc_address: str
) -> None:
    """Several providers, each with its secret as it wants it (basic, post); what one does not know it refuses."""
    subject = uuid.uuid4().hex
    async with together(tmp_path, oidc_address) as system:
        body = {"email": "two@example.org", "password": PASSWORD, "tenants": ["main"]}
        user = await asked(system.client, "POST", "/api/v1/users", 201, json=body)
        for name in ("real", "second"):
            async with opened(system) as browser:
                status, said = await browser.log_in(subject, {**person("two"), "groups": []}, name)
                assert status == 302, said
                me = await asked(browser.client, "GET", "/api/v1/me")
                assert me["id"] == user["id"]
        assert {each["id"] for each in me["auths"]} == {"BASIC", "OIDC:real", "OIDC:second"}
        async with opened(system) as browser:
            async with browser.client.get("/oauth/login/wrong", allow_redirects=False) as response:
                address = response.headers["Location"]
            async with browser.client.session.get(address) as response:
                assert response.status == 400  # an address that this client was not registered with


async def test_keys_may_change_between_two_logins(tmp_path: Path, oidc_address: str) -> None:
    """A token that is signed with a new key is believed once the provider publishes the key."""
    async with together(tmp_path, oidc_address) as system:
        async with opened(system) as browser:
            assert (await browser.log_in(uuid.uuid4().hex, person("kay")))[0] == 302
            async with browser.client.session.post(f"{oidc_address}/test/rotate") as response:
                assert response.status == 204
        app = system.client.app
        assert app is not None
        provider = app[PROVIDERS]["real"]
        assert provider._keys is not None
        now, keys = datetime.now(UTC), provider._keys[1]
        async with opened(system) as browser:
            # Private: as if the keys were looked at just now, and then eleven seconds ago, on any machine.
            provider._keys = (now + timedelta(minutes=30), keys)
            status, said = await browser.log_in(uuid.uuid4().hex, person("kim"))
            assert (status, "does not publish" in said) == (401, True)
            provider._keys = (now - timedelta(seconds=11), keys)
            assert (await browser.log_in(uuid.uuid4().hex, person("kim")))[0] == 302


async def test_who_turns_away_or_is_disabled_there_does_not_come_in(
    tmp_path: Path, oidc_address: str
) -> None:
    """The provider's refusal is the answer, whether the person or the operator of the provider said no."""
    subject = uuid.uuid4().hex
    async with together(tmp_path, oidc_address) as system, opened(system) as browser:
        page = await browser.to_the_provider()
        status, said = await browser.back(await browser.answer(page, {"refuse": True}))
        assert (status, "access_denied" in said) == (401, True)
        async with browser.client.session.post(
            f"{oidc_address}/test/disable", json={"account": subject}
        ) as response:
            assert response.status == 204
        status, said = await browser.log_in(subject, person("dis"))
        assert (status, "access_denied" in said) == (401, True)
        await asked(browser.client, "GET", "/api/v1/me", 401)


async def test_a_code_of_one_browser_is_worth_nothing_in_another(tmp_path: Path, oidc_address: str) -> None:
    """`state` belongs to the browser, and the provider asks for the verifier that only its application has."""
    async with together(tmp_path, oidc_address) as system, opened(system) as browser, opened(system) as other:
        page = await browser.to_the_provider()
        back = await browser.answer(page, {"account": uuid.uuid4().hex, "claims": person("eve")})
        await other.to_the_provider()
        assert (await other.back(back))[0] == 401
        assert (await browser.back(back))[0] == 302
