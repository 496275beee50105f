"""Purges, counts and fetched logs on real indices and logs (page 012)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowtide.testing.servers import ALL, Api, Server, Shape, embedded_shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices

WORK = """
id: work
namespace: company.team
tasks:
  - id: write
    type: io.kestra.plugin.core.storage.LocalFiles
    inputs: {hello.txt: "hello"}
    outputs: ["hello.txt"]
  - id: count
    type: io.kestra.plugin.core.debug.Return
    format: "x"
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "said"
"""
CLEAN = """
id: clean
namespace: system
tasks:
  - id: count
    type: io.kestra.plugin.core.execution.Count
    flows: [{namespace: company.team, flowId: work}]
    expression: "{{ count >= 2 }}"
  - id: fetch
    type: io.kestra.plugin.core.log.Fetch
    executionId: "{{ labels.other }}"
  - id: show
    type: io.kestra.plugin.core.debug.Return
    format: "{{ read(outputs.fetch.uri) }}"
  - id: purge
    type: io.kestra.plugin.core.execution.PurgeExecutions
    namespace: company
    endDate: "{{ now() | dateAdd(1, 'HOURS') }}"
    purgeLog: false
  - id: lines
    type: io.kestra.plugin.core.log.PurgeLogs
    namespace: company.team
    flowId: work
    endDate: "{{ now() | dateAdd(1, 'HOURS') }}"
"""


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def shape(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shape]:
    """The whole system on files, and on Kafka and Elasticsearch."""
    if request.param == "embedded":
        yield embedded_shape(tmp_path)
        return
    kafka, elasticsearch = (
        request.getfixturevalue("kafka_address"),
        request.getfixturevalue("elasticsearch_url"),
    )
    prefix = f"test_purge_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(tmp_path, kafka=kafka, elasticsearch=elasticsearch, prefix=prefix)
    await asyncio.to_thread(remove_topics_and_indices, kafka, elasticsearch, prefix)


async def _run(api: Api, namespace: str, flow: str, **options: Any) -> dict[str, Any]:
    started = await api.call("POST", f"/executions/{namespace}/{flow}", params={"wait": "true", **options})
    assert started.status == 200, started
    return await api.ended(started.body["id"], 60)


async def _until(api: Api, path: str, expected: int, **params: str) -> None:
    for _ in range(200):
        answer = await api.call("GET", path, params=params)
        if answer.body["total"] == expected:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} {params}: {answer}")


async def test_what_is_purged_is_gone(shape: Shape) -> None:
    """PURGE-1, PURGE-2: documents, files and lines of ended executions; counts tell how much; the purger stays."""
    with Server(shape, ALL, name="all") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(WORK)
            await api.must_save(CLEAN)
            first = await _run(api, "company.team", "work")
            second = await _run(api, "company.team", "work")
            await _until(api, "/logs/search", 2, namespace="company.team", minLevel="INFO")
            await _until(api, "/executions/search", 2, namespace="company.team", state="SUCCESS")
            cleaned = await _run(api, "system", "clean", labels=f"other:{first['id']}")
            assert cleaned["state"]["current"] == "SUCCESS", cleaned
            outputs = {run["taskId"]: run.get("outputs") for run in cleaned["taskRunList"]}
            assert outputs["count"] == {
                "results": [{"namespace": "company.team", "flowId": "work", "count": 2}],
                "total": 2,
            }
            assert outputs["fetch"]["size"] == 1
            assert '"message":"said"' in outputs["show"]["value"]
            assert outputs["purge"]["executionsCount"] == 2
            assert outputs["purge"]["logsCount"] == 0
            assert outputs["purge"]["storagesCount"] == 2
            assert outputs["lines"]["count"] >= 2
            for execution in (first, second):
                answer = await api.call("GET", f"/executions/{execution['id']}")
                assert answer.status == 404, answer
            await _until(api, "/executions/search", 0, namespace="company.team")
            await _until(api, "/executions/search", 1, namespace="system")
            await _until(api, "/logs/search", 0, namespace="company.team")
        assert await server.stop() == 0


async def test_a_purge_without_an_end_is_refused(tmp_path: Path) -> None:
    """An empty `endDate` would remove everything; it fails and says so."""
    shape = embedded_shape(tmp_path)
    with Server(shape, ALL, name="all") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(
                "id: bad\nnamespace: company.team\ntasks:\n  - id: purge\n"
                "    type: io.kestra.plugin.core.execution.PurgeExecutions\n    endDate: \"{{ '' }}\"\n"
            )
            ended = await _run(api, "company.team", "bad")
            assert ended["state"]["current"] == "FAILED"
            await _until(api, "/logs/search", 1, minLevel="ERROR")
            lines = (await api.call("GET", "/logs/search", params={"minLevel": "ERROR"})).body["results"]
            assert "`endDate` is empty" in lines[0]["message"]
