"""The API of triggers, against the whole system in this process: read, switch, unlock, reset, and backfills."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowtide.expressions import Scope, render_value
from flowtide.services.plugins import discover_plugins
from flowtide.services.runtimes import triggers_runtime
from tests.integration.api_system import System, running

FLOW = """
id: yearly
namespace: company.team
inputs: [{id: day, type: STRING, required: false}]
tasks:
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: x}
triggers:
  - {id: each, type: io.kestra.plugin.core.trigger.Schedule, cron: "@yearly", stopAfter: [FAILED]}
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: abc}
"""
NAMED = {"namespace": "company.team", "flowId": "yearly", "triggerId": "each"}
OF_FLOW = "/api/v1/main/triggers/company.team/yearly"


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running(tmp_path) as system:
        runtime = triggers_runtime(
            system.log,
            instance="test",
            clock=clock,
            registry=discover_plugins(),
            render=lambda value, variables: render_value(value, Scope(variables, now=clock), typed=True),
        )
        task = asyncio.create_task(runtime.run())
        headers = {"Content-Type": "application/x-yaml"}
        async with system.client.post("/api/v1/main/flows", data=FLOW, headers=headers) as response:
            assert response.status == 200, await response.text()
        await system.until(OF_FLOW, lambda found: "nextExecutionDate" in found["results"][0])
        try:
            yield system
        finally:
            runtime.stop()
            await task


async def call(system: System, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request below `/api/v1/main/triggers`."""
    async with system.client.request(method, f"/api/v1/main/triggers{path}", json=body) as response:
        return response.status, await response.json() if response.status != 204 else None


async def one(system: System) -> dict[str, Any]:
    """The trigger's state, as it is read right now."""
    _, found = await call(system, "GET", "/company.team/yearly")
    (state,) = found["results"]
    assert isinstance(state, dict)
    return state


async def test_only_triggers_of_the_scheduler_are_listed(system: System) -> None:
    """TRG-09: with the fields of G_models, Trigger; a search gives the trigger as it is declared, too."""
    state = await one(system)
    assert {name: state[name] for name in NAMED} == NAMED
    assert (state["disabled"], state["tenantId"], state["stopAfter"]) == (False, "main", ["FAILED"])
    assert state["nextExecutionDate"].endswith("-01-01T00:00:00Z")
    assert {"date", "updatedDate"} <= set(state)
    _, found = await call(system, "GET", "/search?filters[flowId][EQUALS]=yearly&q=yearly")
    (item,) = found["results"]
    assert found["total"] == 1
    assert item["triggerContext"] == state
    assert item["abstractTrigger"]["cron"] == "@yearly"
    _, found = await call(system, "GET", "/search?filters[triggerId][EQUALS]=other")
    assert found == {"results": [], "total": 0}


async def test_triggers_are_exported_as_csv(system: System) -> None:
    """A line of names, and one a trigger."""
    async with system.client.get("/api/v1/main/triggers/export/by-query/csv?flowId=yearly") as response:
        assert response.content_type == "text/csv"
        names, line = csv.reader((await response.text()).splitlines())
    shown = dict(zip(names, line, strict=True))
    assert {name: shown[name] for name in NAMED} == NAMED
    assert shown["stopAfter"] == '["FAILED"]'


async def test_a_backfill_is_started_paused_resumed_and_deleted(system: System) -> None:
    """BKF-02, BKF-03: each answer is the trigger as it is then, and the next read sees it."""
    await call(system, "POST", "/set-disabled/by-triggers", {"triggers": [NAMED], "disabled": True})
    asked = {
        "start": "2001-01-01T00:00:00.000Z",
        "end": None,
        "inputs": None,
        "labels": [{"key": "a", "value": "b"}],
    }
    status, told = await call(system, "PUT", "", {**NAMED, "backfill": asked})
    assert status == 200
    assert told["backfill"]["start"] == "2001-01-01T00:00:00Z"
    assert told["backfill"]["currentDate"] == "2001-01-01T00:00:00Z"
    assert told["backfill"]["labels"] == [{"key": "a", "value": "b"}]
    assert (await one(system))["backfill"] == told["backfill"]
    assert (await call(system, "PUT", "/backfill/create", {**NAMED, "backfill": asked}))[0] == 409
    status, told = await call(system, "PUT", "/backfill/pause", NAMED)
    assert (status, told["backfill"]["paused"]) == (200, True)
    assert (await call(system, "POST", "/backfill/pause/by-triggers", [NAMED])) == (200, {"count": 0})
    status, told = await call(system, "PUT", "/backfill/unpause", NAMED)
    assert (status, told["backfill"]["paused"]) == (200, False)
    await system.indexed()
    assert (await call(system, "POST", "/backfill/pause/by-query?flowId=yearly")) == (200, {"count": 1})
    assert (await call(system, "POST", "/backfill/unpause/by-query?flowId=yearly")) == (200, {"count": 1})
    assert (await call(system, "POST", "/backfill/delete/by-query?flowId=other")) == (200, {"count": 0})
    status, told = await call(system, "POST", "/backfill/delete", NAMED)
    assert status == 200
    assert "backfill" not in told
    assert (await call(system, "POST", "/backfill/delete", NAMED))[0] == 409


async def test_a_backfill_runs_each_date(system: System) -> None:
    """BKF-01, BKF-06: executions with the dates, inputs and labels."""
    asked = {"start": "2020-01-01T00:00:00Z", "end": "2022-01-01T00:00:00Z", "inputs": {"day": "x"}}
    status, _ = await call(system, "PUT", "", {**NAMED, "backfill": asked})
    assert status == 200
    path = "/api/v1/main/executions/search?flowId=yearly"
    found = await system.until(path, lambda found: found["total"] == 3)
    dates = sorted(each["trigger"]["variables"]["date"] for each in found["results"])
    assert dates == ["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z"]
    assert {each["inputs"]["day"] for each in found["results"]} == {"x"}
    await system.until(OF_FLOW, lambda found: "backfill" not in found["results"][0])


async def test_triggers_are_switched_unlocked_restarted_and_reset(system: System) -> None:
    """TRG-10: one, some by their names, and those that filters find."""
    status, told = await call(system, "PUT", "", {**NAMED, "disabled": True})
    assert (status, told["disabled"]) == (200, True)
    assert (await one(system))["disabled"]
    status, told = await call(system, "PUT", "/set-disabled", {**NAMED, "disabled": False})
    assert (status, told["disabled"]) == (200, False)
    await system.indexed()
    assert await call(system, "POST", "/set-disabled/by-query?flowId=yearly&disabled=true") == (
        200,
        {"count": 1},
    )
    assert (await one(system))["disabled"]
    path = "/company.team/yearly/each"
    assert (await call(system, "POST", f"{path}/unlock"))[0] == 409
    assert await call(system, "POST", "/unlock/by-triggers", [NAMED]) == (200, {"count": 0})
    assert (await call(system, "POST", f"{path}/restart"))[0] == 200
    assert await call(system, "DELETE", path) == (204, None)
    assert not (await one(system))["disabled"]
    assert await call(system, "DELETE", "/delete/by-triggers", [NAMED]) == (200, {"count": 1})
    wanted = {"filters": [{"field": "FLOW_ID", "operation": "EQUALS", "value": {"value": "yearly"}}]}
    await system.indexed()
    assert await call(system, "DELETE", "/delete/by-query", wanted) == (200, {"count": 1})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "", {**NAMED, "triggerId": "unknown", "disabled": True}, 404),
        ("PUT", "", {**NAMED, "triggerId": "hook", "disabled": True}, 404),
        ("PUT", "", {**NAMED, "flowId": "unknown", "disabled": True}, 404),
        ("PUT", "", NAMED, 422),
        ("PUT", "", {"disabled": True}, 422),
        ("PUT", "", {**NAMED, "backfill": {}}, 422),
        ("PUT", "", {**NAMED, "backfill": {"start": "yesterday"}}, 400),
        ("PUT", "", {**NAMED, "backfill": {"start": "2999-01-01T00:00:00Z"}}, 422),
        ("PUT", "", {**NAMED, "backfill": {"start": "2020-01-01T00:00:00Z", "inputs": []}}, 422),
        ("PUT", "", {**NAMED, "backfill": {"start": "2020-01-01T00:00:00Z", "labels": "x"}}, 422),
        (
            "PUT",
            "",
            {**NAMED, "backfill": {"start": "2020-01-02T00:00:00Z", "end": "2020-02-01T00:00:00Z"}},
            409,
        ),
        ("POST", "/set-disabled/by-triggers", {"triggers": [], "disabled": True}, 422),
        ("POST", "/set-disabled/by-query", None, 422),
        ("POST", "/unlock/by-triggers", {}, 422),
        ("GET", "/search?filters[state][EQUALS]=x", None, 400),
        ("POST", "/company.team/yearly/unknown/restart", None, 404),
    ],
)
async def test_what_is_wrong_is_refused(
    system: System, method: str, path: str, body: Any, status: int
) -> None:
    """The envelope says what; nothing changes."""
    found, answer = await call(system, method, path, body)
    assert found == status, answer
    assert answer["message"]
