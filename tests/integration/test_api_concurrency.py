"""Slots, forced runs, breakpoints and kinds of executions over HTTP, against the whole system in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_system import System, running

YAML = {"Content-Type": "application/x-yaml"}
FLOWS = """
id: limited
namespace: company.team
concurrency: {limit: 1}
tasks:
  - {id: hold, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: steps
namespace: company.team
tasks:
  - {id: first, type: io.kestra.plugin.core.debug.Return, format: a}
  - {id: second, type: io.kestra.plugin.core.debug.Return, format: b}
  - id: mark
    type: io.kestra.plugin.core.execution.Labels
    labels: {result: "{{ outputs.second.value }}"}
---
id: waiting
namespace: company.team
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
---
id: checked
namespace: company.team
sla:
  - id: exact
    type: EXECUTION_ASSERTION
    assert: "{{ outputs.one.value == 'b' }}"
    behavior: FAIL
    labels: {sla: miss}
variables: {kept: 1, nested: {a: 1, b: 2}}
tasks:
  - id: update
    type: io.kestra.plugin.core.execution.SetVariables
    variables: {nested: {a: 3}}
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: a}
"""
BASE = "/api/v1/main/executions"
LIMITS = "/api/v1/main/concurrency-limit"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The running parts, with the flows above."""
    async with running(tmp_path) as started:
        async with started.client.post(
            "/api/v1/main/flows/bulk?delete=false", data=FLOWS.encode(), headers=YAML
        ) as response:
            assert response.status == 200, await response.text()
        yield started


async def post(system: System, path: str, status: int = 200, **options: Any) -> Any:
    """Post, insist on the status, and give the answer."""
    async with system.client.post(path, **options) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def start(system: System, flow: str, state: str, query: str = "") -> str:
    """Start an execution, wait until it has a state, and give its id."""
    created = await post(system, f"{BASE}/company.team/{flow}{query}")
    await system.until(f"{BASE}/{created['id']}", lambda body: body["state"]["current"] == state)
    return str(created["id"])


async def test_an_execution_waits_at_its_breakpoints_until_it_is_resumed(system: System) -> None:
    """Rows 64 and 70 of G_endpoints: `breakpoints` at creation and on resumption, under both paths."""
    created = await start(system, "steps", "BREAKPOINT", "?breakpoints=second")
    async with system.client.get(f"{BASE}/{created}") as response:
        body = await response.json()
    assert body["breakpoints"] == [{"id": "second"}]
    assert [run["state"]["current"] for run in body["taskRunList"]] == ["SUCCESS", "BREAKPOINT"]
    await post(system, f"{BASE}/{created}/resume", status=409)
    answer = await post(system, f"{BASE}/{created}/resume-from-breakpoint?breakpoints=mark")
    assert answer["breakpoints"] == [{"id": "mark"}]
    await system.until(f"{BASE}/{created}", lambda seen: len(seen["taskRunList"]) == 3)
    await post(system, f"{BASE}/{created}/actions/resume-from-breakpoint")
    ended = await system.until(f"{BASE}/{created}", lambda seen: seen["state"]["current"] == "SUCCESS")
    assert {"key": "result", "value": "b"} in ended["labels"]
    await post(system, f"{BASE}/{created}/resume-from-breakpoint", status=409)


async def test_a_breakpoint_without_a_task_is_refused(system: System) -> None:
    """A breakpoint names a task."""
    await post(system, f"{BASE}/company.team/steps?breakpoints=.value", status=422)


async def test_runs_of_the_playground_are_not_among_the_others(system: System) -> None:
    """E068, E099: lists show normal executions unless a kind is asked for."""
    plain = await start(system, "steps", "SUCCESS")
    played = await start(system, "steps", "BREAKPOINT", "?kind=PLAYGROUND&breakpoints=second")

    async def ids(query: str) -> set[str]:
        async with system.client.get(f"{BASE}{query}") as response:
            return {found["id"] for found in (await response.json())["results"]}

    await system.indexed()
    assert await ids("/search") == {plain}
    assert await ids("?namespace=company.team&flowId=steps") == {plain}
    assert await ids("/search?filters[kind][EQUALS]=PLAYGROUND") == {played}
    assert await ids("/search?filters[kind][EQUALS]=NORMAL") == {plain}
    assert await ids("/search?filters[kind][NOT_EQUALS]=NORMAL") == {played}
    assert await ids("/search?filters[kind][IN]=NORMAL,PLAYGROUND") == {plain, played}


async def test_queued_executions_are_taken_out_of_the_queue(system: System) -> None:
    """Rows 62 and 68: one runs beyond the limit, another one ends; who is not queued is refused."""
    first = await start(system, "limited", "RUNNING")
    second = await start(system, "limited", "QUEUED")
    third = await start(system, "limited", "QUEUED")
    await post(system, f"{BASE}/{second}/unqueue?state=RUNNING")
    await post(system, f"{BASE}/{third}/actions/unqueue?state=CANCELLED")
    await system.until(f"{BASE}/{third}", lambda seen: seen["state"]["current"] == "CANCELLED")
    await system.until(f"{BASE}/{second}", lambda seen: seen["state"]["current"] == "RUNNING")
    await post(system, f"{BASE}/{first}/unqueue?state=RUNNING", status=409)
    await post(system, f"{BASE}/{first}/unqueue?state=PAUSED", status=422)
    await post(system, f"{BASE}/unqueue/by-ids?state=RUNNING", status=422, json=[first, "unknown"])
    limits = await system.until(f"{LIMITS}/search", lambda body: body["results"][0]["running"] == 2)
    assert limits == {
        "results": [{"tenantId": "main", "namespace": "company.team", "flowId": "limited", "running": 2}],
        "total": 1,
    }


async def test_executions_are_forced_to_run_by_ids_and_by_query(system: System) -> None:
    """Rows 43, 44 and 47: whatever they wait for; who is over is refused."""
    await start(system, "limited", "RUNNING")
    second = await start(system, "limited", "QUEUED")
    third = await start(system, "limited", "QUEUED")
    assert await post(system, f"{BASE}/force-run/by-ids", json=[second]) == {"count": 1}
    await system.until(f"{BASE}/{second}", lambda seen: seen["state"]["current"] == "RUNNING")
    found = await post(system, f"{BASE}/force-run/by-query?filters[state][EQUALS]=QUEUED")
    assert found == {"count": 1}
    await system.until(f"{BASE}/{third}", lambda seen: seen["state"]["current"] == "RUNNING")
    paused = await start(system, "waiting", "PAUSED")
    await post(system, f"{BASE}/{paused}/force-run")
    await system.until(f"{BASE}/{paused}", lambda seen: seen["state"]["current"] == "SUCCESS")
    await post(system, f"{BASE}/{paused}/actions/force-run", status=409)


async def test_a_lower_number_of_running_executions_lets_others_run(system: System) -> None:
    """Row 2 of the concurrency limits, CON-05: slots are given up, not made up."""
    await start(system, "limited", "RUNNING")
    second = await start(system, "limited", "QUEUED")
    async with system.client.put(f"{LIMITS}/company.team/limited", json={"running": 7}) as response:
        assert response.status == 422
    async with system.client.put(f"{LIMITS}/company.team/limited", json={"running": 0}) as response:
        assert response.status == 200
        assert (await response.json())["running"] == 0
    await system.until(f"{BASE}/{second}", lambda seen: seen["state"]["current"] == "RUNNING")
    async with system.client.put(f"{LIMITS}/company.team/steps", json={"running": 0}) as response:
        assert response.status == 422


async def test_a_breach_and_changed_variables_are_seen(system: System) -> None:
    """SLA-05, RUN-06: the document has the labels of the breach, its reason, and the variables as they are."""
    created = await post(system, f"{BASE}/company.team/checked?wait=true")
    assert created["state"]["current"] == "FAILED"
    assert {"key": "sla", "value": "miss"} in created["labels"]
    assert created["variables"] == {"kept": 1, "nested": {"a": 3, "b": 2}}
    ended = await system.until(f"{BASE}/{created['id']}", lambda seen: "error" in seen)
    assert ended["error"].startswith("SLA `exact` is breached")
    found = await system.until(f"{BASE}/search?labels=sla:miss", lambda body: body["total"] == 1)
    assert found["results"][0]["id"] == created["id"]
