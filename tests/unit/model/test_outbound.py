"""Where requests of flows may go: names, addresses, and what stands for another one."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flowtide.errors import TaskFailed
from flowtide.model.outbound import OPEN, OutboundRefused, OutboundRules
from flowtide.services.platform.web_requests import fetch
from flowtide.services.tokens import TokenRefused, _post

PRIVATE = OutboundRules(deny_private=True)


def _allows(rules: OutboundRules, host: str, address: str | None = None) -> bool:
    """Whether a request to a host comes through, which has this address."""
    try:
        rules.check_host(host)
        if address is not None:
            rules.check_address(ipaddress.ip_address(address), host)
    except OutboundRefused:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "192.0.2.1",
    ],
)  # fmt: skip  # reads better as a table
def test_addresses_that_are_not_public_are_refused_where_that_is_wished(address: str) -> None:
    """As written, as what a name resolves to, and behind IPv6; without the wish everything is open."""
    assert not _allows(PRIVATE, address)
    assert not _allows(PRIVATE, f"[{address}]" if ":" in address else f"{address}.")
    assert not _allows(PRIVATE, "rebound.example.org", address)
    assert _allows(OPEN, address)
    assert _allows(OPEN, "rebound.example.org", address)


def test_public_addresses_and_what_is_allowed_by_name_or_network_come_through() -> None:
    """A name or a network among the allowed ones makes a private address fine."""
    assert _allows(PRIVATE, "example.org", "93.184.216.34")
    assert _allows(PRIVATE, "example.org", "2606:4700::1111")
    for entry in ("internal.example.org", "*.example.org", "10.0.0.0/8", "10.0.0.7"):
        rules = OutboundRules.of([entry], [], deny_private=True)
        assert _allows(rules, "Internal.Example.ORG.", "10.0.0.7"), entry
        assert not _allows(rules, "other.example.net", "192.168.0.1"), entry
        assert not _allows(rules, "other.example.net", "93.184.216.34"), entry


def test_what_is_denied_is_denied_whatever_is_allowed() -> None:
    """Names with all below them, and networks."""
    rules = OutboundRules.of(["*.example.org"], ["bad.example.org", "169.254.0.0/16"], deny_private=False)
    assert _allows(rules, "good.example.org", "10.0.0.1")
    assert not _allows(rules, "bad.example.org", "10.0.0.1")
    assert not _allows(rules, "good.example.org", "169.254.169.254")
    assert not _allows(rules, "example.org", "10.0.0.1")
    assert not _allows(rules, "notexample.org", "10.0.0.1")
    only = OutboundRules.of([], ["*.internal", "169.254.169.254"], deny_private=False)
    assert _allows(only, "example.org", "10.0.0.1")
    assert not _allows(only, "metadata.google.internal")
    assert not _allows(only, "[::ffff:169.254.169.254]")


def test_entries_must_be_hosts() -> None:
    """A typing error is found when the server starts."""
    for entry in ("", "http://a.b", "a b", "*.*", "10.0.0.0/99"):
        with pytest.raises(ValueError, match="neither"):
            OutboundRules.of([entry], [], deny_private=False)


async def _ask(url: str, rules: OutboundRules) -> Any:
    return await fetch(
        url, method="GET", query={}, body=None, content_type="application/json", headers={}, options={},
        accept="*/*", rules=rules,
    )  # fmt: skip  # reads better as a paragraph


async def test_redirects_and_names_that_resolve_elsewhere_are_looked_at() -> None:
    """`http()`: each hop counts, and the address that is connected to, not the one that was looked up before."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/away":
            raise web.HTTPFound(f"http://127.0.0.1:{request.url.port}/inside")
        return web.json_response({"path": request.path})

    app = web.Application()
    app.router.add_route("GET", "/{path}", handle)
    async with TestServer(app) as server:
        direct = f"http://127.0.0.1:{server.port}"
        named = f"http://outside.test:{server.port}"
        assert await _ask(f"{direct}/away", OPEN) == {"path": "/inside"}
        with pytest.raises(TaskFailed, match="not one of the public internet"):
            await _ask(f"{direct}/away", PRIVATE)

        async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
            return [
                {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0,
                 "flags": 0}
            ]  # fmt: skip  # reads better in two lines

        asked.clear()
        with patch.object(aiohttp.DefaultResolver, "resolve", resolve):
            with pytest.raises(TaskFailed, match="not one of the public internet"):
                await _ask(f"{named}/inside", PRIVATE)
            assert asked == []
            rules = OutboundRules.of(["outside.test"], [], deny_private=True)
            assert await _ask(f"{named}/inside", rules) == {"path": "/inside"}
            asked.clear()
            with pytest.raises(TaskFailed, match="refused"):
                await _ask(f"{named}/away", rules)
            assert asked == ["/away"]


async def test_a_proxy_of_a_flow_is_a_place_like_others() -> None:
    """What the operator's surroundings name may stand anywhere; what a flow names must be allowed."""
    rules = OutboundRules.of(["example.org"], [], deny_private=True)

    class Asked:
        url = type("Url", (), {"host": "example.org"})

    async def answer(request: Any) -> str:
        return "asked"

    place = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.1", 3128))
    own = rules.guard(proxy="http://10.0.0.1:3128", trusts_proxy=True)
    assert await own.admit(Asked(), answer) == "asked"
    own.open_socket(place).close()
    flows = rules.guard(proxy="http://10.0.0.1:3128")
    with pytest.raises(OutboundRefused):
        await flows.admit(Asked(), answer)
    with pytest.raises(OutboundRefused):
        flows.open_socket(place)


async def test_credentials_ask_for_tokens_where_requests_may_go_only() -> None:
    """The address of a token endpoint is a person's, too."""
    with pytest.raises(TokenRefused, match=r"requests to 127\.0\.0\.1 are refused"):
        await _post("http://127.0.0.1:9/token", {}, {}, PRIVATE)
