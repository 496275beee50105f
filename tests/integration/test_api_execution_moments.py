"""What views that go back in time ask for: each answer as of event N agrees with the fold of the first N events."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.api_requests import Api, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOWS = """
id: turns
namespace: NS
tasks:
  - {id: hello, type: io.kestra.plugin.core.debug.Return, format: hello}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b, c, d, e]
    concurrencyLimit: 2
    tasks:
      - {id: say, type: io.kestra.plugin.core.debug.Return, format: "{{ taskrun.value }}"}
      - {id: check, type: io.kestra.plugin.core.debug.Return, format: x}
  - id: tries
    type: io.kestra.plugin.core.flow.ForEach
    values: [x, y]
    concurrencyLimit: 1
    tasks:
      - {id: flaky, type: io.kestra.plugin.core.debug.Return, format: x}
  - {id: bye, type: io.kestra.plugin.core.debug.Return, format: bye}
errors:
  - {id: sorry, type: io.kestra.plugin.core.debug.Return, format: sorry}
---
id: waiting
namespace: NS
tasks:
  - id: graph
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - task: {id: hold, type: io.kestra.plugin.core.flow.Pause}
      - task: {id: quick, type: io.kestra.plugin.core.debug.Return, format: x}
      - task: {id: both, type: io.kestra.plugin.core.debug.Return, format: x}
        dependsOn: [hold, quick]
  - {id: after, type: io.kestra.plugin.core.debug.Return, format: x}
finally:
  - {id: tidy, type: io.kestra.plugin.core.debug.Return, format: x}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The server of this module."""
    async with serving(tmp_path_factory.mktemp("moments")) as started:
        await started.save(FLOWS, "company.moments")
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(api: Api) -> str:
    """The path of an execution that is over, and in the index."""
    execution = await api.run("company.moments", "turns")
    found = f"/executions/{execution['id']}"
    await api.until(
        f"{found}/events?type=ExecutionEnded", lambda body: body["results"] and body["results"][0]["number"]
    )
    return found


async def _last(api: Api, path: str) -> int:
    found = await api.get(f"{path}/events?size=1")
    return int(found["total"]) - 1


async def test_every_moment_agrees_with_the_fold_of_all_events_before_it(api: Api, path: str) -> None:
    """Counts, task runs, those in a state and the execution itself are as the whole fold gives them, at each event."""
    for number in range(await _last(api, path) + 1):
        whole = await api.get(f"{path}?asOf={number}")
        runs = whole.pop("taskRunList")
        summary = await api.get(f"{path}/summary?asOf={number}")
        counted = Counter(
            {
                (task["taskId"], state): count
                for task in summary["tasks"]
                for state, count in task["states"].items()
            }
        )
        assert counted == Counter((run["taskId"], run["state"]["current"]) for run in runs)
        assert summary["taskRuns"] == len(runs)
        assert summary["state"] == whole["state"]
        assert (summary["asOf"], summary["lastEvent"]) == (number, number)
        paged = await api.get(f"{path}/task-runs?asOf={number}&size=500")
        assert paged == {"results": runs, "total": len(runs)}
        ended = await api.get(f"{path}/task-runs?asOf={number}&size=500&state=SUCCESS,RUNNING")
        assert ended["results"] == [run for run in runs if run["state"]["current"] in ("SUCCESS", "RUNNING")]
        header = await api.get(f"{path}?asOf={number}&taskRuns=false")
        whole.pop("taskRunCount")
        assert header == whole


async def test_the_summary_has_the_tasks_of_the_flow_in_order(api: Api, path: str) -> None:
    """Each says in which task and list it stands; one that never began has no task runs."""
    summary = await api.get(f"{path}/summary")
    ids = ["hello", "each", "say", "check", "tries", "flaky", "bye", "sorry"]
    assert [task["taskId"] for task in summary["tasks"]] == ids
    say, bye, sorry = summary["tasks"][2], summary["tasks"][6], summary["tasks"][7]
    assert (say["parentTaskId"], say["states"]) == ("each", {"SUCCESS": 5})
    assert (sorry["branch"], sorry["total"], bye["total"], "branch" in bye) == ("errors", 1, 0, False)
    assert "asOf" not in summary


async def test_one_task_run_then_and_not_before_it_began(api: Api, path: str) -> None:
    """Its outputs come with its end; before its first event it is not there."""
    (run,) = (await api.get(f"{path}/task-runs?taskId=sorry"))["results"]
    assert (await api.get(f"{path}/task-runs/{run['id']}"))["outputs"] == {"value": "sorry"}
    begun = await api.get(f"{path}/task-runs/{run['id']}?asOf={run['order']}")
    assert begun["outputs"] == {}
    assert begun["state"]["current"] != "SUCCESS"
    await api.get(f"{path}/task-runs/{run['id']}?asOf={run['order'] - 1}", 404)
    await api.get(f"{path}/task-runs/unknown", 404)
    short = await api.get(f"{path}/task-runs?outputs=false")
    assert not any("outputs" in each for each in short["results"])
    await api.get(f"{path}/task-runs?state=DONE", 422)


async def test_events_are_counted_in_slices_with_marks(api: Api, path: str) -> None:
    """The slices hold all events; failures are marked with the first of theirs; a part can be asked for."""
    last = await _last(api, path)
    density = await api.get(f"{path}/events/density?buckets=7")
    assert sum(density["counts"]) == last + 1
    assert len(density["counts"]) <= 7
    assert (density["firstEvent"], density["lastEvent"]) == (0, last)
    failures = [each for each in density["markers"] if each["kind"] == "failure"]
    first = await api.get(f"{path}/events?state=FAILED&size=1")
    assert failures[0]["event"] == first["results"][0]["number"]
    assert sum(each["count"] for each in failures) == first["total"]
    later = await api.get(f"{path}/events/density?from={density['endDate']}")
    assert sum(later["counts"]) <= last
    await api.get(f"{path}/events/density?buckets=0", 400)
    await api.get("/executions/unknown/events/density", 404)


async def test_events_before_and_after_and_what_an_event_led_to(api: Api, path: str) -> None:
    """The next and the former failure are one event away; causes are walked both ways."""
    (failed, *_) = (await api.get(f"{path}/events?state=FAILED&size=1"))["results"]
    again = await api.get(f"{path}/events?state=FAILED&before={failed['number'] + 1}&sort=number:desc&size=1")
    assert again["results"] == [failed]
    assert all(
        each["number"] > failed["number"]
        for each in (await api.get(f"{path}/events?after={failed['number']}"))["results"]
    )
    chain = await api.get(f"{path}/events/{failed['number']}/causes")
    assert chain[0] == failed
    assert (chain[-1]["type"], chain[-1]["cause"]["command"]) == ("ExecutionCreated", "CreateExecution")
    for event, cause in pairwise(chain):
        assert event["cause"].get("event", cause["number"]) == cause["number"] < event["number"]
    followed = await api.get(f"{path}/events?causedBy={failed['number']}")
    assert followed["results"]
    assert {each["cause"]["event"] for each in followed["results"]} == {failed["number"]}
    assert await api.get(f"{path}/events/{failed['number']}/causes?limit=3") == [*chain[:2], chain[-1]]
    await api.get(f"{path}/events/9999/causes", 404)


async def test_a_loop_is_shown_by_lanes_and_iterations(api: Api, path: str) -> None:
    """Each task inside has a lane whose slices hold all its task runs; what failed is worth a look."""
    (loop,) = (await api.get(f"{path}/task-runs?taskId=each"))["results"]
    lanes = await api.get(f"{path}/task-runs/{loop['id']}/lanes?slices=9")
    say, check = lanes["lanes"]
    assert (lanes["iterations"], say["taskId"], say["total"]) == (5, "say", 5)
    assert sum(say["started"]) == sum(say["ended"]) == 5
    assert len(say["open"]) == lanes["slices"] <= 9
    assert check["over"] == {"SUCCESS": 5}
    (other,) = (await api.get(f"{path}/task-runs?taskId=tries"))["results"]
    failing = await api.get(f"{path}/task-runs/{other['id']}/lanes")
    assert sum(failing["lanes"][0]["failed"]) == failing["lanes"][0]["over"]["FAILED"] == 1
    assert [(each["reason"], each["value"]) for each in failing["worthALook"]] == [("failed", "x")]
    assert say["medianSeconds"] <= say["p95Seconds"]
    iterations = await api.get(f"{path}/task-runs/{loop['id']}/iterations?size=2&page=2")
    assert iterations["total"] == 5
    assert [(each["iteration"], each["value"]) for each in iterations["results"]] == [(2, "c"), (3, "d")]
    assert iterations["results"][1]["total"] == 2
    chosen = await api.get(f"{path}/task-runs/{loop['id']}/iterations?value=d")
    assert [each["value"] for each in chosen["results"]] == ["d"]
    first = next(each for each in (await api.get(f"{path}/task-runs?taskId=say"))["results"])
    early = await api.get(f"{path}/task-runs/{loop['id']}/lanes?asOf={first['order']}")
    assert sum(each["total"] for each in early["lanes"]) <= 2
    for number in range(loop["order"], await _last(api, path) + 1):
        then = await api.get(f"{path}/task-runs/{loop['id']}/lanes?asOf={number}&slices=3")
        summary = await api.get(f"{path}/summary?asOf={number}")
        states = {task["taskId"]: task["states"] for task in summary["tasks"]}
        assert {each["taskId"]: each["over"].get("SUCCESS", 0) for each in then["lanes"]} == {
            name: states[name].get("SUCCESS", 0) for name in ("say", "check") if states[name]
        }
    await api.get(f"{path}/task-runs/{loop['id']}/lanes?asOf=0", 404)


async def test_lines_come_with_counts_by_level(api: Api, path: str) -> None:
    """The counts are of all lines that the other conditions leave; before the first event there are none."""
    lines = await api.get(f"{path}/logs")
    assert sum(lines["levels"].values()) == lines["total"]
    chosen = await api.get(f"{path}/logs?level=DEBUG")
    assert chosen["levels"] == lines["levels"]
    assert chosen["total"] == lines["levels"].get("DEBUG", 0)
    assert (await api.get(f"{path}/logs?asOf=0"))["total"] == 0


async def test_why_not_yet(api: Api, path: str) -> None:
    """What waits says for what: a person, tasks of a graph, the task before it, its phase."""
    assert await api.get(f"{path}/waits") == []
    started = await api.start("company.moments", "waiting", "PAUSED")
    place = f"/executions/{started}"
    await api.until(f"{place}/task-runs?taskId=quick&state=SUCCESS", lambda body: body["total"] == 1)

    async def kinds(query: str) -> list[Any]:
        return [each["kind"] for each in await api.get(f"{place}/waits?{query}")]

    (hold,) = (await api.get(f"{place}/task-runs?taskId=hold"))["results"]
    assert (await kinds(f"taskRunId={hold['id']}"))[0] == "resume"
    both = (await api.get(f"{place}/waits?taskId=both"))[0]
    assert (both["kind"], both["open"], both["total"], both["waiting"]) == ("tasks", 1, 2, ["hold"])
    after = await api.get(f"{place}/waits?taskId=after")
    assert (after[0]["kind"], after[0]["taskId"]) == ("task", "graph")
    assert after[1]["kind"] == "children"
    assert (await kinds("taskId=tidy"))[0] == "phase"
    await api.get(f"{place}/waits?taskId=unknown", 404)
    await api.get(f"{place}/waits?taskRunId=unknown", 404)


async def test_a_lost_stream_of_events_goes_on_where_it_was(api: Api, path: str) -> None:
    """A browser says with `Last-Event-ID` which event it had; nothing is sent twice and none is left out."""
    last = await _last(api, path)
    for headers, first in (({}, 3), ({"Last-Event-ID": "7"}, 8), ({"Last-Event-ID": "start"}, 3)):
        place = f"/api/v1/main{path}/events/follow?after=2"
        async with api.system.client.get(place, headers=headers) as response:
            lines = (await response.text()).splitlines()
        found = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
        assert found == ["start", *map(str, range(first, last + 1)), "end"]
