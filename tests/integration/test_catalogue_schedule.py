"""Schedules, slots and the metrics of both, on a real server: what the catalogue's rows say, seen from outside."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from flowtide.testing.servers import Api, embedded_shape, free_port

pytestmark = pytest.mark.timeout(90)

TICKING = """
id: ticking
namespace: company.team
labels: {of: flow}
inputs: [{id: moment, type: STRING}]
tasks:
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.moment }} {{ trigger.next }}"}
triggers:
  - id: each
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "*/2 * * * * *"
    withSeconds: true
    timezone: Asia/Tokyo
    labels: {of-trigger: each}
    inputs: {moment: "{{ trigger.date }}"}
    conditions:
      - {type: io.kestra.plugin.core.condition.Expression, expression: "{{ trigger.date is not empty }}"}
"""
NARROW = """
id: narrow
namespace: company.team
concurrency: {limit: 1}
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
"""


@contextmanager
def served(folder: Path, *, port: int, management: int) -> Iterator[None]:
    """A server as an operator starts it, with its management port; it is killed at the end."""
    settings = {
        **embedded_shape(folder).settings,
        "flowtide.server.port": port,
        "endpoints.all.port": management,
    }
    file = folder / "settings.yaml"
    file.write_text(json.dumps(settings))
    with (folder / "server.log").open("wb") as log:
        command = [
            sys.executable,
            "-m",
            "flowtide",
            "server",
            "standalone",
            "--no-tutorials",
            "-c",
            str(file),
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.kill()
            process.wait()


async def ready(session: aiohttp.ClientSession, management: int) -> bool:
    """Whether the server says that it is ready."""
    try:
        async with session.get(f"http://127.0.0.1:{management}/health/readiness") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def until(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """Ask again until the answer is as wanted; the test's time-out bounds it."""
    while True:
        found = await ask()
        if holds(found):
            return found
        await asyncio.sleep(0.1)


async def test_a_schedule_with_labels_inputs_and_conditions_and_the_metrics_of_it(tmp_path: Path) -> None:
    """SCH-01, SCH-05, TRG-01, MET-7, CON-02, MET-5: the names of metrics are the contract."""
    port, management = free_port(), free_port()
    with served(tmp_path, port=port, management=management):
        async with Api(port) as api, aiohttp.ClientSession() as session:
            await until(lambda: ready(session, management), bool)

            async def fired() -> list[dict[str, Any]]:
                answer = await api.call("GET", "/executions/search", params={"flowId": "ticking"})
                results: list[dict[str, Any]] = answer.body["results"]
                return [each for each in results if each["state"]["current"] == "SUCCESS"]

            async def shown() -> str:
                async with session.get(f"http://127.0.0.1:{management}/prometheus") as response:
                    return await response.text()

            await api.must_save(TICKING)
            found = await until(fired, lambda results: len(results) >= 2)
            execution = await api.execution(found[0]["id"])
            assert execution is not None
            labels = {label["key"]: label["value"] for label in execution["labels"]}
            assert labels["of"] == "flow"
            assert labels["of-trigger"] == "each"
            assert labels["system.from"] == "trigger"
            variables = execution["trigger"]["variables"]
            assert variables["date"].endswith("+09:00")
            assert execution["inputs"] == {"moment": variables["date"]}
            assert (
                execution["taskRunList"][0]["outputs"]["value"] == f"{variables['date']} {variables['next']}"
            )

            await api.must_save(NARROW)
            first, second = [(await api.start("company.team", "narrow")).body["id"] for _ in range(2)]

            async def state(execution_id: str) -> str | None:
                known = await api.execution(execution_id)
                return known["state"]["current"] if known is not None else None

            await until(lambda: state(second), lambda current: current == "QUEUED")
            await until(lambda: state(first), lambda current: current == "PAUSED")
            await api.call("POST", f"/executions/{first}/resume")
            await until(lambda: state(second), lambda current: current == "PAUSED")

            place = '{flow_id="ticking",namespace_id="company.team",tenant_id="main"}'
            narrow = '{flow_id="narrow",namespace_id="company.team",tenant_id="main"}'
            wanted = (
                f"kestra_scheduler_trigger_count_total{place} ",
                f"kestra_scheduler_evaluate_duration_seconds_count{place} ",
                "kestra_scheduler_loop_count_total ",
                f"kestra_executor_execution_queued_count_total{narrow} 1.0",
                f"kestra_executor_execution_popped_count_total{narrow} 1.0",
                'kestra_queue_produce_count_total{queue_name="execution_commands"} ',
            )
            text = await shown()
            assert [line for line in wanted if line not in text] == []
