"""Restarts, replays, changes of status and labels over HTTP, against the whole system in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_system import System, running
from tests.integration.test_api_executions import BASE, YAML, form, get, post

FLOWS = """
id: flow
namespace: company.team
inputs: [{id: name, type: STRING, defaults: me}]
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: first}
  - {id: flaky, type: io.kestra.plugin.core.debug.Return, format: second}
  - {id: last, type: io.kestra.plugin.core.debug.Return, format: "{{ outputs.one.value }}"}
outputs: [{id: said, type: STRING, value: "{{ outputs.one.value }} {{ inputs.name }}"}]
---
id: parent
namespace: company.team
tasks:
  - {id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: middle}
---
id: middle
namespace: company.team
tasks:
  - {id: sub2, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: flow}
---
id: new
namespace: company.team
retry: {type: constant, interval: PT0S, maxAttempts: 2, behavior: CREATE_NEW_EXECUTION}
tasks:
  - {id: flaky, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: holding
namespace: company.team
tasks:
  - {id: hold, type: io.kestra.plugin.core.debug.Return, format: x}
"""


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The running parts, with the flows above."""
    async with running(tmp_path) as started:
        await post(started, "/api/v1/main/flows/bulk?delete=false", data=FLOWS.encode(), headers=YAML)
        yield started


async def failed(system: System, flow: str = "flow") -> dict[str, Any]:
    """An execution that failed, and that the index knows."""
    ended: dict[str, Any] = await post(system, f"{BASE}/company.team/{flow}?wait=true")
    assert ended["state"]["current"] == "FAILED"
    await system.indexed()
    return ended


async def ended(system: System, execution_id: str, state: str = "SUCCESS") -> dict[str, Any]:
    """The execution once it is in a state, with its task runs."""
    path = f"{BASE}/{execution_id}"
    found: dict[str, Any] = await system.until(path, lambda body: body["state"]["current"] == state)
    return found


def runs(execution: dict[str, Any]) -> list[str]:
    """The task runs as `task STATE attempts`."""
    return [
        f"{run['taskId']} {run['state']['current']} {len(run['attempts'])}"
        for run in execution["taskRunList"]
    ]


def label(execution: dict[str, Any], key: str) -> str | None:
    """The value of a label."""
    return next((each["value"] for each in execution["labels"] if each["key"] == key), None)


@pytest.mark.parametrize("form_of_path", ["restart", "actions/restart"])
async def test_a_failed_execution_is_restarted(system: System, form_of_path: str) -> None:
    """RTY-10 RTY-11: the same id, another attempt of the failed task run, a label, and outputs at the end."""
    before = await failed(system)
    answer = await post(system, f"{BASE}/{before['id']}/{form_of_path}")
    assert answer["id"] == before["id"]
    after = await ended(system, before["id"])
    assert runs(after) == ["one SUCCESS 1", "flaky SUCCESS 2", "last SUCCESS 1"]
    states = [each["state"] for each in after["state"]["histories"]]
    assert states == ["CREATED", "RUNNING", "FAILED", "RESTARTED", "RUNNING", "SUCCESS"]
    assert label(after, "system.restarted") == "true"
    assert after["outputs"] == {"said": "first me"}
    refused = await post(system, f"{BASE}/{before['id']}/restart", 409)
    assert "only what failed or was killed can be restarted" in refused["message"]


async def test_a_restart_restarts_failed_children(system: System) -> None:
    """SUB-08: the executions below that failed are restarted too, and keep their ids."""
    before = await failed(system, "parent")
    await post(system, f"{BASE}/{before['id']}/restart")
    after = await ended(system, before["id"])
    assert runs(after) == ["sub SUCCESS 2"]
    found = await get(system, f"{BASE}/search?size=100")
    assert len(found["results"]) == 3
    assert {each["state"]["current"] for each in found["results"]} == {"SUCCESS"}


async def test_a_replay_from_a_task_keeps_what_was_before(system: System) -> None:
    """RPL-01 to RPL-03: a new id, the original one kept, the attempt counted, earlier outputs used."""
    before = await failed(system)
    run_id = before["taskRunList"][1]["id"]
    answer = await post(system, f"{BASE}/{before['id']}/actions/replay?taskRunId={run_id}")
    assert answer["id"] != before["id"]
    after = await ended(system, answer["id"])
    assert after["originalId"] == before["id"]
    assert after["metadata"] == {
        "attemptNumber": 2,
        "originalCreatedDate": before["metadata"]["originalCreatedDate"],
    }
    assert runs(after) == ["one SUCCESS 1", "flaky SUCCESS 2", "last SUCCESS 1"]
    assert after["taskRunList"][0]["state"]["histories"] == before["taskRunList"][0]["state"]["histories"]
    assert after["outputs"] == {"said": "first me"}
    assert label(after, "system.replay") == "true"
    original = await system.until(
        f"{BASE}/{before['id']}", lambda body: label(body, "system.replayed") is not None
    )
    assert original["state"]["current"] == "FAILED"


async def test_a_replay_with_inputs_uses_them(system: System) -> None:
    """An empty form leaves the inputs as they were; no form at all is refused."""
    before = await failed(system)
    path = f"{BASE}/{before['id']}/replay-with-inputs"
    refused = await post(system, path, 422)
    assert "Required Body [inputs] not specified" in refused["message"]
    other = await post(system, path, data=form(name="you"))
    assert (await ended(system, other["id"], "FAILED"))["inputs"] == {"name": "you"}
    same = await post(system, path, data=form())
    assert (await ended(system, same["id"], "FAILED"))["inputs"] == {"name": "me"}


async def test_what_is_wrong_with_a_replay_is_said(system: System) -> None:
    """Unknown executions, task runs, revisions and tenants are not found."""
    before = await failed(system)
    for path in ("nothing/replay", f"{before['id']}/replay?taskRunId=x", f"{before['id']}/replay?revision=9"):
        await post(system, f"{BASE}/{path}", 404)
    await post(system, f"{BASE}/nothing/restart", 404)
    async with system.client.post(f"/api/v1/other/executions/{before['id']}/restart") as response:
        assert 400 <= response.status < 500


async def test_a_task_run_is_told_how_it_ended(system: System) -> None:
    """The execution goes on after it; while it runs, this is refused (H)."""
    before = await failed(system)
    body = {"taskRunId": before["taskRunList"][1]["id"], "state": "SUCCESS"}
    await post(system, f"{BASE}/{before['id']}/state", json=body)
    after = await ended(system, before["id"])
    assert runs(after) == ["one SUCCESS 1", "flaky SUCCESS 1", "last SUCCESS 1"]
    await post(system, f"{BASE}/{before['id']}/state", 404, json={**body, "taskRunId": "nothing"})
    await post(system, f"{BASE}/{before['id']}/state", 422, json={**body, "state": "PAUSED"})
    holding = await post(system, f"{BASE}/company.team/holding")
    refused = await post(system, f"{BASE}/{holding['id']}/state", 409, json=body)
    assert "is not over" in refused["message"]


async def test_state_and_labels_of_what_is_over_are_changed(system: System) -> None:
    """LAB-03: single, by ids and by query; labels of the system stay as they are."""
    before = await failed(system)
    execution = f"{BASE}/{before['id']}"
    answer = await post(system, f"{execution}/change-status?status=CANCELLED")
    assert answer["state"]["current"] == "CANCELLED"
    await post(system, f"{execution}/change-status?status=RUNNING", 422)
    answer = await post(system, f"{execution}/labels", json=[{"key": "team", "value": "a"}])
    assert label(answer, "team") == "a"
    await post(system, f"{execution}/labels", 422, json=[{"key": "system.correlationId", "value": "a"}])
    await post(system, f"{execution}/labels", 422, json=[])
    await system.indexed()
    ids = [before["id"]]
    body = {"executionsId": ids, "executionLabels": [{"key": "team", "value": "b"}]}
    assert await post(system, f"{BASE}/labels/by-ids", json=body) == {"count": 1}
    await system.indexed()
    query = "filters[flowId][EQUALS]=flow"
    labels = [{"key": "more", "value": "c"}]
    assert await post(system, f"{BASE}/labels/by-query?{query}", json=labels) == {"count": 1}
    await system.indexed()
    assert await post(system, f"{BASE}/change-status/by-ids?newStatus=FAILED", json=ids) == {"count": 1}
    await system.indexed()
    assert await post(system, f"{BASE}/change-status/by-query?newStatus=KILLED&{query}") == {"count": 1}
    after = await ended(system, before["id"], "KILLED")
    assert (label(after, "team"), label(after, "more")) == ("b", "c")
    await post(system, f"{execution}/restart")
    assert label(await ended(system, before["id"]), "team") == "b"


async def test_many_are_restarted_or_replayed(system: System) -> None:
    """All of the ids or none; of a query those that are fit for it."""
    first, second = await failed(system), await failed(system)
    ids = [first["id"], second["id"]]
    refused = await post(system, f"{BASE}/restart/by-ids", 422, json=[*ids, "nothing"])
    assert refused["invalids"] == {"nothing": "does not exist"}
    assert await post(system, f"{BASE}/replay/by-ids?latestRevision=true", json=ids) == {"count": 2}
    await system.until(
        f"{BASE}/search?size=100&filters[state][EQUALS]=FAILED", lambda found: found["total"] == 4
    )
    assert await post(system, f"{BASE}/restart/by-ids", json=ids) == {"count": 2}
    for execution_id in ids:
        await ended(system, execution_id)
    assert await post(system, f"{BASE}/restart/by-query?filters[flowId][EQUALS]=flow") == {"count": 2}
    await system.until(
        f"{BASE}/search?size=100&filters[state][EQUALS]=SUCCESS", lambda found: found["total"] == 4
    )


async def test_a_flow_is_retried_as_a_new_execution(system: System) -> None:
    """STA-08 C37: the first is RETRIED, the second counts as attempt 2 of the same original."""
    first = await post(system, f"{BASE}/company.team/new?wait=true")
    assert first["state"]["current"] == "RETRIED"
    found = await system.until(f"{BASE}/search?filters[flowId][EQUALS]=new", lambda body: body["total"] == 2)
    second = next(each for each in found["results"] if each["id"] != first["id"])
    assert second["originalId"] == first["id"]
    assert second["metadata"]["attemptNumber"] == 2
