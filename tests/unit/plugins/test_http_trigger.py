"""`core.http.Trigger` against a server of the test, evaluated by a worker (POL-02)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flowtide.services.plugins import discover_plugins
from tests.unit.services.test_worker_triggers import Bench, bench_in

TYPE = "io.kestra.plugin.core.http.Trigger"
REGISTRY = discover_plugins()
REGISTRY.find("trigger", TYPE)  # imported here, where reading files blocks nobody


async def _price(request: web.Request) -> web.Response:
    return web.json_response({"price": int(request.query["is"]), "by": request.headers.get("X-By", "")})


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["code"]), text="no")


@pytest.fixture
async def site() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_get("/price", _price)
    app.router.add_get("/status/{code}", _status)
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path, registry=REGISTRY) as found:
        yield found


async def test_an_answer_for_which_the_condition_holds_fires(bench: Bench, site: TestServer) -> None:
    """Page 481: `trigger.body`, `.code`, `.headers` and `.uri`; all properties of a request count."""
    uri = str(site.make_url("/price"))
    condition = "{{ response.statusCode == 200 and json(response.body).price <= 110 }}"
    asked = {"uri": uri, "params": {"is": "100"}, "headers": {"X-By": "{{ flow.id }}"}}
    report = await bench.poll(type=TYPE, responseCondition=condition, **asked)
    assert report.fired, report
    assert report.variables["body"] == '{"price": 100, "by": "f"}'
    assert report.variables["code"] == 200
    assert report.variables["uri"] == f"{uri}?is=100"
    assert report.variables["headers"]["content-type"] == ["application/json; charset=utf-8"]
    report = await bench.poll(type=TYPE, responseCondition=condition, **{**asked, "params": {"is": "111"}})
    assert (report.fired, report.error) == (False, None)


async def test_an_answer_that_is_a_failure_is_an_evaluation_that_failed(
    bench: Bench, site: TestServer
) -> None:
    """By default; with `allowFailed` the condition decides, which is a code below 400 when it is left out."""
    asked = {"type": TYPE, "uri": str(site.make_url("/status/503"))}
    report = await bench.poll(**asked)
    assert not report.fired
    assert "503" in (report.error or "")
    report = await bench.poll(**asked, options={"allowFailed": True})
    assert (report.fired, report.error) == (False, None)
    down = "{{ response.statusCode == 503 }}"
    report = await bench.poll(**asked, options={"allowFailed": True}, responseCondition=down)
    assert report.fired


async def test_a_body_is_encrypted_only_where_there_is_a_key(bench: Bench, site: TestServer) -> None:
    """`encryptBody` on a worker without one is an error that says so."""
    report = await bench.poll(type=TYPE, uri=f"{site.make_url('/price')}?is=1", encryptBody=True)
    assert not report.fired
    assert "encrypt" in (report.error or "")
