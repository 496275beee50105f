"""What the API tells of plugins: groups, documentation, schemas, inputs and icons (catalogue G, "plugins")."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.integration.api_system import System, running

LOG = "io.kestra.plugin.core.log.Log"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The whole system in this process."""
    async with running(tmp_path) as system:
        yield system


async def get(system: System, path: str, status: int = 200) -> Any:
    """The answer to a request below `/api/v1`."""
    async with system.client.get(f"/api/v1/{path}") as response:
        assert response.status == status, path
        return await response.json()


async def test_groups_and_packages_name_every_type(system: System) -> None:
    """The list has the shape of 1.3, and that of 2.0 when a page is asked for."""
    groups = await get(system, "plugins")
    core = next(each for each in groups if each["group"] == "io.kestra.plugin.core")
    assert {"cls": LOG, "deprecated": False}.items() <= next(
        each for each in core["tasks"] if each["cls"] == LOG
    ).items()
    assert all(core[each] for each in ("conditions", "taskRunners", "triggers"))
    paged = await get(system, "plugins?page=1&size=1")
    assert (len(paged["results"]), paged["total"]) == (1, len(groups))
    packages = await get(system, "plugins/groups/subgroups")
    assert "io.kestra.plugin.core.flow" in {each.get("subGroup") for each in packages}
    triggers = await get(system, "plugins/triggers")
    assert "io.kestra.plugin.core.trigger.Schedule" in {each["type"] for each in triggers["results"]}


async def test_a_type_is_documented_also_by_its_former_name(system: System) -> None:
    """Markdown and schema: properties, what is required, dynamic and deprecated, outputs, metrics and examples."""
    found = await get(system, "plugins/io.kestra.plugin.core.http.Request")
    schema = found["schema"]["properties"]
    assert schema["properties"]["uri"]["$required"] is True
    assert schema["properties"]["uri"]["$dynamic"] is True
    assert schema["properties"]["sslOptions"]["$deprecated"] is True
    assert {"id", "type", "uri"} <= set(schema["required"])
    assert schema["$examples"][0]["code"].startswith("id:")
    assert found["schema"]["outputs"]["properties"]["code"]["type"] == "integer"
    assert found["markdown"].startswith("# Request")
    assert await get(system, "plugins/io.kestra.plugin.fs.http.Request") == found
    versions = await get(system, f"plugins/{LOG}/versions")
    assert versions["type"] == LOG
    assert await get(system, f"plugins/{LOG}/versions/{versions['versions'][0]}")
    await get(system, f"plugins/{LOG}/versions/0.0.0", 404)
    await get(system, "plugins/io.kestra.plugin.core.log.Lgo", 404)


@pytest.mark.parametrize("path", ["schemas/flow.json", "main/schemas/flow.json", "plugins/schemas/flow"])
async def test_the_schema_of_a_flow_judges_flows(system: System, path: str) -> None:
    """An editor that takes the schema from here accepts what is right, and refuses the rest."""
    schema = await get(system, path)
    validator = Draft202012Validator(schema)
    flow = {"id": "a", "namespace": "b", "tasks": [{"id": "t", "type": LOG, "message": "x"}]}
    assert validator.is_valid(flow)
    assert not validator.is_valid({**flow, "tasks": [{"id": "t", "type": LOG, "mesage": "x"}]})


async def test_schemas_of_parts(system: System) -> None:
    """Tasks, triggers and lists of them have schemas; what is unknown is told."""
    task = Draft202012Validator(await get(system, "plugins/schemas/task"))
    assert task.is_valid({"id": "t", "type": LOG, "message": "x"})
    assert not task.is_valid({"id": "t", "type": "io.kestra.plugin.core.trigger.Schedule", "cron": "@daily"})
    many = Draft202012Validator(await get(system, "plugins/schemas/TASK?arrayOf=true"))
    assert many.is_valid([{"id": "t", "type": LOG, "message": "x"}])
    assert (await get(system, "plugins/properties/flow"))["required"] == ["id", "namespace", "tasks"]
    await get(system, "plugins/schemas/nothing", 404)


async def test_schemas_of_dashboards(system: System) -> None:
    """An editor of dashboards takes the schema from here, and one of a single chart too."""
    text = "io.kestra.plugin.core.dashboard.chart.Markdown"
    chart = {"id": "notes", "type": text, "source": {"type": "Text", "content": "x"}}
    dashboard = Draft202012Validator(await get(system, "plugins/schemas/dashboard"))
    assert dashboard.is_valid({"title": "Notes", "charts": [chart]})
    assert not dashboard.is_valid({"title": "Notes", "charts": [{**chart, "type": LOG}]})
    single = Draft202012Validator(await get(system, "plugins/schemas/chart"))
    assert single.is_valid(chart)
    (group,) = [each for each in await get(system, "plugins") if each["group"] == "io.kestra.plugin.core"]
    assert text in [each["cls"] for each in group["charts"]]
    ratios = [each["cls"] for each in group["dataFiltersKPI"]]
    assert ratios
    assert all(name.endswith("KPI") for name in ratios)


async def test_inputs_are_documented(system: System) -> None:
    """Every type of input is listed, and has a schema."""
    types = await get(system, "plugins/inputs")
    assert {"type": "INT", "cls": "IntInput"} in types
    found = await get(system, "plugins/inputs/INT")
    assert "max" in found["schema"]["properties"]["properties"]
    await get(system, "plugins/inputs/WHAT", 404)


async def test_types_have_icons(system: System) -> None:
    """Icons are SVG, in base64 and as an image."""
    icons = await get(system, "plugins/icons")
    assert icons["io.kestra.plugin.core.flow.If"]["flowable"] is True
    assert base64.b64decode(icons[LOG]["icon"]).startswith(b"<svg")
    assert "io.kestra.plugin.core" in await get(system, "plugins/icons/groups")
    assert (await get(system, f"plugins/icons/{LOG}"))["icon"] == icons[LOG]
    async with system.client.get(f"/api/v1/plugins/icons/{LOG}/icon.svg") as response:
        assert response.content_type == "image/svg+xml"
    await get(system, "plugins/icons/nothing", 404)
