"""Dashboards and the data of their charts over HTTP, against the whole system in this process (page 429)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowtide.model.access import Action, Permission
from flowtide.model.dashboards.source import parse_dashboard
from flowtide.model.identity import Binding, BindingType, Role
from flowtide.model.resources import ResourceKind
from flowtide.services.plugins import discover_plugins
from tests.integration.api_system import System, running
from tests.integration.test_api_identities import PASSWORD, asked, basic, directory_of

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(os.environ.get("FLOWTIDE_TEST_EXAMPLES", ROOT.parent / "shared" / "examples"))

_PATH = "/api/v1/main/dashboards"
_YAML = {"Content-Type": "application/x-yaml"}
_FLOW = """id: hello
namespace: company.team
description: Says **hello**.
tasks:
  - {id: greet, type: io.kestra.plugin.core.debug.Return, format: "hi"}
"""
_TABLE = """id: {id}
title: {title}
description: For tests  # kept as it is
timeWindow:
  default: P7D
  max: P30D
charts:
  - id: per_flow
    type: io.kestra.plugin.core.dashboard.chart.Table
    chartOptions:
      displayName: Executions
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns:
        flow:
          field: FLOW_ID
        total:
          agg: COUNT
  - id: about
    type: io.kestra.plugin.core.dashboard.chart.Markdown
    source:
      type: FlowDescription
      namespace: company.team
      flowId: hello
"""


async def _send(
    system: System, method: str, path: str, *, data: str | None = None, json: Any = None, status: int = 200
) -> Any:
    headers = _YAML if data is not None else None
    body = None if data is None else data.encode()
    async with system.client.request(method, path, data=body, json=json, headers=headers) as response:
        text = await response.text()
        assert response.status == status, text
        return await response.json() if response.content_type == "application/json" else text


async def _run_hello(system: System, times: int = 2) -> None:
    """Run a flow to its end, and let the index know."""
    await _send(system, "POST", "/api/v1/main/flows", data=_FLOW)
    for _ in range(times):
        await _send(system, "POST", "/api/v1/main/executions/company.team/hello?wait=true")
    path = "/api/v1/main/executions/search?filters[state][EQUALS]=SUCCESS"
    await system.until(path, lambda body: body["total"] == times)


async def test_dashboards_are_saved_and_read_back(tmp_path: Path) -> None:
    """Saved, found, replaced and deleted; each is seen at once, and the source stays byte for byte (E110)."""
    async with running(tmp_path) as system:
        source = _TABLE.format(id="mine", title="My own")
        created = await _send(system, "POST", _PATH, data=source)
        assert (created["id"], created["title"], created["sourceCode"]) == ("mine", "My own", source)
        assert created["timeWindow"] == {"default": "PT168H", "max": "PT720H"}
        assert [each["id"] for each in created["charts"]] == ["per_flow", "about"]
        assert created["charts"][0]["chartOptions"]["width"] == 6
        conflict = await _send(system, "POST", _PATH, data=source, status=409)
        assert "exists already" in conflict["message"]
        assert await _send(system, "GET", f"{_PATH}/mine") == created
        other = _TABLE.format(id="another", title="Another")
        await _send(system, "POST", _PATH, data=other)
        found = await _send(system, "GET", f"{_PATH}?sort=title:asc")
        assert ([each["title"] for each in found["results"]], found["total"]) == (["Another", "My own"], 2)
        found = await _send(system, "GET", f"{_PATH}?q=MY&page=1&size=1")
        assert [each["id"] for each in found["results"]] == ["mine"]
        await _send(system, "PUT", f"{_PATH}/mine", data=other, status=422)
        changed = await _send(system, "PUT", f"{_PATH}/mine", data=source.replace("My own", "Changed"))
        assert (changed["title"], changed["created"]) == ("Changed", created["created"])
        await _send(system, "PUT", f"{_PATH}/nothing", data=source, status=404)
        await _send(system, "DELETE", f"{_PATH}/mine", status=204)
        await _send(system, "DELETE", f"{_PATH}/mine", status=404)
        await _send(system, "GET", f"{_PATH}/mine", status=404)
        again = await _send(system, "POST", _PATH, data=source)
        assert again["id"] == "mine"


async def test_a_dashboard_without_an_id_gets_one(tmp_path: Path) -> None:
    """As page 429 writes them; its source is not touched, and may go on without (trap 2)."""
    async with running(tmp_path) as system:
        source = "title: Nameless\ncharts: []\n"
        created = await _send(system, "POST", _PATH, data=source)
        assert created["id"]
        assert created["sourceCode"] == source
        await _send(system, "PUT", f"{_PATH}/{created['id']}", data=source)


async def test_what_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    """All of it at once, with path and line; validation answers what saving refuses."""
    async with running(tmp_path) as system:
        source = _TABLE.format(id="mine", title="t").replace("FLOW_ID", "FLOWID").replace("P30D", "P3D")
        refused = await _send(system, "POST", _PATH, data=source, status=422)
        details = refused["_embedded"]["errors"]
        assert [(each["path"], each["line"]) for each in details] == [
            ("charts[0].data.columns.flow.field", 16)
        ]
        answer = await _send(system, "POST", f"{_PATH}/validate", data=source)
        assert answer["constraints"].startswith("line 16, charts[0].data.columns.flow.field: must be")
        source = source.replace("FLOWID", "FLOW_ID")
        answer = await _send(system, "POST", f"{_PATH}/validate", data=source)
        assert (
            answer["constraints"]
            == "line 5, timeWindow.default: must not be longer than `max`, which is PT72H"
        )
        valid = await _send(system, "POST", f"{_PATH}/validate", data=_TABLE.format(id="a", title="b"))
        assert valid == {"index": 0, "warnings": []}
        kind = "io.kestra.plugin.core.dashboard.chart.Markdown"
        answer = await _send(
            system, "POST", f"{_PATH}/validate/chart", data=f"id: a\ntype: {kind}\ncontent: x\n"
        )
        assert "constraints" not in answer
        assert "deprecated" in answer["warnings"][0]
        answer = await _send(system, "POST", f"{_PATH}/validate/chart", data="id: a\ntype: unknown\n")
        assert "there is no chart of type `unknown`" in answer["constraints"]
        for text in ("", "[]", "a: [", "id: a"):
            assert (await _send(system, "POST", f"{_PATH}/validate/chart", data=text))["constraints"]


async def test_the_data_of_a_chart(tmp_path: Path) -> None:
    """What ran is counted, filters of the whole dashboard count, in either spelling; and CSV has all of it."""
    async with running(tmp_path) as system:
        await _run_hello(system)
        await _send(system, "POST", _PATH, data=_TABLE.format(id="mine", title="t"))
        path = f"{_PATH}/mine/charts/per_flow"
        everything = {"results": [{"flow": "hello", "total": 2}], "total": 1}
        assert await _send(system, "POST", path) == everything
        assert await _send(system, "POST", path, json={}) == everything
        for chosen, count in (
            ([{"field": "NAMESPACE", "operation": "EQUALS", "value": "company.team"}], 1),
            ([{"field": "NAMESPACE", "operation": "EQUALS", "value": {"value": "elsewhere"}}], 0),
            ([{"field": "state", "operation": "IN", "value": ["FAILED"]}], 0),
            ([{"field": "timeRange", "operation": "EQUALS", "value": "PT1H"}], 1),
            (
                [
                    {
                        "field": "START_DATE",
                        "operation": "GREATER_THAN_OR_EQUAL_TO",
                        "value": "2999-01-01T00:00:00Z",
                    }
                ],
                -1,
            ),
            ({"namespace": "company", "pageSize": 5, "pageNumber": 1}, 1),
            ({"labels": {"a": "b"}}, 0),
            ({"filters": [{"field": "MIN_LEVEL", "operation": "EQUALS", "value": "WARN"}]}, 1),
            ({"endDate": "2020-01-01T00:00:00+0000"}, 0),
        ):
            found = await _send(system, "POST", path, json=chosen, status=200 if count >= 0 else 422)
            assert count < 0 or found["total"] == count, chosen
        assert await _send(system, "POST", f"{path}/export/to-csv", json={}) == "flow,total\r\nhello,2\r\n"
        assert (
            await _send(system, "POST", f"{path}/export?format=CSV", json=[]) == "flow,total\r\nhello,2\r\n"
        )
        await _send(system, "POST", f"{path}/export?format=ION", json=[], status=422)
        about = await _send(system, "POST", f"{_PATH}/mine/charts/about", json={})
        assert about["results"] == [{"description": "Says **hello**."}]
        await _send(system, "POST", f"{_PATH}/mine/charts/about/export/to-csv", json={}, status=422)


async def test_what_cannot_be_asked_of_a_chart(tmp_path: Path) -> None:
    """Is refused with what would be right, and never answered with all rows."""
    async with running(tmp_path) as system:
        await _send(system, "POST", _PATH, data=_TABLE.format(id="mine", title="t"))
        path = f"{_PATH}/mine/charts/per_flow"
        for chosen, reason in (
            ("text", "must be an object"),
            ([3], "must be an object"),
            ([{"field": "COLOUR", "operation": "EQUALS", "value": "red"}], "is not known here"),
            ([{"field": "STATE", "operation": "RESEMBLES", "value": "red"}], "is not known"),
            (
                [{"field": "START_DATE", "operation": "CONTAINS", "value": "2020-01-01"}],
                "begins with START_DATE",
            ),
            ([{"field": "LABELS", "operation": "EQUALS", "value": "red"}], "key:value"),
            ([{"field": "STATE", "operation": "EQUALS", "value": {"a": "b"}}], "must be a text"),
            ([{"field": "TIME_RANGE", "operation": "EQUALS", "value": "soon"}], "ISO-8601 duration"),
            ({"pageSize": 0}, "whole number"),
            ({"startDate": "2020-01-01T00:00:00Z"}, "shows at most PT720H"),
        ):
            refused = await _send(system, "POST", path, json=chosen, status=422)
            assert reason in refused["message"], chosen
        for path in (f"{_PATH}/mine/charts/nothing", f"{_PATH}/nothing/charts/per_flow"):
            await _send(system, "POST", path, json={}, status=404)
            await _send(system, "POST", f"{path}/export/to-csv", json={}, status=404)
        bodies: list[Any] = [{}, {"chart": ""}, [], {"chart": "a: b"}]
        for body in bodies:
            await _send(system, "POST", f"{_PATH}/charts/preview", json=body, status=422)


async def test_built_in_dashboards(tmp_path: Path) -> None:
    """Of the start page, of a namespace and of a flow: read, computed, and not to be changed (E103)."""
    async with running(tmp_path) as system:
        await _run_hello(system, times=1)
        found = await _send(system, "GET", f"{_PATH}/settings/default-dashboards")
        chosen = [
            {"field": "NAMESPACE", "operation": "EQUALS", "value": "company.team"},
            {"field": "FLOW_ID", "operation": "EQUALS", "value": "hello"},
        ]
        for page in ("home", "namespace", "flow"):
            dashboard = found[page]
            assert await _send(system, "GET", f"{_PATH}/{dashboard['id']}") == dashboard
            for chart in dashboard["charts"]:
                path = f"{_PATH}/{dashboard['id']}/charts/{chart['id']}"
                data = await _send(system, "POST", path, json=chosen)
                if chart["id"] == "success":
                    assert data["results"] == [{"value": 100}]
                if chart["id"] == "flow_description":
                    assert data["results"] == [{"description": "Says **hello**."}]
            await _send(system, "DELETE", f"{_PATH}/{dashboard['id']}", status=403)
            await _send(system, "PUT", f"{_PATH}/{dashboard['id']}", data="title: x\n", status=403)
        listed = await _send(system, "GET", _PATH)
        assert listed["total"] == 0


async def test_charts_count_what_their_reader_may_see(tmp_path: Path) -> None:
    """Who may see dashboards of the tenant, and executions of one namespace, sees charts of that namespace only."""
    async with running(tmp_path) as system:
        for namespace in ("company.team", "company.other"):
            flow = _FLOW.replace("company.team", namespace)
            await _send(system, "POST", "/api/v1/main/flows", data=flow)
            await _send(system, "POST", f"/api/v1/main/executions/{namespace}/hello?wait=true")
        await system.until("/api/v1/main/executions/search", lambda body: body["total"] == 2)
        await _send(
            system, "POST", _PATH, data=_TABLE.format(id="mine", title="t").replace("FLOW_ID", "NAMESPACE")
        )
        user = await asked(
            system.client, "POST", "/api/v1/users", 201,
            json={"email": "u@b.org", "password": PASSWORD, "tenants": ["main"]},
        )  # fmt: skip  # reads better as a paragraph
        role = Role(name="watcher", permissions={Permission.DASHBOARD: frozenset({Action.READ})})
        await directory_of(system).save(ResourceKind.ROLE, "main", "watcher", role)
        for role_id, where in (("watcher", None), ("developer", "company.team")):
            binding = Binding(type=BindingType.USER, external_id=user["id"], role_id=role_id, namespace=where)
            await directory_of(system).bind("main", binding)
        path = f"{_PATH}/mine/charts/per_flow"
        own = basic("u@b.org")
        seen = await asked(system.stranger, "POST", path, json={}, headers=own)
        assert seen["results"] == [{"flow": "company.team", "total": 1}]
        table = await asked(system.stranger, "POST", f"{path}/export/to-csv", json={}, headers=own)
        assert table.splitlines() == ["flow,total", "company.team,1"]
        await asked(system.stranger, "DELETE", f"{_PATH}/mine", 403, headers=own)
        assert len((await _send(system, "POST", path, json={}))["results"]) == 2


def _documented() -> list[tuple[Path, str]]:
    files = sorted(EXAMPLES.glob("*/*-dashboard-*.yaml"))
    assert len(files) == 8
    return [(file, file.read_text(encoding="utf-8")) for file in files]


@pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the documentation's examples are not here: set FLOWTIDE_TEST_EXAMPLES"
)
async def test_the_documented_dashboards_can_be_shown(tmp_path: Path) -> None:
    """Every dashboard of the documentation parses, is saved, and the data of each of its charts can be had."""
    registry = discover_plugins()
    async with running(tmp_path) as system:
        flow = _FLOW.replace("id: hello", "id: my_flow")
        await _send(system, "POST", "/api/v1/main/flows", data=flow)
        for file, source in _documented():
            if "title:" not in source:  # the page shows only the charts
                source = f"title: {file.stem}\n{source}"
            assert parse_dashboard(source, registry).violations == [], file
            created = await _send(system, "POST", _PATH, data=source)
            for chart in yaml.safe_load(source)["charts"]:
                path = f"{_PATH}/{created['id']}/charts/{chart['id']}"
                saved = await _send(system, "POST", path, json={})
                body = {"chart": yaml.safe_dump(chart, sort_keys=False)}
                assert await _send(system, "POST", f"{_PATH}/charts/preview", json=body) == saved, file
                if "Markdown" not in chart["type"]:
                    await _send(system, "POST", f"{_PATH}/charts/export/to-csv", json=body)
