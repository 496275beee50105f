"""Blueprints over HTTP, against the whole system in this process (pages 058, 108)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.api_system import System, running

_PATH = "/api/v1/main/blueprints"
_SOURCE = """id: hello
namespace: company.team
tasks:
  - {id: greet, type: io.kestra.plugin.core.log.Log, message: hi}
"""
_TEMPLATE = """extend:
  templateArguments:
    - id: who
      type: MULTISELECT
      values: [you, me]
id: hello
namespace: company.team
tasks:
  <% for each in arg.who %>
  - id: greet_<< each >>
    type: io.kestra.plugin.core.log.Log
    message: "{{ flow.id }}: << each >>"
  <% endfor %>
"""


async def _send(system: System, method: str, path: str, *, json: Any = None, status: int = 200) -> Any:
    async with system.client.request(method, _PATH + path, json=json) as response:
        text = await response.text()
        assert response.status == status, text
        return await response.json() if response.content_type == "application/json" else text


async def test_custom_blueprints(tmp_path: Path) -> None:
    """Saved, found by words and tags, replaced and deleted, in both spellings; each is seen at once (E165)."""
    async with running(tmp_path) as system:
        given = {"title": "Zero", "source": _SOURCE, "description": "Says hi", "tags": ["team", "log"]}
        zero = await _send(system, "POST", "/flows", json=given)
        assert (zero["title"], zero["source"], zero["tags"]) == ("Zero", _SOURCE, ["team", "log"])
        assert zero["includedTasks"] == ["io.kestra.plugin.core.log.Log"]
        former = {"title": "Alpha", "source": "title: x\n", "kind": "DASHBOARD"}
        alpha = await _send(system, "POST", "/custom", json=former)
        for path in ("flows", "custom", "flow"):
            assert await _send(system, "GET", f"/{path}/{zero['id']}") == zero
        async with system.client.get(f"{_PATH}/custom/{zero['id']}/source") as response:
            assert response.content_type == "application/yaml"
            assert await response.text() == _SOURCE
        for query, titles in (
            ("sort=title:asc", ["Alpha", "Zero"]),
            ("sort=title:desc&size=1", ["Zero"]),
            ("tags=team&tags=log", ["Zero"]),
            ("tags=team,none", []),
            ("filters[tags][IN]=team", ["Zero"]),
            ("q=SAYS", ["Zero"]),
            ("filters[q][EQUALS]=alp", ["Alpha"]),
        ):
            found = await _send(system, "GET", f"/custom?{query}")
            assert [each["title"] for each in found["results"]] == titles, query
        with_source = await _send(system, "GET", "/custom?source=true&q=zero")
        assert with_source["results"][0]["source"] == _SOURCE
        assert await _send(system, "GET", "/custom/tags") == ["log", "team"]
        changed = await _send(system, "PUT", f"/flows/{zero['id']}", json={"title": "New", "source": _SOURCE})
        assert (changed["title"], changed["publishedAt"]) == ("New", zero["publishedAt"])
        changed = await _send(
            system, "PUT", f"/custom/{alpha['id']}", json={"title": "A", "source": "title: y\n"}
        )
        assert changed["kind"] == "DASHBOARD"
        await _send(system, "DELETE", f"/flows/{zero['id']}", status=204)
        await _send(system, "DELETE", f"/custom/{alpha['id']}", status=204)
        await _send(system, "GET", f"/flows/{zero['id']}", status=404)
        await _send(system, "PUT", f"/flows/{zero['id']}", json=given, status=404)


async def test_what_is_no_blueprint_is_refused(tmp_path: Path) -> None:
    """With what it lacks."""
    async with running(tmp_path) as system:
        broken = "extend:\n  templateArguments:\n    - {id: a}\n"
        bodies: list[Any] = [
            [],
            {},
            {"title": "", "source": _SOURCE},
            {"title": "x" * 151, "source": _SOURCE},
            {"title": "t", "source": " "},
            {"title": "t", "source": _SOURCE, "tags": "a"},
            {"title": "t", "source": _SOURCE, "kind": "CAR"},
            {"title": "t", "source": broken},
        ]
        for body in bodies:
            await _send(system, "POST", "/flows", json=body, status=422)
        await _send(system, "GET", "/custom?sort=colour:asc", status=400)


async def test_a_template_becomes_a_flow(tmp_path: Path) -> None:
    """Of the chosen arguments, which are checked as inputs are; what is no template is refused (E167 to E169)."""
    async with running(tmp_path) as system:
        created = await _send(system, "POST", "/flows", json={"title": "t", "source": _TEMPLATE})
        assert created["template"]["templateArguments"]["who"]["values"] == ["you", "me"]
        path = f"/flows/{created['id']}/use-template"
        made = await _send(system, "POST", path, json={"templateArgumentsInputs": {"who": ["me", "you"]}})
        generated = made["generatedFlowSource"]
        assert generated.index("greet_me") < generated.index("greet_you")
        assert 'message: "{{ flow.id }}: me"' in generated
        async with system.client.post("/api/v1/main/flows", data=generated.encode()) as response:
            assert response.status == 200, await response.text()
        refused = await _send(
            system, "POST", path, json={"templateArgumentsInputs": {"who": ["they"]}}, status=422
        )
        assert "who" in refused["message"]
        await _send(system, "POST", path, json={}, status=422)
        plain = await _send(system, "POST", "/flows", json={"title": "t", "source": _SOURCE})
        refused = await _send(system, "POST", f"/flows/{plain['id']}/use-template", json={}, status=422)
        assert "no template" in refused["message"]


async def test_blueprints_that_come_with_flowtide(tmp_path: Path) -> None:
    """Found by words and tags; each flow reads and has a graph, each dashboard is valid (E163)."""
    async with running(tmp_path) as system:
        found = await _send(system, "GET", "/community/FLOW?size=100&sort=title:asc")
        assert found["total"] == len(found["results"]) == 12
        for each in found["results"]:
            one = await _send(system, "GET", f"/community/flow/{each['id']}")
            assert one["title"]
            assert one["description"]
            assert one["tags"]
            assert await _send(system, "GET", f"/community/flow/{each['id']}/source") == one["source"]
            graph = await _send(system, "GET", f"/community/flow/{each['id']}/graph")
            assert graph["nodes"]
        assert (await _send(system, "GET", "/community/flow?q=webhook"))["total"] >= 1
        assert (await _send(system, "GET", "/community/flow?tags=Triggers"))["total"] == 2
        assert "Triggers" in await _send(system, "GET", "/community/flow/tags")
        boards = await _send(system, "GET", "/community/DASHBOARD")
        assert boards["total"] == 3
        for each in boards["results"]:
            text = await _send(system, "GET", f"/community/dashboard/{each['id']}/source")
            async with system.client.post("/api/v1/main/dashboards/validate", data=text.encode()) as response:
                assert "constraints" not in await response.json()
            await _send(system, "GET", f"/community/dashboard/{each['id']}/graph", status=404)
        assert (await _send(system, "GET", "/community/app"))["total"] == 0
        await _send(system, "GET", "/community/car", status=404)
        await _send(system, "GET", "/community/flow/nothing", status=404)
