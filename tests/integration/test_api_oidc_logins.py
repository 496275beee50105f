"""Logging in by OpenID Connect against a provider on a real socket: who gets in, as whom, and who does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient
from cryptography.hazmat.primitives.asymmetric import rsa

from flowtide.api.security import Security
from flowtide.services.identity.oidc import OidcClient
from tests.integration.api_system import System, running
from tests.integration.oidc_provider import CLIENT, SECRET, Provider, oidc_provider
from tests.integration.test_api_identities import PASSWORD, asked

MAIN = "/api/v1/main"
KNOWN = {"email": "u@b.org", "email_verified": True, "given_name": "Uma", "family_name": "Berg"}


@asynccontextmanager
async def together(folder: Path) -> AsyncIterator[tuple[System, Provider]]:
    """An application with one provider, which also says who is in which group."""
    async with oidc_provider() as provider:
        client = OidcClient(
            name="keycloak", client_id=CLIENT, client_secret=SECRET, issuer=provider.issuer + "/"
        )
        gone = OidcClient(name="gone", client_id=CLIENT, issuer="http://127.0.0.1:9")
        security = Security(oidc_clients=(client, gone), oidc_groups_claim=("realm", "groups"))
        async with running(folder, with_executor=False, security=security) as system:
            yield system, provider


@asynccontextmanager
async def browser_of(system: System) -> AsyncIterator[Any]:
    """A browser that keeps cookies; it goes through redirects to the provider and back by itself."""
    browser: Any = TestClient(system.client.server, cookie_jar=CookieJar(unsafe=True))
    try:
        yield browser
    finally:
        await browser.session.close()


async def log_in(browser: Any) -> tuple[int, str]:
    """Go to the provider and back; gives the status of the callback and where it sends the browser, or its error."""
    async with browser.get("/oauth/login/keycloak", allow_redirects=False) as response:
        assert response.status == 302, await response.text()
        address = response.headers["Location"]
    async with browser.session.get(address, allow_redirects=False) as response:
        back = response.headers["Location"]
    async with browser.session.get(back, allow_redirects=False) as response:
        return response.status, response.headers.get("Location") or await response.text()


async def test_a_first_login_makes_the_user_and_each_one_brings_the_groups(tmp_path: Path) -> None:
    """SSO-01, SSO-05, SSO-07: a user of the fallback tenant, in exactly the groups that the provider names."""
    async with together(tmp_path) as (system, provider), browser_of(system) as browser:
        ways = await asked(system.stranger, "GET", "/api/v1/auths")
        assert [each["id"] for each in ways] == ["BASIC", "OIDC:keycloak", "OIDC:gone"]
        provider.claims = {**KNOWN, "realm": {"groups": ["Writers", "Readers"]}}
        assert await log_in(browser) == (302, "/ui/")
        me = await asked(browser, "GET", "/api/v1/me")
        assert (me["profile"]["firstName"], [each["id"] for each in me["tenants"]]) == ("Uma", ["main"])
        assert [each["id"] for each in me["auths"]] == ["OIDC:keycloak"]
        access = await asked(browser, "GET", f"{MAIN}/tenant-access/{me['id']}")
        assert {(each["name"], each["external"]) for each in access["groups"]} == {
            ("Writers", True),
            ("Readers", True),
        }
        provider.claims = {**KNOWN, "email": "new@b.org", "realm": {"groups": ["Readers"]}}
        assert (await log_in(browser))[0] == 302  # known by the subject, whatever the address is now
        access = await asked(browser, "GET", f"{MAIN}/tenant-access/{me['id']}")
        assert [each["name"] for each in access["groups"]] == ["Readers"]
        reader = access["groups"][0]["id"]
        path = f"{MAIN}/groups/{reader}/members/{me['id']}"
        await asked(system.client, "DELETE", path, 409)
        await asked(system.client, "DELETE", f"/api/v1/users/{me['id']}", 204)
        await asked(browser, "GET", "/api/v1/me", 401)
        await asked(system.stranger, "GET", "/oauth/login/gone", 401)
        await asked(system.stranger, "GET", "/oauth/login/other", 404)


async def test_a_user_with_a_password_has_both_ways_in(tmp_path: Path) -> None:
    """SSO-07: the e-mail address says who it is, unless the provider says that it is not verified."""
    async with together(tmp_path) as (system, provider), browser_of(system) as browser:
        body = {"email": "U@b.org", "password": PASSWORD, "tenants": ["main"]}
        user = await asked(system.client, "POST", "/api/v1/users", 201, json=body)
        provider.claims = {**KNOWN, "email_verified": False}
        status, said = await log_in(browser)
        assert (status, "not verified" in said) == (401, True)
        provider.claims = KNOWN
        assert (await log_in(browser))[0] == 302
        me = await asked(browser, "GET", "/api/v1/me")
        assert me["id"] == user["id"]
        assert [each["id"] for each in me["auths"]] == ["BASIC", "OIDC:keycloak"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "somebody"},
        {"aud": [CLIENT, "somebody"]},
        {"azp": "somebody"},
        {"iss": "https://else.example.org"},
        {"exp": 1_000},
        {"nbf": 99_999_999_999},
        {"sub": ""},
        {"email": None},
        {"email": "no address@"},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_this_login_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Each claim that binds the ID token to this login is looked at."""
    async with together(tmp_path) as (system, provider), browser_of(system) as browser:
        provider.claims, provider.wrong = KNOWN, wrong
        assert (await log_in(browser))[0] == 401
        await asked(browser, "GET", "/api/v1/me", 401)


async def test_a_signature_of_anybody_else_is_refused_and_a_new_key_is_found(tmp_path: Path) -> None:
    """Only published keys and asymmetric algorithms count; no signature with the client's secret, none at all."""
    async with together(tmp_path) as (system, provider), browser_of(system) as browser:
        provider.claims = KNOWN
        provider.signed_with = rsa.generate_private_key(65537, 2048)
        assert (await log_in(browser))[0] == 401
        for algorithm in ("HS256", "none"):
            provider.algorithm = algorithm
            provider.signed_with = None if algorithm == "none" else SECRET.ljust(32, "x")
            if algorithm == "none":
                provider.key = None  # type: ignore[assignment]  # what the library wants for no signature
            assert (await log_in(browser))[0] == 401


async def test_a_callback_counts_only_in_the_browser_that_began_and_once(tmp_path: Path) -> None:
    """`state` is held against the cookie, so nobody is logged in as somebody else by a link; a code works once."""
    async with together(tmp_path) as (system, provider), browser_of(system) as browser:
        provider.claims = KNOWN
        async with browser.get("/oauth/login/keycloak", allow_redirects=False) as response:
            address = response.headers["Location"]
        async with browser.session.get(address, allow_redirects=False) as response:
            back = response.headers["Location"]
        async with browser_of(system) as other, other.session.get(back, allow_redirects=False) as response:
            assert response.status == 401
        wrong = back.replace("state=", "state=x")
        async with browser.session.get(wrong, allow_redirects=False) as response:
            assert response.status == 401
        async with browser.session.get(back, allow_redirects=False) as response:
            assert response.status == 302
        async with browser.session.get(back, allow_redirects=False) as response:
            assert response.status == 401
        async with browser.get("/oauth/callback/keycloak?error=access_denied") as response:
            assert response.status == 401
