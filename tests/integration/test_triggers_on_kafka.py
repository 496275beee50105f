"""A polling trigger and a backfill on real Kafka and Elasticsearch, while workers and schedulers are killed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flowtide.model.services import ServiceType
from flowtide.testing.servers import QUICK, Api, Server, Shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices

pytestmark = [pytest.mark.kafka, pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(150)]

_HOSTS = (ServiceType.WEBSERVER, ServiceType.INDEXER, ServiceType.EXECUTOR)
_POLLED = """
id: polled
namespace: company.team
tasks:
  - {{id: say, type: io.kestra.plugin.core.debug.Return, format: "{{{{ trigger.body }}}}"}}
triggers:
  - {{id: watch, type: io.kestra.plugin.core.http.Trigger, uri: "{uri}", interval: PT1H}}
"""
_YEARLY = """
id: yearly
namespace: company.team
tasks:
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: "{{ trigger.date }}"}
triggers:
  - {id: each, type: io.kestra.plugin.core.trigger.Schedule, cron: "@yearly"}
"""
_REPLAYED = range(2001, 2025)


@pytest.fixture
async def shape(tmp_path: Path, kafka_address: str, elasticsearch_url: str) -> AsyncIterator[Shape]:
    """An installation with topics and indices of its own."""
    prefix = f"test_triggers_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(
        tmp_path, kafka=kafka_address, elasticsearch=elasticsearch_url, prefix=prefix, overrides=QUICK
    )
    await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)


async def _executions(api: Api, flow: str, enough: Callable[[list[Any]], object]) -> list[dict[str, Any]]:
    """The executions of a flow, as soon as there are enough; the test's time-out bounds it."""
    while True:
        answer = await api.call("GET", "/executions/search", params={"flowId": flow, "size": "100"})
        assert answer.status == 200, answer
        ended = [each for each in answer.body["results"] if each["state"]["current"] == "SUCCESS"]
        if enough(ended):
            return ended
        await asyncio.sleep(0.2)


async def test_a_dead_worker_and_a_dead_scheduler_lose_and_double_nothing(shape: Shape) -> None:
    """POL-01, LIFE-9, BKF-01: the evaluation is done by another worker; each date of the backfill runs once."""
    asked = asyncio.Event()
    requests = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests == 1:
            asked.set()
            await asyncio.Event().wait()  # until its worker is killed
        return web.Response(text="found")

    site = web.Application()
    site.router.add_get("/", answer)
    async with TestServer(site) as server:
        with ExitStack() as stack:
            main = stack.enter_context(Server(shape, _HOSTS, name="main"))
            scheduler = stack.enter_context(Server(shape, (ServiceType.SCHEDULER,), name="scheduler-1"))
            first = stack.enter_context(Server(shape, (ServiceType.WORKER,), name="worker-1"))
            second = stack.enter_context(Server(shape, (ServiceType.WORKER,), name="worker-2"))
            await main.start()
            await asyncio.gather(scheduler.start(), first.start())
            async with Api(main.port) as api:
                await api.must_save(_POLLED.format(uri=server.make_url("/")))
                await asked.wait()
                second.launch()
                first.kill()
                await api.must_save(_YEARLY)
                body = {
                    "namespace": "company.team",
                    "flowId": "yearly",
                    "triggerId": "each",
                    "backfill": {"start": "2001-01-01T00:00:00Z", "end": "2024-06-01T00:00:00Z"},
                }
                told = await api.call("PUT", "/triggers", json=body)
                while told.status == 409:  # the scheduler does not know the trigger yet
                    await asyncio.sleep(0.2)
                    told = await api.call("PUT", "/triggers", json=body)
                assert told.status == 200, told
                await _executions(api, "yearly", lambda ended: len(ended) >= 3)
                scheduler.kill()
                scheduler.launch()
                found = await _executions(api, "yearly", lambda ended: len(ended) >= len(_REPLAYED))
                dates = sorted(each["trigger"]["variables"]["date"] for each in found)
                assert dates == [f"{year}-01-01T00:00:00Z" for year in _REPLAYED]
                (polled,) = await _executions(api, "polled", len)
                assert polled["trigger"]["variables"]["body"] == "found"
                assert requests == 2
