"""The web server: listens, ends in order, and logs what it is asked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from structlog.testing import capture_logs

from flowtide.api.application import application
from flowtide.services.webserver import Webserver
from tests.integration.api_system import LOGIN, running
from tests.integration.test_api_executions import FLOWS, YAML, read_events

HEADERS = {"Authorization": LOGIN}


async def test_it_serves_and_ends_followers_when_it_stops(tmp_path: Path) -> None:
    """A free port is taken, requests are answered and logged, and `stop` does not wait for open streams."""
    async with running(tmp_path) as system:
        server = Webserver(
            application(system.backends),
            host="127.0.0.1",
            port=0,
            access_log=True,
            access_log_exclusions=("/flows/",),
        )
        await server.start()
        await server.start()
        base = f"http://127.0.0.1:{server.port}/api/v1/main"
        with capture_logs() as logs:
            async with ClientSession(headers=HEADERS) as session:
                path = f"{base}/flows/bulk?delete=false"
                async with session.post(path, data=FLOWS.encode(), headers=YAML) as response:
                    assert response.status == 200
                async with session.post(f"{base}/executions/company.team/holding") as response:
                    created = await response.json()
                async with session.get(f"{base}/executions/{created['id']}/follow") as response:
                    await read_events(response.content, until="progress")
                    async with asyncio.timeout(5):
                        await server.stop()
                        with suppress(ClientPayloadError):  # the stream was cut, which followers must bear
                            assert (await response.content.read()).strip() == b""
        await server.stop()
        logged = [entry["path"] for entry in logs if entry["event"] == "request"]
        assert logged == ["/api/v1/main/executions/company.team/holding"]


async def test_a_port_that_is_taken_is_an_error() -> None:
    """Starting on a port that somebody has raises OSError and leaves nothing open."""
    first = Webserver(web.Application(), host="127.0.0.1", port=0)
    await first.start()
    second = Webserver(web.Application(), host="127.0.0.1", port=first.port)
    with pytest.raises(OSError, match="address"):
        await second.start()
    assert second.port == first.port
    await first.stop()
