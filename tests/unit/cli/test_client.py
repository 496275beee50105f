"""What the client of the API sends, and how it reads what a server says."""

from __future__ import annotations

from pathlib import Path
from urllib.request import ProxyHandler

import pytest

from flowtide.cli.client import (
    Client,
    Connection,
    Form,
    ServerRefused,
    _message,
    _query,
    basic_authorization,
    opener_of,
)


def test_paths_hold_anything() -> None:
    """Segments are quoted, so that a key with a slash is one segment; the tenant stands in front."""
    client = Client(Connection(server="http://localhost:8080/base", tenant="prod"))

    assert client.path("namespaces", "a.b", "kv", "x/y ü") == "/api/v1/prod/namespaces/a.b/kv/x%2Fy%20%C3%BC"


@pytest.mark.parametrize("server", ["localhost:8080", "ftp://x", "", "http://"])
def test_an_address_is_one(server: str) -> None:
    """What is no address of a server is refused with an example."""
    with pytest.raises(ServerRefused, match="http://localhost:8080"):
        Client(Connection(server=server))


def test_a_query_has_lists_and_leaves_out_nothing() -> None:
    """A list is repeated, True is `true`, None is left out."""
    assert _query({"a": [1, 2], "b": True, "c": None, "d": "x y"}) == "?a=1&a=2&b=true&d=x+y"
    assert _query({"c": None}) == ""


def test_a_form_says_its_size(tmp_path: Path) -> None:
    """The size that is announced is what is sent, files included."""
    file = tmp_path / 'a "b".txt'
    file.write_bytes(b"content" * 1_000)
    form = Form()
    form.text("name", "Ada")
    form.file("doc", file)

    sent = b"".join(form)

    assert len(sent) == form.size
    assert b'name="doc"; filename="a %22b%22.txt"' in sent
    assert form.content_type.startswith("multipart/form-data; boundary=")


def test_an_envelope_is_read_whole() -> None:
    """The message, and details that it does not have already."""
    envelope = b'{"message": "no: a", "_embedded": {"errors": [{"message": "a"}, {"message": "b"}]}}'

    assert _message(envelope) == "no: a\n  b"
    assert _message(b"plain") == "plain"
    assert _message(b'"text"') == '"text"'


@pytest.mark.parametrize(
    ("server", "by_proxy"),
    [("http://localhost:8080", False), ("http://127.0.0.1", False), ("http://flowtide.example.org", True)],
)
def test_this_machine_is_asked_without_a_proxy(
    server: str, by_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is for others: it does not know what runs here."""
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")

    handlers = [each for each in vars(opener_of(server))["handlers"] if isinstance(each, ProxyHandler)]

    assert bool(handlers) is by_proxy


def test_credentials_do_not_show() -> None:
    """A connection that is written to a log has no login in it."""
    connection = Connection(authorization=basic_authorization("a@example.org:Secret123"))

    assert "Basic" not in repr(connection)
    with pytest.raises(ServerRefused):
        basic_authorization("nobody")
