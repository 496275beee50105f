"""The deprecated templates over HTTP, against the whole system in this process (FLW-17)."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from aiohttp import FormData

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


async def test_many_templates_at_once(tmp_path: Path) -> None:
    """Exported, imported, replaced by namespace, and deleted by names and by search (page 089)."""
    async with running(tmp_path, site=Site(templates_enabled=True)) as system:
        client = system.client

        async def names() -> list[str]:
            async with client.get(f"{_PATH}/search") as response:
                return [each["id"] for each in (await response.json())["results"]]

        one, two, three = (_TEMPLATE.replace("shared", name) for name in ("one", "two", "three"))
        async with client.post(f"{_PATH}/company.team", data=f"{one}---\n{two}".encode()) as response:
            assert response.status == 200, await response.text()
            assert [each["source"] for each in await response.json()] == [one, two]
        elsewhere = three.replace("company.team", "company.other")
        async with client.post(f"{_PATH}/company.team", data=elsewhere.encode()) as response:
            assert response.status == 422
            assert "as in the address" in await response.text()
        async with client.post(f"{_PATH}/company.team?delete=false", data=three.encode()) as response:
            assert response.status == 200
        assert await names() == ["one", "three", "two"]
        async with client.get(f"{_PATH}/export/by-query?q=t") as response:
            archive = await response.read()
        async with client.post(
            f"{_PATH}/export/by-ids", json=[{"namespace": "company.team", "id": "one"}]
        ) as response:
            with zipfile.ZipFile(io.BytesIO(await response.read())) as opened:
                assert opened.namelist() == ["company.team.one.yml"]
                assert opened.read("company.team.one.yml").decode() == one
        async with client.post(f"{_PATH}/company.team", data=one.encode()) as response:
            assert response.status == 200
        assert await names() == ["one"]
        form = FormData()
        form.add_field("fileUpload", archive, filename="templates.zip")
        async with client.post(f"{_PATH}/import", data=form) as response:
            assert (response.status, await response.json()) == (200, [])
        assert await names() == ["one", "three", "two"]
        form = FormData()
        form.add_field("fileUpload", b"id: wrong\n", filename="a.yml")
        async with client.post(f"{_PATH}/import", data=form) as response:
            assert await response.json() == ["0"]
        async with client.delete(
            f"{_PATH}/delete/by-ids", json=[{"namespace": "company.team", "id": "two"}]
        ) as response:
            assert await response.json() == {"count": 1}
        async with client.delete(f"{_PATH}/delete/by-query?namespace=company") as response:
            assert await response.json() == {"count": 2}
        assert await names() == []
