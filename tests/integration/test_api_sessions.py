"""Logins by browser: listed and ended, renewed by a secret that works once, bound to who may act; and their entries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from flowtide.api.recognition import RECOGNITION
from flowtide.api.security import Security
from tests.integration.api_system import System, running
from tests.integration.test_api_identities import PASSWORD, asked, basic

RENEWAL = "/oauth/access_token"
SUPER = {"email": "root@b.org", "password": PASSWORD, "superAdmin": True, "tenants": ["main"]}
USER = {"email": "u@b.org", "password": PASSWORD, "tenants": ["main"]}


@asynccontextmanager
async def together(folder: Path) -> AsyncIterator[tuple[System, str]]:
    """An application, and the id of the user u@b.org."""
    async with running(folder, with_executor=False, security=Security(hash_rounds=4)) as system:
        user = await asked(system.client, "POST", "/api/v1/users", 201, json=USER)
        yield system, user["id"]


@asynccontextmanager
async def logged_in(system: System, name: str = "u@b.org", agent: str = "Firefox") -> AsyncIterator[Any]:
    """A browser of somebody."""
    browser: Any = TestClient(
        system.client.server, cookie_jar=CookieJar(unsafe=True), headers={"User-Agent": agent}
    )
    try:
        await asked(browser, "POST", "/login", json={"username": name, "password": PASSWORD})
        yield browser
    finally:
        await browser.session.close()


def secret_of(browser: Any) -> str:
    """What renews the browser's session."""
    return str(
        browser.session.cookie_jar.filter_cookies(browser.make_url(RENEWAL))["JWT_REFRESH_TOKEN"].value
    )


async def test_sessions_are_listed_and_ended_by_their_owner_and_by_a_superadmin(tmp_path: Path) -> None:
    """One sees from where one is logged in, and ends one login, all others, or those of a user who lost a laptop."""
    async with together(tmp_path) as (system, user_id):
        async with (
            logged_in(system) as one,
            logged_in(system, agent="Chrome") as two,
            logged_in(system) as three,
            logged_in(system) as four,
        ):
            listed = await asked(two, "GET", "/api/v1/me/sessions")
            assert listed["total"] == 4
            own = [each for each in listed["results"] if each["current"]]
            assert [(each["userAgent"], each["ipAddress"], each["type"]) for each in own] == [
                ("Chrome", "127.0.0.1", "BASIC")
            ]
            assert "refresh" not in str(listed)
            mine = (await asked(one, "GET", "/api/v1/me/sessions"))["results"]
            first = next(each["id"] for each in mine if each["current"])
            await asked(two, "DELETE", f"/api/v1/me/sessions/{first}", 204)
            await asked(one, "GET", "/api/v1/me", 401)
            await asked(two, "DELETE", f"/api/v1/me/sessions/{first}", 404)
            await asked(two, "DELETE", "/api/v1/me/sessions", 204)
            await asked(three, "GET", "/api/v1/me", 401)
            await asked(four, "GET", "/api/v1/me", 401)
            left = await asked(system.client, "GET", f"/api/v1/users/{user_id}/sessions")
            assert left["total"] == 1
            await asked(two, "GET", f"/api/v1/users/{user_id}/sessions", 403)
            path = f"/api/v1/users/{user_id}/sessions/{left['results'][0]['id']}"
            await asked(system.client, "DELETE", path, 204)
            await asked(two, "GET", "/api/v1/me", 401)
        async with logged_in(system) as one:
            await asked(system.client, "DELETE", f"/api/v1/users/{user_id}/refresh-token", 204)
            await asked(one, "GET", "/api/v1/me", 401)


async def test_a_new_password_ends_the_other_sessions(tmp_path: Path) -> None:
    """AUTH-08: whoever knew the old one is out, and who changed it stays in."""
    async with together(tmp_path) as (system, _), logged_in(system) as one, logged_in(system) as two:
        body = {"oldPassword": PASSWORD, "newPassword": "Another123"}
        await asked(one, "PUT", "/api/v1/me/password", json=body)
        await asked(one, "GET", "/api/v1/me")
        await asked(two, "GET", "/api/v1/me", 401)


async def test_a_renewal_secret_that_is_shown_again_ends_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUTH-02: one that was copied is noticed when its second bearer comes; two pages of one browser are no theft."""
    monkeypatch.setattr("flowtide.api.logins._RACE", timedelta(hours=1))  # however slow this machine is
    async with together(tmp_path) as (system, user_id), logged_in(system) as browser:
        stolen = secret_of(browser)
        await asked(browser, "POST", RENEWAL)
        assert secret_of(browser) != stolen
        await asked(system.stranger, "POST", RENEWAL, 401, json={"refresh_token": stolen})
        await asked(browser, "GET", "/api/v1/me")  # a moment later it may be another page of the browser
        await asked(browser, "POST", RENEWAL)
        await asked(system.stranger, "POST", RENEWAL, 401, json={"refresh_token": f"{stolen[:-3]}abc"})
        await asked(browser, "GET", "/api/v1/me")  # what was never a secret ends nothing
        await asked(system.stranger, "POST", RENEWAL, 401, json={"refresh_token": stolen})
        await asked(browser, "GET", "/api/v1/me", 401)
        await asked(browser, "POST", RENEWAL, 401)
        await system.indexed()
        path = f"/api/v1/auditlogs/search?details=id:{user_id}&actions=LOGIN_FAILURE"
        found = (await asked(system.client, "GET", path))["results"]
        assert [each["auditLog"]["detail"]["reason"] for each in found] == [
            "a renewal secret was used twice; the session ended"
        ]


async def test_who_may_act_as_others_no_more_stops_at_once(tmp_path: Path) -> None:
    """IAM-14: an open impersonation is worth nothing once its superadmin is none; nobody changes who is acted as."""
    async with together(tmp_path) as (system, user_id):
        root = await asked(system.client, "POST", "/api/v1/users", 201, json=SUPER)
        async with logged_in(system, "root@b.org") as browser:
            await asked(browser, "POST", f"/api/v1/users/{user_id}/impersonate")
            assert (await asked(browser, "GET", "/api/v1/me"))["impersonatedBy"] == "root@b.org"
            await asked(browser, "DELETE", "/api/v1/me/sessions", 403)
            body = {"oldPassword": PASSWORD, "newPassword": "Another123"}
            await asked(browser, "PUT", "/api/v1/me/password", 403, json=body)
            await asked(browser, "POST", f"/api/v1/users/{root['id']}/impersonate", 403)
            path = f"/api/v1/users/{root['id']}/superadmin"
            await asked(system.client, "PATCH", path, 204, json={"superAdmin": False})
            await asked(browser, "GET", "/api/v1/me", 401)


async def test_there_is_always_a_superadmin(tmp_path: Path) -> None:
    """The last one is neither deleted nor made an ordinary user, by whichever request, nor by a service account."""
    async with running(
        tmp_path, with_executor=False, username=None, password=None, security=Security(hash_rounds=4)
    ) as system:
        first = {"username": "root@b.org", "password": PASSWORD}
        root = await asked(system.stranger, "POST", "/api/v1/setup", json=first)
        own: dict[str, Any] = {"headers": basic("root@b.org")}
        path = f"/api/v1/users/{root['id']}"
        account = await asked(
            system.stranger,
            "POST",
            "/api/v1/service-accounts",
            json={"name": "boss", "superAdmin": True},
            **own,
        )
        token = await asked(
            system.stranger, "POST", f"/api/v1/service-accounts/{account['id']}/api-tokens",
            json={"name": "t"}, **own,
        )  # fmt: skip  # reads better as a paragraph
        for caller in (own, {"headers": {"Authorization": f"Bearer {token['fullToken']}"}}):
            await asked(system.stranger, "DELETE", path, 409, **caller)
            for name in ("superadmin", "instanceowner"):
                body: dict[str, Any] = {"superAdmin": False}
                await asked(system.stranger, "PATCH", f"{path}/{name}", 409, json=body, **caller)
            body = {"email": "root@b.org", "superAdmin": False}
            await asked(system.stranger, "PUT", path, 409, json=body, **caller)
        await asked(system.stranger, "POST", "/api/v1/users", 201, json={**SUPER, "email": "x@b.org"}, **own)
        await asked(system.stranger, "PATCH", f"{path}/superadmin", 204, json={"superAdmin": False}, **own)


async def test_the_key_of_sessions_changes_without_logging_anybody_out(tmp_path: Path) -> None:
    """AUTH-02: tokens of a former key are read until they expire; those of a key that was dropped are not."""
    old, new = b"o" * 32, b"n" * 32
    async with running(
        tmp_path, with_executor=False, security=Security(hash_rounds=4, signing_key=old)
    ) as system:
        await asked(system.client, "POST", "/api/v1/users", 201, json=USER)
        async with logged_in(system) as browser:
            app = system.client.app
            assert app is not None
            recognition = app[RECOGNITION]
            tokens = recognition.tokens
            tokens._key, tokens._former = new, (old,)  # private: as after a restart with other settings
            await asked(browser, "GET", "/api/v1/me")
            async with logged_in(system) as other:
                tokens._former = ()
                await asked(other, "GET", "/api/v1/me")
            await asked(browser, "GET", "/api/v1/me", 401)


async def test_what_happens_to_logins_stands_in_the_audit_log(tmp_path: Path) -> None:
    """AUD-01: in, out, failed, acted as, tokens made and deleted: who, what, from where; and never a secret."""
    async with together(tmp_path) as (system, user_id):
        await asked(system.client, "POST", "/api/v1/users", 201, json=SUPER)
        async with logged_in(system) as browser:
            made = await asked(browser, "POST", "/api/v1/me/api-tokens", json={"name": "ci"})
            await asked(browser, "DELETE", f"/api/v1/me/api-tokens/{made['id']}", 204)
            await asked(browser, "POST", "/logout")
        wrong = {"username": "u@b.org", "password": "Secret-of-mine-1"}
        await asked(system.stranger, "POST", "/login", 401, json=wrong)
        swapped = {"username": "Secret-of-mine-1", "password": "u@b.org"}
        await asked(system.stranger, "POST", "/login", 401, json=swapped)
        async with logged_in(system, "root@b.org") as browser:
            await asked(browser, "POST", f"/api/v1/users/{user_id}/impersonate")
            await asked(browser, "POST", "/api/v1/me/api-tokens", 403, json={"name": "left"})
            await asked(browser, "POST", "/logout")
        await system.indexed()
        answer = await asked(
            system.client, "GET", "/api/v1/auditlogs/search?resources=USER&size=100&sort=date:asc"
        )
        found = [
            (each["auditLog"]["type"], each["auditLog"]["userId"], each["auditLog"]["detail"].get("kind"))
            for each in answer["results"]
            if each["auditLog"]["userId"] != "admin@example.org"
        ]
        assert found == [
            ("LOGIN", "u@b.org", None),
            ("CREATE", "u@b.org", "api-token"),
            ("DELETE", "u@b.org", "api-token"),
            ("LOGOUT", "u@b.org", None),
            ("LOGIN_FAILURE", "u@b.org", None),
            ("LOGIN_FAILURE", "(no known name)", None),
            ("LOGIN", "root@b.org", None),
            ("IMPERSONATE", "root@b.org", None),
            ("LOGOUT", "root@b.org", None),
        ]
        assert {each["auditLog"]["ipAddress"] for each in answer["results"]} == {"127.0.0.1"}
        text = str(answer) + await asked(system.client, "GET", "/api/v1/auditlogs/export")
        for secret in ("Secret-of-mine-1", PASSWORD, made["fullToken"]):
            assert secret not in text
