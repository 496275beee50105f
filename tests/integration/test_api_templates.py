"""The deprecated templates over HTTP, against the whole system in this process (FLW-17)."""

from __future__ import annotations

from pathlib import Path

from flowtide.api.keys import Site
from tests.integration.api_system import running

_TEMPLATE = """id: shared
namespace: company.team
tasks:
  - {id: greet, type: io.kestra.plugin.core.debug.Return, format: "hi"}
"""
_YAML = {"Content-Type": "application/x-yaml"}
_PATH = "/api/v1/main/templates"


async def test_templates_are_saved_and_read_back(tmp_path: Path) -> None:
    """Saved once, replaced, found, and deleted; the source stays byte for byte."""
    async with running(tmp_path, site=Site(templates_enabled=True)) as system:
        client = system.client
        async with client.post(_PATH, data=_TEMPLATE.encode(), headers=_YAML) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["source"] == _TEMPLATE
        async with client.post(_PATH, data=_TEMPLATE.encode(), headers=_YAML) as response:
            assert response.status == 409
            assert "exists already" in (await response.json())["message"]
        changed = _TEMPLATE.replace('"hi"', '"hello"')
        async with client.put(
            f"{_PATH}/company.team/shared", data=changed.encode(), headers=_YAML
        ) as response:
            assert response.status == 200, await response.text()
        async with client.put(
            f"{_PATH}/company.team/shared", data=changed.replace("shared", "other").encode(), headers=_YAML
        ) as response:
            assert response.status == 422
        async with client.get(f"{_PATH}/company.team/shared") as response:
            body = await response.json()
            assert body["source"] == changed
            assert body["tasks"][0]["id"] == "greet"
        async with client.get(f"{_PATH}/search?q=SHA&namespace=company") as response:
            found = await response.json()
            assert [each["id"] for each in found["results"]] == ["shared"]
            assert found["total"] == 1
        async with client.get(f"{_PATH}/distinct-namespaces") as response:
            assert await response.json() == ["company.team"]
        async with client.delete(f"{_PATH}/company.team/shared") as response:
            assert response.status == 204
        async with client.get(f"{_PATH}/company.team/shared") as response:
            assert response.status == 404


async def test_what_is_no_template_is_refused(tmp_path: Path) -> None:
    """A template has tasks and handlers, and no inputs (G01)."""
    async with running(tmp_path, site=Site(templates_enabled=True)) as system:
        source = f"{_TEMPLATE}inputs: [{{id: a, type: STRING}}]\n"
        async with system.client.post(_PATH, data=source.encode(), headers=_YAML) as response:
            assert response.status == 422
            assert "a template has no such property" in await response.text()
        async with system.client.post(f"{_PATH}/validate", data=source.encode(), headers=_YAML) as response:
            assert "inputs" in (await response.json())[0]["constraints"]


async def test_templates_are_disabled_by_default(tmp_path: Path) -> None:
    """Every path answers 404 with what to do."""
    async with running(tmp_path) as system:
        for method, path in (("POST", _PATH), ("GET", f"{_PATH}/search"), ("GET", f"{_PATH}/a/b")):
            async with system.client.request(method, path, data=b"") as response:
                assert response.status == 404
                assert "templates.enabled" in (await response.json())["message"]
