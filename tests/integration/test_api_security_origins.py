"""Pages of other origins, the context path, and what answers tell browsers."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.api.keys import Site
from flowtide.api.origins import ANYBODY, origins_of
from flowtide.api.routes import ROUTES
from flowtide.api.security import Security
from flowtide.errors import SettingsError
from flowtide.services.identity import Limits
from tests.integration.api_system import LOGIN, PASSWORD, USERNAME, running

API = "/api/v1"
SEARCH = f"{API}/main/flows/search"
TRUSTED, FOREIGN = "https://trusted.example", "https://evil.example"


async def test_named_origins_are_let_in_with_cookies_and_others_are_not(tmp_path: Path) -> None:
    """Preflights, answers, refusals and changes by cookie follow the configurations (KEY-61)."""
    configured = origins_of(
        {
            "ui": {"allowed-origins": [TRUSTED], "exposed-headers": ["X-Shown"], "max-age": 60},
            "hooks": {"allowedOriginsRegex": r"https://[a-z]+\.hooks\.example", "allow-credentials": False},
        }
    )
    async with running(tmp_path, with_executor=False, site=Site(cors=configured)) as system:
        cookie = {"Cookie": f"BASIC_AUTH={LOGIN.removeprefix('Basic ')}"}
        for origin, let_in, credentials in (
            (TRUSTED, True, True),
            ("https://a.hooks.example", True, False),
            (FOREIGN, False, False),
            ("https://a.hooks.example.evil.example", False, False),
            ("null", False, False),
        ):
            preflight = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            async with system.stranger.options(SEARCH, headers=preflight) as response:
                assert response.status == (204 if let_in else 403), origin
            async with system.stranger.get(SEARCH, headers={"Origin": origin}) as response:
                assert response.status == 401
                assert response.headers.get("Access-Control-Allow-Origin") == (origin if let_in else None)
                assert ("Access-Control-Allow-Credentials" in response.headers) is credentials
                assert "Origin" in response.headers["Vary"]
            body = {"id": f"n{len(origin)}"}
            headers = {**cookie, "Origin": origin}
            async with system.stranger.post(f"{API}/main/namespaces", json=body, headers=headers) as response:
                assert (response.status == 403) is not credentials, origin


async def test_anybody_is_let_in_without_cookies(tmp_path: Path) -> None:
    """`cors.enabled` alone: every origin, answers that come in pieces too, and never with credentials."""
    async with running(tmp_path, with_executor=False, site=Site(cors=(ANYBODY,))) as system:
        headers = {"Origin": FOREIGN, "Authorization": LOGIN}
        for path in (SEARCH, f"{API}/main/flows/export/by-query", f"{API}/main/flows/export/by-query/csv"):
            async with system.stranger.get(path, headers=headers) as response:
                assert response.status == 200
                assert response.headers["Access-Control-Allow-Origin"] == FOREIGN
                assert "Access-Control-Allow-Credentials" not in response.headers


def test_configurations_are_checked_when_the_server_starts() -> None:
    """Typing errors and patterns that are none are refused with their place."""
    wrongs: list[Any] = ["x", {"allowed-origin": []}, {"allowed-origins-regex": "("}, {"max-age": "long"}]
    for wrong in wrongs:
        with pytest.raises(SettingsError, match=r"configurations\.ui"):
            origins_of({"ui": wrong})
    found = origins_of({"ui": {"allowedOrigins": "https://a.example/, https://b.example"}})[0]
    assert found.names == ("https://a.example", "https://b.example")


async def test_everything_stands_below_the_context_path(tmp_path: Path) -> None:
    """Each route, logins, cookies and links; nothing stands beside it."""
    async with running(tmp_path, with_executor=False, site=Site(context_path="/kestra")) as system:
        for route in ROUTES:
            path = API + re.sub(r"\{([A-Za-z]+)(?::[^}]*)?\}", "x", route.path.replace("{tenant}", "main"))
            async with system.stranger.request(route.method, path) as response:
                assert response.status == 404, path
            if not route.open:
                async with system.stranger.request(route.method, "/kestra" + path) as response:
                    assert response.status == 401, path
        body = {"username": USERNAME, "password": PASSWORD}
        async with system.stranger.post("/login", json=body) as response:
            assert response.status == 404
        async with system.stranger.post("/kestra/login", json=body) as response:
            assert response.status == 200
            assert response.cookies["JWT_REFRESH_TOKEN"]["path"] == "/kestra/oauth/access_token"
            renewal = response.cookies["JWT_REFRESH_TOKEN"].value
        renewed = {"Cookie": f"JWT_REFRESH_TOKEN={renewal}"}
        async with system.stranger.post("/kestra/oauth/access_token", headers=renewed) as response:
            assert response.status == 200
        for trick in (
            "/kestra/../api/v1/main/flows/search",
            "/kestra//api/v1/main/flows/search",
            "/kestraapi/v1",
        ):
            async with system.stranger.get(trick) as response:
                assert response.status == 404


async def test_answers_tell_browsers_to_do_nothing_with_them(tmp_path: Path) -> None:
    """No guessing of types, no frames, no scripts, and nothing kept of what was asked with a login."""
    async with running(tmp_path, with_executor=False) as system:
        for path, kept in (
            (SEARCH, False),
            (f"{API}/me", False),
            (f"{API}/configs", True),
            (f"{API}/x", False),
        ):
            async with system.client.get(path) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["X-Frame-Options"] == "DENY"
                assert response.headers["Server"] == "Flowtide"
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]
                assert (response.headers.get("Cache-Control") != "no-store") is kept, path
        body = {"username": USERNAME, "password": PASSWORD}
        async with system.stranger.post("/login", json=body) as response:
            assert response.headers["Cache-Control"] == "no-store"
        async with system.client.post(f"{API}/me/api-tokens", json={"name": "ci"}) as response:
            assert response.headers["Cache-Control"] == "no-store"


async def test_the_address_of_a_caller_is_the_connections_or_the_proxys(tmp_path: Path) -> None:
    """A header counts only where the operator named it, and of it the address that the proxy itself added."""
    limits = Limits(address_failures=3, window=timedelta(minutes=5))
    body = {"username": "nobody@example.org", "password": "Wrong123"}
    for header, expected in ((None, 429), ("X-Forwarded-For", 401)):
        site = Site(client_address_header=header)
        folder = tmp_path / str(header)
        folder.mkdir()
        async with running(
            folder, with_executor=False, site=site, security=Security(limits=limits)
        ) as system:
            for number in range(4):
                headers = {"X-Forwarded-For": f"10.0.0.{number}"}
                async with system.stranger.post("/login", json=body, headers=headers) as response:
                    status = response.status
            assert status == expected
            if header is not None:
                for number in range(4):  # what the caller writes before it changes nothing
                    headers = {"X-Forwarded-For": f"10.0.1.{number}, 10.9.9.9"}
                    async with system.stranger.post("/login", json=body, headers=headers) as response:
                        status = response.status
                assert status == 429
