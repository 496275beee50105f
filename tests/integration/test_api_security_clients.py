"""Clients that stall: slow heads and bodies, followers that never read, and a thousand of them that are idle."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from flowtide.api.event_streams import EventStream
from flowtide.api.keys import STREAMS, Site
from flowtide.services.stalled import StalledConnections
from flowtide.services.webserver import Webserver
from tests.integration.api_system import LOGIN, System, running

API = "/api/v1"
PATIENCE_SECONDS = 30
SHORT = timedelta(milliseconds=300)
FLOW = """\
id: held
namespace: company.team
tasks:
  - {id: hold, type: io.kestra.plugin.core.debug.Return, format: x}
"""


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[int]:
    """A webserver with short limits; gives its port."""
    webserver = Webserver(
        app, host="127.0.0.1", port=0, grace=timedelta(0), head_timeout=SHORT, write_timeout=SHORT
    )
    await webserver.start()
    try:
        yield webserver.port
    finally:
        await webserver.stop()


async def ended(reader: asyncio.StreamReader) -> None:
    """The server closes the connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with suppress(ConnectionError):
            while await reader.read(65_536):
                pass


async def gone(app: web.Application) -> None:
    """No follower is left."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if not app[STREAMS]:
                return
            await asyncio.sleep(0.01)


def _application() -> web.Application:
    app = web.Application()
    app[STREAMS] = set()

    async def flood(request: web.Request) -> web.StreamResponse:
        async with EventStream(request) as stream:
            while True:
                await stream.send(bytes(100_000).replace(b"\0", b"x"), event_id="1", name="progress")

    async def quiet(request: web.Request) -> web.StreamResponse:
        async with EventStream(request) as stream:
            await stream.send(b"{}", event_id="start", name="start")
            await asyncio.Event().wait()
            return stream.response

    app.router.add_get("/flood", flood)
    app.router.add_get("/quiet", quiet)
    return app


async def test_a_head_that_never_ends_is_not_waited_for() -> None:
    """Nothing at all, half a line, and a header now and then: the connection is closed; a follower's is not."""
    async with serving(_application()) as port:
        follower, follower_writer = await asyncio.open_connection("127.0.0.1", port)
        follower_writer.write(b"GET /quiet HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await follower.readline()).startswith(b"HTTP/1.1 200")
        for begin in (b"", b"GET /qu", b"GET /quiet HTTP/1.1\r\nHost: x\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begin)

            async def trickle(to: asyncio.StreamWriter = writer, begun: bytes = begin) -> None:
                while begun.endswith(b"\r\n"):
                    to.write(b"X-A: b\r\n")
                    await asyncio.sleep(0.05)  # slower than a client that means it, quicker than silence

            trickling = asyncio.create_task(trickle())
            await ended(reader)
            trickling.cancel()
            writer.close()
        assert not follower.at_eof()
        follower_writer.close()


async def test_a_follower_that_never_reads_is_dropped() -> None:
    """What is written for it is bounded, and its handler ends."""
    app = _application()
    before = psutil.Process().memory_info().rss
    async with serving(app) as port:
        clients = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
            writer.write(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readline()
            clients.append((reader, writer))
        await gone(app)
        for reader, writer in clients:
            writer.close()
            await ended(reader)
    assert psutil.Process().memory_info().rss - before < 200 * 1024 * 1024


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (f"GET /quiet HTTP/1.1\r\nHost: x\r\nX: {'a' * 20_000}\r\n\r\n", 431),
        ("GET /quiet HTTP/1.1\r\n" + "".join(f"X-{number}: v\r\n" for number in range(5_000)) + "\r\n", 431),
        ("NONSENSE\r\n\r\n", 400),
        ("GET /quiet HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_gets_our_envelope(head: str, status: int) -> None:
    """A head that is too large or none at all: 414, 431, 400, as JSON, and not a word of the server's inside."""
    async with serving(_application()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(re.findall(r"Content-Length: (\d+)", answer)[0])
            envelope = json.loads(await reader.readexactly(length))
        assert int(answer.split()[1]) == status
        assert envelope["message"] == envelope["_embedded"]["errors"][0]["message"]
        writer.close()


class _Transport:
    def __init__(self) -> None:
        self.waiting = 0
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> Any:
        return None

    def abort(self) -> None:
        self.closed = True


class _Connection:
    def __init__(self, requests: int) -> None:
        self.transport = _Transport()
        self._request_count = requests


def test_who_takes_something_in_time_stays() -> None:
    """Only what has not moved for the whole time is closed: no reader that is slow, no follower that is quiet."""
    fresh, quiet, slow, stuck = _Connection(0), _Connection(1), _Connection(1), _Connection(3)
    stalled = StalledConnections(
        lambda: (fresh, quiet, slow, stuck),
        head_timeout=timedelta(seconds=10),
        write_timeout=timedelta(seconds=20),
    )
    stuck.transport.waiting = 70_000
    for second in range(0, 100, 5):
        slow.transport.waiting = 70_000 + second % 10
        stalled.look(second)
        assert fresh.transport.closed is (second >= 10)
        assert stuck.transport.closed is (second >= 20)
    assert not quiet.transport.closed
    assert not slow.transport.closed


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[tuple[System, str]]:
    """A system with an execution that goes on, and its id."""
    site = Site(body_timeout=SHORT)
    async with running(tmp_path, site=site) as system:
        headers = {"Content-Type": "application/x-yaml"}
        async with system.client.post(f"{API}/main/flows", data=FLOW, headers=headers) as response:
            assert response.status == 200
        async with system.client.post(f"{API}/main/executions/company.team/held") as response:
            execution = await response.json()
        yield system, execution["id"]


async def test_a_body_that_stops_or_trickles_is_answered_408(held: tuple[System, str]) -> None:
    """Half a body, a byte now and then, a form that stops in a file; who closes one half goes."""
    system, _ = held
    assert system.client.port is not None
    head = f"POST {API}/main/flows HTTP/1.1\r\nHost: x\r\nAuthorization: {LOGIN}\r\nContent-Length: 5000\r\n"
    form = (
        f"POST {API}/main/executions/company.team/held HTTP/1.1\r\nHost: x\r\nAuthorization: {LOGIN}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nbeginning'
    )
    cases = {
        "stops": (head + "\r\nid: a", False),
        "trickles": (head + "\r\nid: a", True),
        "form": (form, False),
    }
    for name, (begin, trickles) in cases.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", system.client.port)
        writer.write(begin.encode())

        async def trickle(to: asyncio.StreamWriter = writer) -> None:
            while True:
                to.write(b"x")
                await asyncio.sleep(0.02)  # each piece comes in time, all of it never does

        trickling = asyncio.create_task(trickle()) if trickles else None
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = await reader.readline()
        assert b" 408 " in status, (name, status)
        if trickling is not None:
            trickling.cancel()
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", system.client.port)
    writer.write(
        f"GET {API}/main/flows/search HTTP/1.1\r\nHost: x\r\nAuthorization: {LOGIN}\r\n\r\n".encode()
    )
    writer.write_eof()  # half-closed: that it would still read is not relied on
    await ended(reader)
    writer.close()
    async with system.client.get(f"{API}/main/flows/search") as response:
        assert response.status == 200


async def test_a_thousand_idle_followers_cost_little(held: tuple[System, str]) -> None:
    """The server answers others while they are there, in bounded memory, and forgets them when they are gone."""
    system, execution_id = held
    assert system.client.port is not None
    app = system.client.app
    assert app is not None
    before = psutil.Process().memory_info().rss
    request = (
        f"GET {API}/main/executions/{execution_id}/follow HTTP/1.1\r\nHost: x\r\nAuthorization: {LOGIN}\r\n\r\n"
    ).encode()
    clients = []
    for _ in range(10):  # a hundred at a time, as the queue of a listening socket is not endless
        batch = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", system.client.port) for _ in range(100))
        )
        for _, writer in batch:
            writer.write(request)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for reader, _ in batch:
                assert b" 200 " in await reader.readline()
        clients += batch
    assert len(app[STREAMS]) == 1_000
    async with system.client.get(f"{API}/main/flows/search") as response:
        assert response.status == 200
    assert (
        psutil.Process().memory_info().rss - before < 200 * 1024 * 1024
    )  # both ends of all connections are here
    for _, writer in clients:
        writer.close()
    await gone(app)
