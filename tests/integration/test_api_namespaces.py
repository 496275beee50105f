"""Namespaces and their files over HTTP, against the whole system in this process."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from tests.integration.api_system import System, running

NAMESPACES = "/api/v1/main/namespaces"
FILES = f"{NAMESPACES}/company.team/files"
FLOW = (
    "id: hello\nnamespace: company.team\ntasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: x}]\n"
)
SAVED = {
    "id": "company",
    "deleted": False,
    "description": "Everybody",
    "variables": {"github.token": "abc", "list": [1, {"a": None}]},
    "pluginDefaults": [{"type": "io.kestra.plugin.core.log.Log", "values": {"level": "WARN"}}],
}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The running parts."""
    async with running(tmp_path, with_executor=False) as started:
        yield started


async def call(system: System, method: str, path: str, status: int = 200, **given: Any) -> Any:
    """The answer: JSON where it is, else bytes."""
    async with system.client.request(method, path, **given) as response:
        body = await response.read()
        assert response.status == status, body
        return await response.json() if response.content_type == "application/json" and body else body


async def upload(system: System, path: str, content: bytes, status: int = 200) -> Any:
    """Write a namespace file."""
    form = FormData()
    form.add_field("fileContent", content, filename="any.txt")
    return await call(system, "POST", FILES, status, params={"path": path}, data=form)


async def test_a_namespace_reads_back_what_was_sent(system: System) -> None:
    """H: without defaults of the server's own; twice is a conflict, an unknown one cannot be replaced."""
    assert await call(system, "POST", NAMESPACES, json=SAVED) == SAVED
    assert await call(system, "GET", f"{NAMESPACES}/company") == SAVED
    await call(system, "POST", NAMESPACES, 409, json=SAVED)
    await call(system, "PUT", f"{NAMESPACES}/unknown", 404, json={"id": "unknown"})
    changed = {"id": "company", "deleted": False, "description": "New"}
    assert await call(system, "PUT", f"{NAMESPACES}/company", json=changed) == changed
    await call(system, "DELETE", f"{NAMESPACES}/company", 204)
    await call(system, "GET", f"{NAMESPACES}/company", 404)


@pytest.mark.parametrize(
    "document",
    [
        {"id": "Upper"},
        {"id": "a", "pluginDefaults": [{"values": {}}]},
        {"id": "a", "variables": [1]},
        {"id": "a", "allowedNamespaces": ["b"]},
        {},
    ],
)
async def test_a_namespace_that_cannot_be_used_is_refused(system: System, document: dict[str, Any]) -> None:
    """The answer is 422 and says what is wrong."""
    await call(system, "POST", NAMESPACES, 422, json=document)


async def test_namespaces_of_flows_are_there_too(system: System) -> None:
    """NSP-03: those that flows name, and those above them; `existing=true` leaves them out."""
    await call(
        system, "POST", "/api/v1/main/flows", data=FLOW, headers={"Content-Type": "application/x-yaml"}
    )
    await call(system, "POST", NAMESPACES, json={"id": "other"})
    found = await call(system, "GET", f"{NAMESPACES}/search?page=1&size=10&existing=false")
    assert [each["id"] for each in found["results"]] == ["company", "company.team", "other"]
    found = await call(system, "GET", f"{NAMESPACES}/search?existing=true&page=1&size=10")
    assert (found["total"], found["results"]) == (1, [{"id": "other", "deleted": False}])
    found = await call(system, "GET", f"{NAMESPACES}/search?q=TEAM&existing=false&sort=id:desc")
    assert found["results"] == [{"id": "company.team", "deleted": False}]
    assert await call(system, "GET", f"{NAMESPACES}/company.team") == {"id": "company.team", "deleted": False}
    assert await call(system, "POST", f"{NAMESPACES}/autocomplete", json={"q": "comp"}) == [
        "company",
        "company.team",
    ]


async def test_what_is_inherited(system: System) -> None:
    """NSM-05: variables and plugin defaults of the namespaces above; export and import of the defaults."""
    await call(system, "POST", NAMESPACES, json=SAVED)
    variables = await call(system, "GET", f"{NAMESPACES}/company.team/inherited-variables")
    assert variables == {"github": {"token": "abc"}, "list": [1, {"a": None}]}
    assert await call(system, "GET", f"{NAMESPACES}/company/inherited-variables") == {}
    (default,) = await call(system, "GET", f"{NAMESPACES}/company.team/inherited-plugindefaults")
    assert (default["namespace"], default["values"]) == ("company", {"level": "WARN"})
    exported = await call(system, "POST", f"{NAMESPACES}/company/plugindefaults/export")
    await call(system, "POST", NAMESPACES, json={"id": "copy"})
    form = FormData()
    form.add_field("fileUpload", exported, filename="defaults.yaml")
    assert await call(system, "POST", f"{NAMESPACES}/copy/plugindefaults/import", data=form) == []
    copied = await call(system, "GET", f"{NAMESPACES}/copy")
    assert copied["pluginDefaults"][0]["values"] == {"level": "WARN"}


async def test_files_are_uploaded_and_read(system: System) -> None:
    """NSF-06: bytes come back as they went, older ones by their revision."""
    await upload(system, "/dir/a b.bin", b"\x00one")
    await upload(system, "dir/a b.bin", b"\x00two")
    at = {"path": "/dir/a b.bin"}
    assert await call(system, "GET", FILES, params=at) == b"\x00two"
    assert await call(system, "GET", FILES, params={**at, "revision": "1"}) == b"\x00one"
    assert await call(system, "GET", f"{FILES}/revisions", params=at) == [{"revision": 1}, {"revision": 2}]
    stats = await call(system, "GET", f"{FILES}/stats", params=at)
    assert (stats["fileName"], stats["type"], stats["size"]) == ("a b.bin", "File", 4)
    assert stats["creationTime"] <= stats["lastModifiedTime"]
    assert await call(system, "GET", f"{FILES}/search", params={"q": "A B"}) == ["/dir/a b.bin"]
    await call(system, "GET", FILES, 404, params={"path": "/dir"})
    await call(system, "GET", FILES, 422, params={"path": "/../x"})
    await call(system, "GET", FILES, 422)


async def test_folders(system: System) -> None:
    """Folders are listed, made, moved and removed with what is in them."""
    await upload(system, "/a/b.txt", b"1")
    await call(system, "POST", f"{FILES}/directory", params={"path": "/empty"})
    listed = await call(system, "GET", f"{FILES}/directory")
    assert [(each["fileName"], each["type"]) for each in listed] == [
        ("a", "Directory"),
        ("empty", "Directory"),
    ]
    await call(system, "PUT", FILES, params={"from": "/a", "to": "/c"})
    assert [each["fileName"] for each in await call(system, "GET", f"{FILES}/directory?path=/c")] == ["b.txt"]
    await upload(system, "/c", b"1", status=409)
    await call(system, "DELETE", FILES, params={"path": "/c"})
    await call(system, "DELETE", FILES, 404, params={"path": "/c"})
    await call(system, "GET", f"{FILES}/directory", 404, params={"path": "/c"})


async def test_all_files_are_exported(system: System) -> None:
    """A ZIP archive with every file at its path."""
    await upload(system, "/a/b.txt", b"1")
    await upload(system, "/c.txt", b"2")
    with zipfile.ZipFile(BytesIO(await call(system, "GET", f"{FILES}/export"))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a/b.txt": b"1", "c.txt": b"2"}
