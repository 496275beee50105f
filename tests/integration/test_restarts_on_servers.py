"""Executions that go on after their end, on real servers: embedded, and on Kafka and Elasticsearch."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flowtide.model.services import ServiceType
from flowtide.testing.flows import check_history
from flowtide.testing.servers import QUICK, Api, Server, Shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices
from tests.integration.survival import all_ended, complete

FLOW = """
id: gone
namespace: company.team
inputs: [{id: gate, type: STRING}]
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    concurrencyLimit: 0
    tasks:
      - {id: before, type: io.kestra.plugin.core.debug.Return, format: "{{ taskrun.value }}"}
      - id: test
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner: {type: io.kestra.plugin.core.runner.Process}
        commands: ["[ {{ taskrun.value }} = a ] || [ -f '{{ inputs.gate }}' ]"]
  - {id: last, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.before.a.value }}"}
"""
RETRIED = """
id: retried
namespace: company.team
retry: {type: constant, interval: PT0.2S, maxAttempts: 3}
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: one}
  - id: test
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    commands: ["[ {{ taskrun.attemptsCount }} = 2 ]"]
"""
_HOSTS = (ServiceType.WEBSERVER, ServiceType.INDEXER, ServiceType.WORKER, ServiceType.SCHEDULER)


@pytest.fixture
async def shape(tmp_path: Path, kafka_address: str, elasticsearch_url: str) -> AsyncIterator[Shape]:
    """An installation with topics and indices of its own."""
    prefix = f"test_restart_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(
        tmp_path, kafka=kafka_address, elasticsearch=elasticsearch_url, prefix=prefix, overrides=QUICK
    )
    await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)


def _runs(execution: dict[str, Any]) -> list[str]:
    return sorted(
        f"{run['taskId']}[{run.get('value', '')}] {run['state']['current']} {len(run['attempts'])}"
        for run in execution["taskRunList"]
    )


@pytest.mark.kafka
@pytest.mark.elasticsearch
@pytest.mark.timeout(180)
async def test_what_an_executor_forgot_is_restarted_by_another_one(shape: Shape, tmp_path: Path) -> None:
    """RTY-10 RPL-01 RTY-08: an execution fails, its executor is killed, and another one restarts it; a replay goes on
    from a task; a flow is retried in place.
    """
    gate = tmp_path / "gate"
    with ExitStack() as stack:
        host = stack.enter_context(Server(shape, _HOSTS, name="host"))
        executors = [
            stack.enter_context(Server(shape, (ServiceType.EXECUTOR,), name=f"executor-{number}"))
            for number in (1, 2)
        ]
        host.launch()
        executors[0].launch()
        await asyncio.gather(host.ready(90), executors[0].ready(90))
        async with Api(host.port) as api:
            await api.must_save(FLOW)
            await api.must_save(RETRIED)
            answer = await api.start("company.team", "gone", {"gate": str(gate)})
            assert answer.status == 200, answer
            failed = await complete(api, answer.body["id"], 60)
            assert failed["state"]["current"] == "FAILED", failed
            executors[0].kill()
            executors[1].launch()
            await executors[1].ready(90)
            await asyncio.to_thread(gate.touch)
            answer = await api.call("POST", f"/executions/{failed['id']}/restart")
            assert answer.status == 200, answer
            restarted = await _succeeded(api, failed["id"])
            assert _runs(restarted) == [
                "before[a] SUCCESS 1",
                "before[b] SUCCESS 1",
                "last[] SUCCESS 1",
                "loop[] SUCCESS 2",
                "test[a] SUCCESS 1",
                "test[b] SUCCESS 2",
            ]
            (last,) = (run["id"] for run in restarted["taskRunList"] if run["taskId"] == "last")
            answer = await api.call("POST", f"/executions/{failed['id']}/replay?taskRunId={last}")
            assert answer.status == 200, answer
            replayed = await _succeeded(api, answer.body["id"])
            assert replayed["originalId"] == failed["id"]
            assert len(replayed["taskRunList"]) == 6
            answer = await api.start("company.team", "retried")
            retried = await _succeeded(api, answer.body["id"])
            assert _runs(retried) == ["first[] SUCCESS 1", "test[] SUCCESS 3"]
        log = await shape.open_log()
        try:
            history = await all_ended(log)
            for execution in (restarted, replayed, retried):
                check_history(history.events[execution["id"]])
        finally:
            await log.close()


async def _succeeded(api: Api, execution_id: str) -> dict[str, Any]:
    for _ in range(600):
        execution = await api.execution(execution_id)
        if execution is not None and execution["state"]["current"] == "SUCCESS":
            return await complete(api, execution_id)
        await asyncio.sleep(0.1)
    raise AssertionError(f"it never succeeded: {execution}")
