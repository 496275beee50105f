"""The client of the command line against servers that are not as they should be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest

from flowtide.cli.client import Client, Connection, ServerRefused
from flowtide.testing.servers import free_port

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def _server(answer: Answer) -> Iterator[tuple[Client, list[str]]]:
    """A server that answers every request so, a client of it, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer, and note it."""
            asked.append(self.path)
            answer(self)

        def log_message(self, *_: object) -> None:
            """Tests say enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        connection = Connection(
            server=f"http://127.0.0.1:{server.server_port}", authorization="Bearer secret"
        )
        yield Client(connection), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _send(status: int, kind: str, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_redirect_is_not_followed() -> None:
    """Where it leads to is told; the login goes nowhere else."""
    with (
        _server(_send(200, "application/json", b"{}")) as (other, asked),
        _server(_send(302, "text/html", b"", Location=other.connection.server)) as (client, _),
        pytest.raises(ServerRefused, match=other.connection.server) as refused,
    ):
        client.get("/api/v1/main/flows/search")

    assert asked == []
    assert refused.value.status == 302
    assert "secret" not in refused.value.message


def test_a_page_for_people_is_no_answer() -> None:
    """Such as that of a proxy, or of another program on the port."""
    with (
        _server(_send(200, "text/html", b"<html>hello</html>")) as (client, _),
        pytest.raises(ServerRefused, match="a page for people"),
    ):
        client.get("/")


def test_a_cut_answer_is_told() -> None:
    """A server that dies in the middle of a download."""
    answer = _send(200, "application/octet-stream", b"half", **{"Content-Length": "100"})
    with (
        _server(answer) as (client, _),
        pytest.raises(ServerRefused, match="cannot be asked"),
    ):
        client.download("GET", "/", BytesIO())


def test_nobody_there_is_told() -> None:
    """The address stands in the sentence."""
    port = free_port()
    client = Client(Connection(server=f"http://127.0.0.1:{port}"))

    with pytest.raises(ServerRefused, match=f"127.0.0.1:{port} cannot be asked") as refused:
        client.get("/")

    assert refused.value.status is None


def test_a_stream_of_events_is_read() -> None:
    """Names and data, several lines of data as one; heartbeats and events without data are passed over."""
    body = (
        b"id: start\r\nevent: start\r\ndata: \r\n\r\n: heartbeat\n\n"
        b'event: progress\ndata: {"a":\ndata: 1}\n\ndata: [2]\n\nevent: cut\ndata: {}\n'
    )
    with _server(_send(200, "text/event-stream", body)) as (client, _):
        assert list(client.events("/")) == [("progress", {"a": 1}), ("message", [2])]
