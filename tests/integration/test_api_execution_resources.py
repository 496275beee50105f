"""The contract of what the API tells of executions, and of their deletion; one server for all tests."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from flowtide.log.port import Message
from flowtide.model.entries import MetricEntry
from flowtide.model.records import encode
from tests.integration.api_requests import API, Api, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOWS = """
id: plain
namespace: NS
labels: {kind: example}
inputs: [{id: name, type: STRING, defaults: me}]
variables: {color: "blue"}
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: first}
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: left, type: io.kestra.plugin.core.debug.Return, format: l}
      - {id: right, type: io.kestra.plugin.core.debug.Return, format: r}
outputs: [{id: said, type: STRING, value: "{{ outputs.one.value }} {{ inputs.name }}"}]
---
id: holding
namespace: NS
concurrency: {limit: 1, behavior: QUEUE}
tasks:
  - {id: hold, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: parent
namespace: NS
tasks:
  - {id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: NS, flowId: plain}
---
id: off
namespace: NS
disabled: true
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: x}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The server of this module."""
    async with serving(tmp_path_factory.mktemp("executions")) as started:
        yield started


def ids(body: Any) -> list[str]:
    """The ids of a page."""
    return [each["id"] for each in body["results"]]


async def stream(api: Api, path: str) -> list[tuple[str, Any]]:
    """The events of a stream to its end, as (name, data)."""
    async with api.system.client.get(API + path) as response:
        assert response.status == 200
        blocks = (await response.text()).split("\n\n")
    found = []
    for block in blocks:
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"] or "null")))
    return found


# --- delete ------------------------------------------------------------------------------------------------------


async def test_a_deleted_execution_is_gone_with_its_logs_at_once(api: Api) -> None:
    """After 204 neither the execution, nor a search, nor its events or logs know it; other ones stay."""
    await api.save(FLOWS, "del.one")
    gone, stays = await api.run("del.one", "plain"), await api.run("del.one", "plain")
    assert len(await api.get(f"/logs/{gone['id']}")) == 3
    await api.call("DELETE", f"/executions/{gone['id']}", 204)
    await api.get(f"/executions/{gone['id']}", 404)
    await api.get(f"/logs/{gone['id']}", 404)
    await api.get(f"/executions/{gone['id']}/events", 404)
    assert ids(await api.get("/executions/search?filters[namespace][EQUALS]=del.one")) == [stays["id"]]
    await api.call("DELETE", f"/executions/{gone['id']}", 404)


async def test_what_belongs_to_a_deleted_execution_may_stay(api: Api) -> None:
    """With `deleteLogs=false` its lines can still be searched."""
    await api.save(FLOWS, "del.logs")
    gone = await api.run("del.logs", "plain")
    await api.call("DELETE", f"/executions/{gone['id']}?deleteLogs=false", 204)
    found = await api.get(f"/logs/search?filters[executionId][EQUALS]={gone['id']}")
    assert found["total"] == 3


async def test_a_running_execution_is_ended_first_and_gives_its_slot_back(api: Api) -> None:
    """The queued one runs once the one in the slot was deleted."""
    await api.save(FLOWS, "del.live")
    running = await api.start("del.live", "holding")
    queued = await api.start("del.live", "holding", "QUEUED")
    await api.call("DELETE", f"/executions/{running}", 204)
    await api.get(f"/executions/{running}", 404)
    await api.until(f"/executions/{queued}", lambda body: body["state"]["current"] == "RUNNING")
    answer = await api.call("DELETE", "/executions/by-ids?includeNonTerminated=true", json=[queued])
    assert answer == {"count": 1}


async def test_many_are_deleted_all_or_none(api: Api) -> None:
    """An unknown id, or one that runs, refuses the request with what is wrong with each."""
    await api.save(FLOWS, "del.many")
    done = await api.run("del.many", "plain")
    running = await api.start("del.many", "holding")
    refused = await api.call("DELETE", "/executions/by-ids", 422, json=[done["id"], running, "nope"])
    assert set(refused["invalids"]) == {running, "nope"}
    await api.get(f"/executions/{done['id']}")
    await api.call("DELETE", "/executions/by-ids", 400, json={"ids": []})
    query = "/executions/by-query?filters[namespace][EQUALS]=del.many"
    assert await api.call("DELETE", query) == {"count": 1}
    assert await api.call("DELETE", query + "&includeNonTerminated=true") == {"count": 1}
    assert await api.call("DELETE", query) == {"count": 0}
    assert (await api.get("/executions/search?namespace=del.many"))["total"] == 0


# --- lists -------------------------------------------------------------------------------------------------------


async def test_executions_are_exported_as_csv(api: Api) -> None:
    """A line for each that the filters find, labels as JSON."""
    await api.save(FLOWS, "csv")
    run = await api.run("csv", "plain", "&labels=team:core")
    text = (await api.get("/executions/export/by-query/csv?filters[namespace][EQUALS]=csv")).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["id"], row["flowId"], row["state"]) == (run["id"], "plain", "SUCCESS")
    assert json.loads(row["labels"])["team"] == "core"
    await api.get("/executions/export/by-query/csv?filters[nope][EQUALS]=x", 400)


async def test_the_values_of_a_field_are_listed(api: Api) -> None:
    """Either spelling of the field; one that has no list of values is refused."""
    await api.save(FLOWS, "dist.a")
    await api.run("dist.a", "plain")
    within = "&filters[namespace][PREFIX]=dist"
    assert await api.get("/executions/distinct-field-values?field=NAMESPACE" + within) == ["dist.a"]
    assert await api.get("/executions/distinct-field-values?field=flowId&size=1" + within) == ["plain"]
    await api.get("/executions/distinct-field-values?field=LABELS", 400)
    await api.get("/executions/distinct-field-values", 422)
    await api.get("/executions/distinct-field-values?field=STATE&size=0", 422)


async def test_groups_of_filters_narrow_a_search(api: Api) -> None:
    """`or` within `and`: one of two flows of a namespace; a page beyond the end is empty."""
    await api.save(FLOWS, "grp")
    await api.run("grp", "plain")
    await api.run("grp", "parent")
    path = (
        "/executions/search?filters[and][0][namespace][EQUALS]=grp"
        "&filters[and][1][or][0][flowId][EQUALS]=parent&filters[and][1][or][1][flowId][EQUALS]=none"
    )
    assert (await api.get(path))["total"] == 1
    assert await api.get(path + "&page=9") == {"results": [], "total": 1}
    main = await api.get("/executions/search?namespace=grp&filters[parentId][IS_NULL]=")
    assert main["total"] == 2


async def test_the_latest_execution_of_flows(api: Api) -> None:
    """One for each flow that has any; the body must name flows."""
    await api.save(FLOWS, "late")
    await api.run("late", "plain")
    last = await api.run("late", "plain")
    body = [{"namespace": "late", "id": "plain"}, {"namespace": "late", "id": "parent"}]
    (found,) = await api.call("POST", "/executions/latest", json=body)
    assert (found["id"], found["flowId"], found["namespace"]) == (last["id"], "plain", "late")
    assert found["status"] == "SUCCESS"
    assert found["startDate"]
    await api.call("POST", "/executions/latest", 400, json=[{"flow": "x"}])


async def test_what_can_be_run_is_listed(api: Api) -> None:
    """Namespaces and flows, without those that are disabled; how long a flow takes on average."""
    await api.save(FLOWS, "runnable")
    assert "runnable" in await api.get("/executions/namespaces")
    flows = await api.get("/executions/namespaces/runnable/flows")
    assert [each["id"] for each in flows] == ["holding", "parent", "plain"]
    path = "/executions/namespaces/runnable/flows/plain/average-duration"
    assert await api.get(path) == {"count": 0}
    await api.run("runnable", "plain")
    assert (await api.get(path))["count"] == 1
    await api.get("/executions/namespaces/runnable/flows/nope/average-duration", 404)


async def test_a_flow_for_execution_shows_no_properties_of_tasks(api: Api) -> None:
    """FlowForExecution: ids and types, tasks within tasks, subflows; of an execution its revision."""
    await api.save(FLOWS, "ffe")
    shown = await api.get("/executions/flows/ffe/plain")
    assert shown["tasks"][0] == {"id": "one", "type": "io.kestra.plugin.core.debug.Return"}
    assert [each["id"] for each in shown["tasks"][1]["tasks"]] == ["left", "right"]
    assert shown["labels"] == {"kind": "example"}
    assert (shown["revision"], shown["disabled"], shown["deleted"]) == (1, False, False)
    parent = await api.get("/executions/flows/ffe/parent")
    assert parent["tasks"][0]["subflowId"] == {"namespace": "ffe", "flowId": "plain"}
    run = await api.run("ffe", "plain")
    assert await api.get(f"/executions/{run['id']}/flow") == shown
    await api.get("/executions/flows/ffe/nope", 404)
    await api.get("/executions/flows/ffe/plain?revision=7", 404)
    await api.get("/executions/nope/flow", 404)


# --- graph and followers -----------------------------------------------------------------------------------------


async def test_the_graph_of_an_execution_counts_its_runs(api: Api) -> None:
    """The flow's graph, each task with how many runs are in which state; a subflow can be opened."""
    await api.save(FLOWS, "graph")
    run = await api.run("graph", "plain")
    graph = await api.get(f"/executions/{run['id']}/graph")
    states = {each["task"]["id"]: each.get("states") for each in graph["nodes"] if "task" in each}
    assert states == {name: {"SUCCESS": 1} for name in ("one", "both", "left", "right")}
    parent = await api.run("graph", "parent")
    opened = await api.get(f"/executions/{parent['id']}/graph?subflows=sub")
    inner = [each for each in opened["nodes"] if each.get("task", {}).get("id") == "left"]
    assert inner
    assert "states" not in inner[0]
    await api.get("/executions/nope/graph", 404)


async def test_executions_that_belong_together_are_followed(api: Api) -> None:
    """The parent and the execution of its subflow, each with its state, then the end."""
    await api.save(FLOWS, "dep")
    parent = await api.run("dep", "parent")
    found = await stream(api, f"/executions/{parent['id']}/follow-dependencies?expandAll=true")
    assert (found[0], found[-1]) == (("start", {}), ("end", {}))
    ended = {each["flowId"]: each["state"]["current"] for name, each in found if name == "progress"}
    assert ended == {"parent": "SUCCESS", "plain": "SUCCESS"}
    await api.get("/executions/nope/follow-dependencies", 404)


# --- expressions -------------------------------------------------------------------------------------------------


async def test_an_expression_sees_what_the_execution_has(api: Api) -> None:
    """Inputs, variables, outputs; at a task run also that; in both spellings of the path."""
    await api.save(FLOWS, "eval")
    run = await api.run("eval", "plain")
    path = f"/executions/{run['id']}"
    text = "{{ inputs.name }} {{ vars.color }} {{ outputs.one.value }}"
    assert await api.call("POST", f"{path}/eval", data=text) == {"result": "me blue first"}
    left = next(each for each in run["taskRunList"] if each["taskId"] == "left")
    answer = await api.call(
        "POST", f"{path}/actions/eval/{left['id']}", data="{{ taskrun.id }} {{ task.id }}"
    )
    assert answer == {"result": f"{left['id']} left"}


@pytest.mark.parametrize(
    "expression",
    [
        "{{ nope.x }}",
        "{{ secret('A') }}",
        "{{ http('http://x') }}",
        "{{ 1 + }}",
        "{{ read('file:///etc/passwd') }}",
    ],
)
async def test_what_cannot_be_evaluated_says_why(api: Api, expression: str) -> None:
    """The answer is 200 with an `error` and no `result`; secrets are never shown, no request is sent."""
    await api.save(FLOWS, "evalbad")
    run = await api.run("evalbad", "plain")
    answer = await api.call("POST", f"/executions/{run['id']}/eval", data=expression)
    assert set(answer) == {"error"}
    assert answer["error"]


async def test_expressions_of_what_is_not_there(api: Api) -> None:
    """An unknown execution or task run is 404; an endless loop ends, and a body that is too large is refused."""
    await api.save(FLOWS, "evalend")
    run = await api.run("evalend", "plain")
    await api.call("POST", "/executions/nope/eval", 404, data="x")
    await api.call("POST", f"/executions/{run['id']}/eval/nope", 404, data="x")
    loop = "{% for a in range(0, 99999) %}{% for b in range(0, 99999) %}x{% endfor %}{% endfor %}"
    assert "error" in await api.call("POST", f"/executions/{run['id']}/eval", data=loop)
    await api.call("POST", f"/executions/{run['id']}/eval", 413, data="x" * 70_000)


# --- history -----------------------------------------------------------------------------------------------------


async def test_events_are_paged_counted_and_followed(api: Api) -> None:
    """The same events in each way; a type narrows them."""
    await api.save(FLOWS, "events")
    run = await api.run("events", "plain")
    path = f"/executions/{run['id']}/events"
    followed = [each for name, each in await stream(api, f"{path}/follow") if name == "progress"]
    page = await api.until(f"{path}?size=500", lambda body: body["total"] == len(followed))
    assert page["results"] == followed
    assert [each["number"] for each in followed] == list(range(len(followed)))
    created = await api.get(f"{path}?type=TaskRunCreated")
    assert created["total"] == 4
    counts = await api.get(f"{path}/counts?interval=hour")
    assert sum(each["count"] for each in counts) == len(followed)
    after = [each for name, each in await stream(api, f"{path}/follow?after=1") if name == "progress"]
    assert after == followed[2:]
    await api.get(f"{path}/counts?interval=blink", 400)
    for part in ("", "/counts", "/follow"):
        await api.get(f"/executions/nope/events{part}", 404)


async def test_an_execution_as_it_was_and_why(api: Api) -> None:
    """After event 0 nothing ran; the chain of causes of a task run leads back to a command."""
    await api.save(FLOWS, "causes")
    run = await api.run("causes", "plain")
    path = f"/executions/{run['id']}"
    assert (await api.get(f"{path}?asOf=0"))["taskRunList"] == []
    left = next(each for each in run["taskRunList"] if each["taskId"] == "left")
    chain = await api.get(f"{path}/causes/{left['id']}")
    assert chain[0]["run_id" if "run_id" in chain[0] else "runId"] == left["id"]
    for event, cause in pairwise(chain):
        assert event["cause"].get("event", cause["number"]) == cause["number"] < event["number"]
    assert chain[-1]["cause"]["command"] == "CreateExecution"
    await api.get(f"{path}/causes/nope", 404)


# --- logs, outputs, metrics --------------------------------------------------------------------------------------


async def test_lines_are_deleted_by_task_and_all(api: Api) -> None:
    """What is left is what was not named; an unknown execution is 404, a wrong level 400."""
    await api.save(FLOWS, "lines")
    run = await api.run("lines", "plain")
    path = f"/logs/{run['id']}"
    assert len(await api.until(path, lambda lines: len(lines) == 3)) == 3
    await api.call("DELETE", f"{path}?taskId=left", 204)
    assert {each["taskId"] for each in await api.get(path)} == {"one", "right"}
    await api.call("DELETE", f"{path}?minLevel=ERROR", 204)
    assert len(await api.get(path)) == 2
    await api.call("DELETE", path, 204)
    assert await api.get(path) == []
    await api.call("DELETE", f"{path}?minLevel=LOUD", 400)
    await api.call("DELETE", "/logs/nope", 404)
    await api.call("DELETE", "/logs/lines/plain", 422)
    await api.call("DELETE", "/logs/lines/plain?triggerId=t", 204)


async def test_outputs_are_read_by_execution_and_task_run(api: Api) -> None:
    """As clients of 2.0 ask for them."""
    await api.save(FLOWS, "outs")
    run = await api.run("outs", "plain")
    assert await api.get(f"/outputs/executions/{run['id']}") == {"said": "first me"}
    found = await api.get(f"/outputs/tasks/{run['id']}")
    one = next(each for each in found if each["taskId"] == "one")
    assert one["inline"] is True
    assert await api.get(f"/outputs/tasks/{run['id']}/{one['taskRunId']}") == {"value": "first"}
    await api.get(f"/outputs/tasks/{run['id']}/nope", 404)
    await api.get("/outputs/executions/nope", 404)
    await api.get("/outputs/tasks/nope", 404)


async def test_metrics_are_listed_and_aggregated_over_time(api: Api) -> None:
    """By execution, their names, and sums and averages in steps that fit the span."""
    await api.save(FLOWS, "met")
    run = await api.run("met", "plain")
    noon = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
    entries = [
        MetricEntry(
            tenant_id="main", namespace="met", flow_id="plain", execution_id=run["id"], task_id=task,
            task_run_id=f"run-{task}", name="rows", type="counter", value=value, timestamp=noon + timedelta(hours=hour),
        )
        for task, value, hour in (("one", 2.0, 0), ("one", 4.0, 0), ("left", 10.0, 1))
    ]  # fmt: skip  # a table
    key = f"main/{run['id']}"
    await api.system.log.append([Message(topic="metrics", key=key, value=encode(each)) for each in entries])
    listed = await api.until(f"/metrics/{run['id']}?sort=value:desc", lambda body: body["total"] == 3)
    assert [each["value"] for each in listed["results"]] == [10.0, 4.0, 2.0]
    assert (await api.get(f"/metrics/{run['id']}?taskId=one"))["total"] == 2
    assert await api.get("/metrics/names/met/plain") == ["rows"]
    assert await api.get("/metrics/names/met/plain/left") == ["rows"]
    assert await api.get("/metrics/names/met/plain/none") == []
    assert await api.get("/metrics/tasks/met/plain") == ["left", "one"]
    span = "startDate=2026-01-05T10:00:00Z&endDate=2026-01-05T17:00:00Z"
    total = await api.get(f"/metrics/aggregates/met/plain/rows?{span}")
    assert total["groupBy"] == "hour"
    assert [each["value"] for each in total["aggregations"]] == [0, 0, 6.0, 10.0, 0, 0, 0, 0]
    mean = await api.get(f"/metrics/aggregates/met/plain/one/rows?aggregation=avg&{span}")
    assert [each["value"] for each in mean["aggregations"] if "value" in each] == [3.0]
    days = "startDate=2026-01-01T00:00:00Z&endDate=2026-01-31T00:00:00Z"
    assert (await api.get(f"/metrics/aggregates/met/plain/rows?{days}"))["groupBy"] == "day"
    await api.get("/metrics/aggregates/met/plain/rows?aggregation=median", 422)
    await api.get("/metrics/aggregates/met/plain/rows?startDate=soon", 400)
    await api.get("/metrics/aggregates/met/plain/rows?startDate=9000-01-01T00:00:00Z", 422)
    await api.get("/metrics/nope", 404)
    await api.call("DELETE", f"/executions/{run['id']}", 204)
    assert await api.get("/metrics/names/met/plain") == []


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "status", "content", "shown"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=4-2", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=10-", 416, None, "bytes */10"),
    ],
)
async def test_a_part_of_a_file_is_downloaded(
    api: Api, wanted: str, status: int, content: bytes | None, shown: str | None
) -> None:
    """One range is served, what is beyond the end is 416, and anything else is the whole file."""
    await api.save(FLOWS, "files")
    run = await api.run("files", "plain")
    uri = f"kestra:///files/plain/executions/{run['id']}/tasks/one/x/a.txt"
    await api.system.storage.put("main", uri, b"0123456789")
    path = f"{API}/executions/{run['id']}/file"
    async with api.system.client.get(path, params={"path": uri}, headers={"Range": wanted}) as response:
        assert response.status == status
        assert response.headers.get("Content-Range") == shown
        if content is not None:
            assert await response.read() == content


async def test_a_file_says_which_it_is(api: Api) -> None:
    """`ETag` stays until the file is written anew: what is known is not sent again, a part only of the same file."""
    await api.save(FLOWS, "files")
    run = await api.run("files", "plain")
    uri = f"kestra:///files/plain/executions/{run['id']}/tasks/one/x/b.txt"
    path, storage = f"{API}/executions/{run['id']}/file", api.system.storage

    async def ask(method: str = "GET", **headers: str) -> tuple[int, bytes, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with api.system.client.request(method, path, params={"path": uri}, headers=named) as response:
            return response.status, await response.read(), response.headers["ETag"]

    await storage.put("main", uri, b"0123456789")
    status, content, entity = await ask()
    assert (status, content) == (200, b"0123456789")
    assert await ask("HEAD") == (200, b"", entity)
    assert await ask(If_None_Match=f'"other", W/{entity}') == (304, b"", entity)
    assert await ask(If_None_Match='"other"') == (200, content, entity)
    assert await ask(Range="bytes=8-", If_Range=entity) == (206, b"89", entity)
    assert await ask(Range="bytes=8-", If_Range='"other"') == (200, content, entity)
    await storage.put("main", uri, b"9876543210")
    status, content, other = await ask(Range="bytes=8-", If_Range=entity, If_None_Match=entity)
    assert (status, content, other != entity) == (200, b"9876543210", True)


async def test_deletions_and_followers_at_once(api: Api) -> None:
    """Somebody who follows the events of an execution that is deleted meanwhile comes to an end."""
    await api.save(FLOWS, "both")
    running = await api.start("both", "holding")
    following = asyncio.create_task(stream(api, f"/executions/{running}/follow"))
    await api.call("DELETE", f"/executions/{running}", 204)
    names = [name for name, _ in await following]
    assert names[0] == "start"
