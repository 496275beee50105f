"""Executions, webhooks and logs over HTTP, against the whole system in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from flowtide.api.keys import LIVE_VIEW
from flowtide.log.keys import ExecutionKey
from tests.integration.api_system import System, running

YAML = {"Content-Type": "application/x-yaml"}
FLOWS = """
id: plain
namespace: company.team
labels: {team: core}
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: first}
  - {id: two, type: io.kestra.plugin.core.debug.Return, format: second}
outputs:
  - {id: said, type: STRING, value: "{{ outputs.two.value }}"}
triggers:
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: secret-key}
---
id: asking
namespace: company.team
inputs:
  - {id: name, type: STRING}
  - {id: count, type: INT, defaults: 3}
  - {id: paper, type: FILE, required: false}
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: holding
namespace: company.team
tasks:
  - {id: hold, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: pausing
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    onResume:
      - {id: reason, type: STRING}
  - {id: after, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: hooked
namespace: company.team
inputs:
  - {id: amount, type: INT}
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: x}
outputs:
  - {id: answer, type: STRING, value: "done"}
triggers:
  - id: hook
    type: io.kestra.plugin.core.trigger.Webhook
    key: abc
    wait: true
    returnOutputs: true
    inputs: {amount: "{{ trigger.body.amount }}"}
    conditions:
      - type: io.kestra.plugin.core.condition.Expression
        expression: "{{ trigger.body.amount > 0 }}"
---
id: off
namespace: company.team
disabled: true
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: x}
"""
BASE = "/api/v1/main/executions"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The running parts, with the flows above."""
    async with running(tmp_path) as started:
        async with started.client.post(
            "/api/v1/main/flows/bulk?delete=false", data=FLOWS.encode(), headers=YAML
        ) as response:
            assert response.status == 200, await response.text()
        yield started


async def post(system: System, path: str, status: int = 200, **arguments: Any) -> Any:
    """POST and give the JSON of the answer."""
    async with system.client.post(path, **arguments) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def get(system: System, path: str, status: int = 200) -> Any:
    """GET and give the JSON of the answer."""
    async with system.client.get(path) as response:
        assert response.status == status, await response.text()
        return await response.json()


def form(**values: str) -> FormData:
    """A multipart form of texts."""
    data = FormData(default_to_multipart=True)
    for name, value in values.items():
        data.add_field(name, value)
    return data


async def test_a_created_execution_is_answered_and_read_at_once(system: System) -> None:
    """The answer has state CREATED, labels, no nulls and a url; GET right after it finds the execution."""
    created = await post(system, f"{BASE}/company.team/plain?labels=a:b&labels=system.correlationId:order-7")
    assert created["state"]["current"] == "CREATED"
    assert created["labels"] == [
        {"key": "team", "value": "core"},
        {"key": "a", "value": "b"},
        {"key": "system.correlationId", "value": "order-7"},
    ]
    assert created["url"] == f"/ui/executions/company.team/plain/{created['id']}"
    assert created["originalId"] == created["id"]
    assert None not in created.values()
    assert (await get(system, f"{BASE}/{created['id']}"))["id"] == created["id"]
    ended = await system.until(f"{BASE}/{created['id']}", lambda body: body["state"]["current"] == "SUCCESS")
    assert [run["taskId"] for run in ended["taskRunList"]] == ["one", "two"]
    assert ended["labels"] == created["labels"]
    assert ended["outputs"] == {"said": "second"}


async def test_waiting_gives_the_end(system: System) -> None:
    """`wait=true` answers with the ended execution, its task runs and outputs, without the index."""
    ended = await post(system, f"{BASE}/company.team/plain?wait=true")
    assert ended["state"]["current"] == "SUCCESS"
    assert ended["outputs"] == {"said": "second"}
    assert [run["state"]["current"] for run in ended["taskRunList"]] == ["SUCCESS", "SUCCESS"]
    # What was waited for is read from the live view until the index has it.
    assert (await get(system, f"{BASE}/{ended['id']}"))["state"]["current"] == "SUCCESS"


async def test_inputs_are_typed_and_wrong_ones_create_nothing(system: System) -> None:
    """Inputs come as a form; missing and wrong ones are 422 with the messages of 1.3."""
    created = await post(system, f"{BASE}/company.team/asking", data=form(name="Ann", count="5", other="x"))
    assert created["inputs"] == {"name": "Ann", "count": 5, "paper": None} or created["inputs"] == {
        "name": "Ann",
        "count": 5,
    }
    missing = await post(system, f"{BASE}/company.team/asking", 422)
    assert "Missing required input:name" in missing["message"]
    wrong = await post(system, f"{BASE}/company.team/asking", 422, data=form(name="Ann", count="many"))
    assert "Invalid value for input `count`. Cause:" in wrong["message"]
    await system.indexed()
    assert (await get(system, f"{BASE}/search"))["total"] == 1


@pytest.mark.parametrize("former", [False, True])
async def test_files_come_in_both_conventions(system: System, former: bool) -> None:
    """A file's part is named by the input, or `files` with the input as file name; the value is its URI."""
    data = form(name="Ann")
    if former:
        data.add_field("files", b"content\x00", filename="paper")
    else:
        data.add_field("paper", b"content\x00", filename="../../etc/passwd.txt")
    created = await post(system, f"{BASE}/company.team/asking", data=data)
    uri = created["inputs"]["paper"]
    assert uri.startswith("kestra:///company/team/asking/executions/")
    assert ".." not in uri
    assert await system.storage.get("main", uri) == b"content\x00"
    path = f"{BASE}/{created['id']}/file"
    await system.indexed()
    await system.until(f"{BASE}/{created['id']}", lambda body: "lastEvent" in body)
    async with system.client.get(path, params={"path": uri}) as response:
        assert await response.read() == b"content\x00"
    async with system.client.get(f"{path}/metas", params={"path": uri}) as response:
        assert await response.json() == {"size": 8}
    foreign = uri.replace(created["id"], "0" * 22)
    for other, status in ((foreign, 403), (uri + "x", 404), ("kestra:///../x", 400), ("", 422)):
        async with system.client.get(path, params={"path": other}) as response:
            assert response.status == status, other


async def test_bad_forms_are_refused(system: System) -> None:
    """A form that is none is 400, another content type 415, and nothing is created."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (b"nonsense", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--", b"--x\r\n\xff\xfe"):
        await post(system, f"{BASE}/company.team/asking", 400, data=body, headers=headers)
    no_boundary = {"Content-Type": "multipart/form-data"}
    await post(system, f"{BASE}/company.team/asking", 400, data=b"x", headers=no_boundary)
    await post(system, f"{BASE}/company.team/asking", 415, data=b"x", headers={"Content-Type": "text/plain"})
    for query in ("labels=nocolon", "revision=x", "scheduleDate=tomorrow", "wait=maybe"):
        await post(system, f"{BASE}/company.team/plain?{query}", 400)
    for query in ("breakpoints=.one", "kind=NOPE", "labels=system.from:me"):
        await post(system, f"{BASE}/company.team/plain?{query}", 422)


async def test_validation_shows_each_input(system: System) -> None:
    """`/validate` answers what a creation would say, input by input."""
    answer = await post(system, f"{BASE}/company.team/asking/validate", data=form(count="x"))
    errors = {each["input"]["id"]: each.get("errors") for each in answer["inputs"]}
    assert errors["name"][0]["message"] == "Missing required input:name"
    assert "count" in errors["count"][0]["message"]
    assert errors["paper"] is None


async def test_a_disabled_flow_gives_a_failed_execution(system: System) -> None:
    """Creation succeeds, and the execution is FAILED at once (EXE-07)."""
    created = await post(system, f"{BASE}/trigger/company.team/off")
    assert created["state"]["current"] == "CREATED"
    ended = await system.until(f"{BASE}/{created['id']}", lambda body: body["state"]["current"] == "FAILED")
    assert ended["error"] == "Cannot execute a flow which is disabled"


async def test_a_flow_may_be_called_like_a_verb(system: System) -> None:
    """A form sent to `.../labels` starts the flow of that id (page 466); JSON sets the labels of an execution."""
    source = "id: labels\nnamespace: company.team\ntasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: x}]"
    async with system.client.post("/api/v1/main/flows", data=source, headers=YAML) as answer:
        assert answer.status == 200, await answer.text()
    path = "/api/v1/main/executions/{}/labels"
    form = FormData(default_to_multipart=True)
    form.add_field("unasked", "value")
    async with system.client.post(path.format("company.team"), data=form) as answer:
        started = await answer.json()
        assert (answer.status, started.get("flowId")) == (200, "labels"), started
    async with system.client.post(path.format(started["id"]), json=[{"key": "a", "value": "b"}]) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_check_that_cannot_be_told_is_named(system: System) -> None:
    """The refusal says in which check the expression stands that fails."""
    source = (
        "id: checked\nnamespace: company.team\nchecks:\n  - {message: fine, condition: '{{ true }}'}\n"
        "  - {message: m, condition: '{{ nope.x }}'}\n"
        "tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: x}]"
    )
    async with system.client.post("/api/v1/main/flows", data=source, headers=YAML) as answer:
        assert answer.status == 200, await answer.text()
    async with system.client.post("/api/v1/main/executions/company.team/checked") as answer:
        assert answer.status == 422
        assert (await answer.json())["message"].startswith("checks[1].condition: Unable to find `nope`")


async def test_unknown_things_are_not_found(system: System) -> None:
    """404 for flows, revisions and executions that are not there."""
    await post(system, f"{BASE}/company.team/nope", 404)
    await post(system, f"{BASE}/company.team/plain?revision=9", 404)
    for path in ("nope", "nope/follow", "nope/events", "..%2Fx", "%00"):
        await get(system, f"{BASE}/{path}", 404)
    async with system.client.delete(f"{BASE}/nope/kill") as response:
        assert response.status == 404
    await post(system, f"{BASE}/nope/actions/pause", 404)


async def hold(system: System) -> str:
    """Start an execution whose task runs until it is killed."""
    created = await post(system, f"{BASE}/company.team/holding")
    path = f"{BASE}/{created['id']}"
    await system.until(path, lambda body: body["state"]["current"] == "RUNNING")
    return str(created["id"])


async def test_kill_is_seen_by_the_next_read(system: System) -> None:
    """Kill answers with the execution in KILLING or KILLED, GET agrees though the index is behind; again it is 409."""
    execution_id = await hold(system)
    async with system.client.delete(f"{BASE}/{execution_id}/actions/kill?isOnKillCascade=false") as response:
        assert response.status == 200
        assert (await response.json())["state"]["current"] in ("KILLING", "KILLED")
    assert (await get(system, f"{BASE}/{execution_id}"))["state"]["current"] in ("KILLING", "KILLED")
    await system.until(f"{BASE}/{execution_id}", lambda body: body["state"]["current"] == "KILLED")
    async with system.client.delete(f"{BASE}/{execution_id}/kill") as response:
        assert response.status == 409


async def test_killing_many_is_all_or_nothing(system: System) -> None:
    """An unknown id refuses the whole request with what is wrong with it; without one all are killed."""
    first, second = await hold(system), await hold(system)
    async with system.client.delete(f"{BASE}/kill/by-ids", json=[first, "nope"]) as response:
        assert response.status == 422
        assert (await response.json())["invalids"] == {"nope": "does not exist"}
    async with system.client.delete(f"{BASE}/kill/by-ids", json=[first, second]) as response:
        assert await response.json() == {"count": 2}
    for each in (first, second):
        await system.until(f"{BASE}/{each}", lambda body: body["state"]["current"] == "KILLED")
    async with system.client.delete(f"{BASE}/kill/by-query?filters[state][EQUALS]=RUNNING") as response:
        assert await response.json() == {"count": 0}


async def test_a_pause_is_resumed_with_its_inputs(system: System) -> None:
    """Resume validates `onResume` inputs and goes on; resuming what is not paused is 409."""
    created = await post(system, f"{BASE}/company.team/pausing")
    path = f"{BASE}/{created['id']}"
    await system.until(path, lambda body: body["state"]["current"] == "PAUSED")
    refused = await post(system, f"{path}/resume", 422)
    assert "Missing required input:reason" in refused["message"]
    shown = await post(system, f"{path}/actions/resume/validate")
    assert shown["inputs"][0]["errors"][0]["message"] == "Missing required input:reason"
    resumed = await post(system, f"{path}/resume", data=form(reason="because"))
    assert resumed["state"]["current"] != "PAUSED"
    await system.until(path, lambda body: body["state"]["current"] == "SUCCESS")
    await post(system, f"{path}/resume", 409)
    await post(system, f"{path}/pause", 409)


async def read_events(content: Any, *, until: str) -> list[tuple[str, Any]]:
    """The server-sent events up to the one of this name."""
    found: list[tuple[str, Any]] = []
    name = ""
    while not found or found[-1][0] != until:
        line = (await content.readline()).decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: ").strip() or "null")))
    return found


async def test_following_shows_every_state_until_the_end(system: System) -> None:
    """The stream begins with an empty event, shows whole executions, and ends with `end`."""
    execution_id = await hold(system)
    async with system.client.get(f"{BASE}/{execution_id}/follow") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert (await read_events(response.content, until="start"))[0] == ("start", None)
        assert (await read_events(response.content, until="progress"))[-1][1]["state"]["current"] == "RUNNING"
        async with system.client.delete(f"{BASE}/{execution_id}/kill") as killed:
            assert killed.status == 200
        events = await read_events(response.content, until="end")
        assert events[-1][1]["state"]["current"] == "KILLED"
        assert events[-1][1]["taskRunList"][0]["state"]["current"] == "KILLED"
        assert (await response.content.read()).strip() == b""


async def test_following_what_has_ended_ends_at_once(system: System) -> None:
    """An ended execution is sent once, as `end`."""
    ended = await post(system, f"{BASE}/company.team/plain?wait=true")
    async with system.client.get(f"{BASE}/{ended['id']}/follow") as response:
        events = await read_events(response.content, until="end")
    assert [name for name, _ in events] == ["start", "end"]


async def test_the_end_that_was_followed_is_read_at_once(system: System) -> None:
    """Whoever saw the end, by following or by waiting, sees it in the execution before the index has it."""
    execution_id = await hold(system)
    async with system.client.get(f"{BASE}/{execution_id}/follow") as response:
        await read_events(response.content, until="progress")
        async with system.client.delete(f"{BASE}/{execution_id}/kill") as killed:
            assert killed.status == 200
        await read_events(response.content, until="end")
    assert (await get(system, f"{BASE}/{execution_id}"))["state"]["current"] == "KILLED"
    waited = await post(system, f"{BASE}/company.team/plain?wait=true")
    assert (await get(system, f"{BASE}/{waited['id']}"))["state"]["current"] == waited["state"]["current"]


async def test_a_follower_that_vanishes_leaves_nothing(system: System) -> None:
    """When the client is gone, nothing of the execution is followed any more."""
    execution_id = await hold(system)
    view = system.client.app[LIVE_VIEW]
    response = await system.client.get(f"{BASE}/{execution_id}/follow")
    await read_events(response.content, until="progress")
    assert view.get(ExecutionKey("main", execution_id)) is not None
    response.close()
    while view.get(ExecutionKey("main", execution_id)) is not None:  # noqa: ASYNC110 - the view tells nobody
        await asyncio.sleep(0)
    assert view.size == 0


async def test_a_webhook_starts_its_flow(system: System) -> None:
    """GET, POST and PUT with the right key start the flow, without a login; a wrong key is not found."""
    path = f"{BASE}/webhook/company.team/plain"
    headers = {"X-Event": "push", "Authorization": "Basic c2VjcmV0OnNlY3JldA=="}
    async with system.stranger.post(
        f"{path}/secret-key?a=1&a=2", json={"n": [1]}, headers=headers
    ) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer["trigger"]["variables"]["body"] == {"n": [1]}
    assert answer["trigger"]["variables"]["parameters"] == {"a": ["1", "2"]}
    assert answer["trigger"]["variables"]["headers"]["X-Event"] == ["push"]
    assert "c2VjcmV0OnNlY3JldA" not in str(answer)
    assert {"key": "system.from", "value": "trigger"} in answer["labels"]
    await system.until(f"{BASE}/{answer['id']}", lambda body: body["state"]["current"] == "SUCCESS")
    async with system.stranger.get(f"{path}/secret-key/more/path") as response:
        assert (await response.json())["trigger"]["variables"]["path"] == "more/path"
    async with system.stranger.put(f"{path}/secret-key", data=b"\xff\x00text") as response:
        assert response.status == 200
    for wrong in (f"{path}/wrong", f"{BASE}/webhook/company.team/asking/secret-key", f"{BASE}/webhook/x/y/z"):
        async with system.stranger.post(wrong) as response:
            assert response.status == 404
            assert "secret-key" not in (await response.text()).replace(wrong, "")


async def test_a_webhook_waits_and_returns_outputs(system: System) -> None:
    """With `wait` and `returnOutputs` the answer is the flow's outputs; unmet conditions are 409, bad inputs 422."""
    path = f"{BASE}/webhook/company.team/hooked/abc"
    async with system.stranger.post(path, json={"amount": 5}) as response:
        assert (response.status, await response.json()) == (200, {"answer": "done"})
    async with system.stranger.post(path, json={"amount": 0}) as response:
        assert response.status == 409
    async with system.stranger.post(path, json={"amount": 1.5}) as response:
        assert response.status == 422
    async with system.stranger.post(
        path, data=b"[" * 100_000, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 422


async def test_search_finds_by_filters(system: System) -> None:
    """State, labels, dates, words and the former parameters; unknown fields are 400, far pages are empty."""
    ended = await post(system, f"{BASE}/company.team/plain?wait=true&labels=a:b")
    await post(system, f"{BASE}/company.team/off?wait=true")
    await system.indexed()
    for query, total in (
        ("", 2),
        ("?filters[state][IN]=SUCCESS,FAILED", 2),
        ("?filters[state][EQUALS]=SUCCESS", 1),
        ("?filters%5Blabels%5D%5BEQUALS%5D%5Ba%5D=b", 1),
        ("?filters[flowId][EQUALS]=plain&filters[namespace][PREFIX]=company", 1),
        ("?filters[startDate][GREATER_THAN]=2020-01-01T00:00:00.000000%2B0000", 2),
        ("?filters[timeRange][EQUALS]=PT1H&filters[scope][EQUALS]=USER", 2),
        ("?filters[childFilter][EQUALS]=CHILD", 0),
        ("?state=SUCCESS&state=FAILED&namespace=company", 2),
        ("?sort=state.startDate:asc,id:desc&page=500&size=1000", 2),
        ("?filters[triggerExecutionId][EQUALS]=x", 0),
    ):
        assert (await get(system, f"{BASE}/search{query}"))["total"] == total, query
    for bad in (
        "filters[nope][EQUALS]=x",
        "filters[startDate][EQUALS]=x",
        "sort=nope:asc",
        "filters[or][id][EQUALS]=x",
    ):
        await get(system, f"{BASE}/search?{bad}", 400)
    listed = await get(system, f"{BASE}?namespace=company.team&flowId=plain&page=1&size=10")
    assert [each["id"] for each in listed["results"]] == [ended["id"]]


async def test_events_and_the_past_can_be_read(system: System) -> None:
    """Events come in order and by page; `asOf` shows the execution as it was after one of them."""
    ended = await post(system, f"{BASE}/company.team/plain?wait=true")
    await system.indexed()
    page = await get(system, f"{BASE}/{ended['id']}/events?size=3&page=2")
    assert [event.get("number", 0) for event in page["results"]] == [3, 4, 5]
    past = await get(system, f"{BASE}/{ended['id']}?asOf=0")
    assert past["state"]["current"] == "CREATED"
    assert past["taskRunList"] == []
    latest = await get(system, f"{BASE}/{ended['id']}?asOf={page['total'] - 1}")
    assert latest["state"]["current"] == "SUCCESS"


async def test_logs_are_found_read_and_followed(system: System) -> None:
    """By search, by execution, as text, and as they come."""
    ended = await post(system, f"{BASE}/company.team/plain?wait=true")
    await system.indexed()
    path = f"/api/v1/main/logs/{ended['id']}"
    lines = [line["message"] for line in await get(system, path)]
    assert {"ran one", "ran two"} <= set(lines)
    assert len(await get(system, f"{path}?minLevel=ERROR")) == 0
    assert [line["message"] for line in await get(system, f"{path}?taskId=one")] == ["ran one"]
    found = await get(
        system,
        f"/api/v1/main/logs/search?filters[minLevel][EQUALS]=INFO&filters[executionId][EQUALS]={ended['id']}",
    )
    assert found["total"] == len(lines)
    async with system.client.get(f"{path}/download") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        assert "INFO [one] ran one" in await response.text()
    async with system.client.get(f"{path}/follow") as response:
        events = await read_events(response.content, until="end")
    assert {"ran one", "ran two"} <= {body.get("message") for _, body in events}
    await get(system, "/api/v1/main/logs/nope", 404)
    await get(system, f"{path}?minLevel=LOUD", 400)
