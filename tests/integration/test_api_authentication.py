"""Who may call the API: basic authentication, the set-up, open paths, and hostile requests, over a real socket."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from datetime import timedelta
from pathlib import Path

import pytest

from flowtide.api.keys import Site
from flowtide.api.origins import ANYBODY
from tests.integration.api_system import LOGIN, PASSWORD, USERNAME, running

SEARCH = "/api/v1/main/flows/search"


async def test_every_call_needs_a_login(tmp_path: Path) -> None:
    """Without a login, with a wrong one or an unreadable one: 401 with a challenge, also for what does not exist."""
    async with running(tmp_path, with_executor=False) as system:
        wrong = b64encode(f"{USERNAME}:nope".encode()).decode()
        for header in (
            {},
            {"Authorization": f"Basic {wrong}"},
            {"Authorization": "Basic %%%"},
            {"Authorization": "x"},
        ):
            for path in (SEARCH, "/api/v1/main/nothing", "/api/v1/unknown/flows/search"):
                async with system.stranger.get(path, headers=header) as response:
                    assert response.status == 401
                    assert response.headers["WWW-Authenticate"].startswith("Basic")
        for header in ({"Authorization": LOGIN}, {"Cookie": f"BASIC_AUTH={LOGIN.removeprefix('Basic ')}"}):
            async with system.stranger.get(SEARCH, headers=header) as response:
                assert response.status == 200


async def test_the_first_visitor_sets_up_the_login(tmp_path: Path) -> None:
    """Without credentials only configs and the set-up are open; the set-up works once, hashed, with an e-mail."""
    async with running(tmp_path, with_executor=False, username=None, password=None) as system:
        async with system.stranger.get("/api/v1/configs") as response:
            assert (await response.json())["isBasicAuthInitialized"] is False
        async with system.client.get(SEARCH) as response:
            assert response.status == 401
        path = "/api/v1/main/basicAuth"
        bodies: list[object] = [
            {"username": "admin", "password": PASSWORD},
            {"username": USERNAME, "password": "x"},
            {},
        ]
        for body in bodies:
            async with system.stranger.post(path, json=body) as response:
                assert response.status == 422
        async with system.stranger.post(path, json={"username": USERNAME, "password": PASSWORD}) as response:
            assert response.status == 204
        async with system.client.get(SEARCH) as response:
            assert response.status == 200
        async with system.stranger.post(
            path, json={"username": "b@b.org", "password": "Other1234"}
        ) as response:
            assert response.status == 409
        async with system.stranger.get("/api/v1/configs") as response:
            assert (await response.json())["isBasicAuthInitialized"] is True
        stored = system.backends.authentication
        assert stored.is_set_up
        assert not stored.is_configured


async def test_configured_paths_are_open(tmp_path: Path) -> None:
    """`open-urls` are beginnings of paths; escapes do not open others."""
    async with running(tmp_path, with_executor=False, open_urls=("/api/v1/main/flows/",)) as system:
        async with system.stranger.get(SEARCH) as response:
            assert response.status == 200
        for path in (
            "/api/v1/main/executions/search",
            "/api/v1/main/flows%2F/x/kill",
            "/api/v1/main%2Fflows/search",
        ):
            async with system.stranger.get(path) as response:
                assert response.status == 401, path


async def test_a_site_may_demand_a_login_of_webhooks(tmp_path: Path) -> None:
    """With `webhook_requires_login` the key alone is not enough."""
    path = "/api/v1/main/executions/webhook/a/b/c"
    async with running(tmp_path, with_executor=False, site=Site(webhook_requires_login=True)) as system:
        async with system.stranger.post(path) as response:
            assert response.status == 401
        async with system.client.post(path) as response:
            assert response.status == 404


async def test_a_context_path_and_other_origins(tmp_path: Path) -> None:
    """Everything stands below the context path; other origins are let in where that is configured, also in errors."""
    site = Site(context_path="/kestra", cors=(ANYBODY,))
    async with running(tmp_path, with_executor=False, site=site) as system:
        async with system.client.get("/kestra" + SEARCH, headers={"Origin": "http://a.b"}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "http://a.b"
        async with system.client.get(SEARCH) as response:
            assert response.status == 404
        preflight = {"Origin": "http://a.b", "Access-Control-Request-Method": "PUT"}
        async with system.stranger.options("/kestra" + SEARCH, headers=preflight) as response:
            assert response.status == 204
            assert "PUT" in response.headers["Access-Control-Allow-Methods"]
        async with system.stranger.get("/kestra" + SEARCH, headers={"Origin": "http://a.b"}) as response:
            assert response.status == 401
            assert "Access-Control-Allow-Origin" in response.headers


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /%00/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /api/v1/main/../main/flows/search HTTP/1.1\r\nHost: x\r\n\r\n", b"40"),
        (b"GET /api/v1/main/flows/search HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"400"),
        (b"POST /api/v1/main/basicAuth HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST /api/v1/main/basicAuth HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", b"408"),
        (b"POST /api/v1/main/basicAuth HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{\x00]", b"400"),
        (b"TRACE /api/v1/main/flows HTTP/1.1\r\nHost: x\r\n\r\n", b"40"),
    ],
)
async def test_hostile_requests_get_a_4xx(tmp_path: Path, request_bytes: bytes, status: bytes) -> None:
    """Garbage, tricks, huge and unfinished bodies are answered with a 4xx and no stack trace."""
    site = Site(body_timeout=timedelta(milliseconds=50))
    async with running(tmp_path, with_executor=False, site=site) as system:
        assert system.client.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", system.client.port)
        writer.write(request_bytes)
        head = await reader.readuntil(b"\r\n")
        assert head.split(b" ")[1].startswith(status), head
        writer.close()
        await writer.wait_closed()
