"""Flows over HTTP, against the whole system in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.integration.api_system import System, running

HELLO = """# a comment that stays
id: hello
namespace: company.team
labels:
  team: core
tasks:
  - id: greet
    type: io.kestra.plugin.core.debug.Return
    format: "hi"   # kept too
"""
YAML = {"Content-Type": "application/x-yaml"}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The running parts."""
    async with running(tmp_path) as started:
        yield started


async def create(system: System, source: str = HELLO) -> None:
    """Save a flow."""
    async with system.client.post("/api/v1/main/flows", data=source.encode(), headers=YAML) as response:
        assert response.status == 200, await response.text()


async def test_a_created_flow_comes_back_byte_for_byte(system: System) -> None:
    """POST answers with revision 1 and the exact source, and GET right after it sees the flow."""
    async with system.client.post("/api/v1/main/flows", data=HELLO.encode(), headers=YAML) as response:
        created = await response.json()
        assert response.status == 200
    assert created["source"] == HELLO
    assert (created["revision"], created["disabled"], created["deleted"]) == (1, False, False)
    async with system.client.get("/api/v1/main/flows/company.team/hello?source=true") as response:
        assert (await response.json())["source"] == HELLO
    async with system.client.get("/api/v1/main/flows/company.team/hello") as response:
        body = await response.json()
    assert "source" not in body
    assert None not in body.values()


async def test_a_flow_can_be_created_once(system: System) -> None:
    """A second POST of the same id is a conflict, in the error envelope."""
    await create(system)
    async with system.client.post("/api/v1/main/flows", data=HELLO.encode(), headers=YAML) as response:
        assert response.status == 409
        assert "exists already" in (await response.json())["message"]


async def test_updates_make_revisions_and_deletion_keeps_them(system: System) -> None:
    """PUT counts revisions; a deleted flow is gone, but can be asked for; its revisions are as they were."""
    await create(system)
    path = "/api/v1/main/flows/company.team/hello"
    changed = HELLO.replace('"hi"', '"ho"')
    async with system.client.put(path, data=changed.encode(), headers=YAML) as response:
        assert (await response.json())["revision"] == 2
    async with system.client.get(path + "?revision=1&source=true") as response:
        assert (await response.json())["source"] == HELLO
    async with system.client.delete(path) as response:
        assert response.status == 204
    async with system.client.get(path) as response:
        assert response.status == 404
    async with system.client.get(path + "?allowDeleted=true") as response:
        assert (await response.json())["deleted"] is True
    async with system.client.get(path + "?allowDeleted=true&revision=1") as response:
        assert (await response.json())["deleted"] is False
    async with system.client.get(path + "/revisions?allowDelete=true") as response:
        assert [each["deleted"] for each in await response.json()] == [False, False, True]
    async with system.client.delete(path) as response:
        assert response.status == 404


async def test_an_update_must_be_of_the_flow_in_the_path(system: System) -> None:
    """Another id in the source is refused; an update of a flow that does not exist is not found."""
    await create(system)
    other = HELLO.replace("id: hello", "id: other").encode()
    async with system.client.put(
        "/api/v1/main/flows/company.team/hello", data=other, headers=YAML
    ) as response:
        assert response.status == 422
    async with system.client.put(
        "/api/v1/main/flows/company.team/other", data=other, headers=YAML
    ) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("id: [", "YAML"),
        ("id: a\nnamespace: b\ntasks:\n  - id: x\n    type: no.such.Type\n", "no.such.Type"),
        ("id: a\nnamespace: b\ntasks: []\n", "tasks"),
        ("id: a\nid: b\nnamespace: c\n", "twice"),
        ("\x00\x01\x02", "YAML"),
        ("", "mapping"),
        ("[" * 5000, "nested"),
    ],
)
async def test_a_bad_flow_is_refused_with_its_place(system: System, source: str, wanted: str) -> None:
    """Whatever is sent as a flow: 422 with a message and places, and no stack trace."""
    async with system.client.post("/api/v1/main/flows", data=source.encode(), headers=YAML) as response:
        body = await response.json()
        assert response.status == 422
    assert wanted in str(body)
    assert body["_embedded"]["errors"]
    assert "Traceback" not in str(body)


async def test_binary_and_oversized_flows_are_refused(system: System) -> None:
    """What is not UTF-8 is 400, what is larger than the limit 413."""
    async with system.client.post("/api/v1/main/flows", data=b"\xff\xfe\x80", headers=YAML) as response:
        assert response.status == 400
    large = b"#" * (11 * 1024 * 1024)
    async with system.client.post("/api/v1/main/flows", data=BytesIO(large), headers=YAML) as response:
        assert response.status == 413


async def test_validation_tells_of_each_document(system: System) -> None:
    """One entry per document; `constraints` only where something is wrong, with line and path."""
    body = HELLO + "---\nid: bad\nnamespace: company.team\ntasks:\n  - id: x\n    type: nope\n"
    async with system.client.post(
        "/api/v1/main/flows/validate", data=body.encode(), headers=YAML
    ) as response:
        first, second = await response.json()
    assert "constraints" not in first
    assert (first["index"], second["index"]) == (0, 1)
    assert "line" in second["constraints"]
    assert second["violations"][0]["path"] == "tasks[0].type"


async def test_search_takes_filters_in_both_encodings(system: System) -> None:
    """Raw and encoded brackets mean the same; labels, words and paging work; unknown fields are 400."""
    await create(system)
    await create(system, HELLO.replace("id: hello", "id: second").replace("team: core", "team: data"))
    await create(system, HELLO.replace("company.team", "company.other"))
    for query, total in (
        ("", 3),
        ("?filters[namespace][EQUALS]=company.team", 2),
        ("?filters%5Bnamespace%5D%5BEQUALS%5D=company.team", 2),
        ("?filters[labels][EQUALS][team]=data", 1),
        ("?filters[q][EQUALS]=second", 1),
        ("?filters[QUERY][EQUALS]=second", 1),
        ("?filters[FLOW_ID][IN]=hello,second", 3),
        ("?namespace=company&q=hello", 2),
        ("?filters[namespace][REGEX]=company%5C.o.*", 1),
    ):
        async with system.client.get("/api/v1/main/flows/search" + query) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["total"] == total, query
    async with system.client.get("/api/v1/main/flows/search?page=1000&size=100") as response:
        assert await response.json() == {"results": [], "total": 3}
    for bad in (
        "filters[kind][EQUALS]=x",
        "filters[namespace][NOPE]=x",
        "filters[namespace]=x",
        "filters[=x",
    ):
        async with system.client.get("/api/v1/main/flows/search?" + bad) as response:
            assert response.status == 400, bad
    for bad in ("page=-1", "page=0", "size=0", "page=99999999999999999999", "size=abc", "page=%D9%A1"):
        async with system.client.get("/api/v1/main/flows/search?" + bad) as response:
            assert response.status == 422, bad


async def test_bulk_saves_and_deletes_what_is_missing(system: System) -> None:
    """`POST /flows/{namespace}?delete=true` makes the namespace what was sent; a wrong document changes nothing."""
    await create(system)
    one = HELLO.replace("id: hello", "id: one")
    two = HELLO.replace("id: hello", "id: two")
    path = "/api/v1/main/flows/company.team"
    async with system.client.post(
        path + "?delete=true", data=f"{one}---\nid: x\n".encode(), headers=YAML
    ) as response:
        assert response.status == 422
    async with system.client.get(path) as response:
        assert [flow["id"] for flow in await response.json()] == ["hello"]
    async with system.client.post(
        path + "?delete=true", data=f"{one}---\n{two}".encode(), headers=YAML
    ) as response:
        assert response.status == 200, await response.text()
    async with system.client.get(path) as response:
        assert [flow["id"] for flow in await response.json()] == ["one", "two"]
    async with system.client.get("/api/v1/main/flows/distinct-namespaces?q=comp") as response:
        assert await response.json() == ["company.team"]


async def test_a_flow_may_come_as_json(system: System) -> None:
    """The former way of creation: a JSON object, whose managed fields are left out."""
    flow = {
        "id": "json",
        "namespace": "company.team",
        "revision": 7,
        "deleted": False,
        "tasks": [{"id": "a", "type": "io.kestra.plugin.core.debug.Return", "format": "x"}],
    }
    async with system.client.post("/api/v1/main/flows", json=flow) as response:
        assert (await response.json())["revision"] == 1
    async with system.client.get("/api/v1/main/flows/company.team/json/tasks/a") as response:
        assert (await response.json())["format"] == "x"


async def test_paths_cannot_be_tricked(system: System) -> None:
    """Escaped slashes, dots and NULs name no flow, and unknown tenants do not exist."""
    for path in (
        "/api/v1/main/flows/company.team/..%2F..%2Fetc",
        "/api/v1/main/flows/company%2Fteam/hello",
        "/api/v1/main/flows/company.team/%00",
        "/api/v1/main/flows/company.team/%ff",
        "/api/v1/main/flows/company.team/" + "a" * 3000,
        "/api/v1/other/flows/company.team/hello",
        "/api/v1/main%2Fx/flows/search",
        "/api/v1/nothing/here/at/all",
    ):
        async with system.client.get(path) as response:
            assert response.status == 404, path
            assert "message" in await response.json()


async def test_old_clients_may_leave_the_tenant_out(system: System) -> None:
    """A path without a tenant is for `main`."""
    await create(system)
    async with system.client.get("/api/v1/flows/company.team/hello") as response:
        assert response.status == 200
    async with system.client.get("/api/v1/flows/search") as response:
        assert (await response.json())["total"] == 1


async def test_flows_that_run_one_another_in_a_circle_are_refused(system: System) -> None:
    """FLW-19: the save that closes the circle, alone or with others, and nothing of it is kept."""
    call = (
        "id: {}\nnamespace: company.team\ntasks: [{{id: call, type: io.kestra.plugin.core.flow.Subflow, "
        "namespace: company.team, flowId: {}}}]\n"
    )
    await create(system, call.format("one", "two"))
    way = "the flow runs itself as a subflow, by way of company.team.one, company.team.two"
    async with system.client.post(
        "/api/v1/main/flows", data=call.format("two", "one").encode(), headers=YAML
    ) as response:
        assert response.status == 422
        assert way in (await response.json())["message"]
    sent = f"{call.format('three', 'four')}---\n{call.format('four', 'three')}"
    async with system.client.post(
        "/api/v1/main/flows/bulk?delete=false", data=sent.encode(), headers=YAML
    ) as response:
        assert response.status == 422
    async with system.client.get("/api/v1/main/flows/company.team") as response:
        assert [each["id"] for each in await response.json()] == ["one"]
