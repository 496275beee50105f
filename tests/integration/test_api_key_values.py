"""The key-value store over HTTP, against the whole system in this process (KVS-07 to KVS-10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_system import System, running

TEAM = "/api/v1/main/namespaces/company.team/kv"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """The running parts."""
    async with running(tmp_path, with_executor=False) as started:
        yield started


async def put(system: System, path: str, text: str, headers: dict[str, str] | None = None) -> int:
    """Set a value without a Content-Type, as clients of 1.3 do."""
    async with system.client.put(
        path, data=text.encode(), headers=headers, skip_auto_headers=["Content-Type"]
    ) as response:
        assert response.status >= 300 or await response.read() == b""
        return response.status


async def get(system: System, path: str, **parameters: str) -> Any:
    """The answer as JSON."""
    async with system.client.get(path, params=parameters) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ('"Hello World"', "STRING", "Hello World"),
        ("Hello World", "STRING", "Hello World"),
        ('"P1D"', "STRING", "P1D"),
        ("42", "NUMBER", 42),
        ("true", "BOOLEAN", True),
        ("PT5M", "DURATION", "PT5M"),
        ("2026-01-02", "DATE", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "DATETIME", "2026-01-02T03:04:05.000000Z"),
        ('{"a": [1]}', "JSON", {"a": [1]}),
        ("2026-99-99", "STRING", "2026-99-99"),
    ],
)
async def test_the_type_follows_from_the_text(system: System, text: str, kind: str, value: Any) -> None:
    """KVS-07, KVS-10: what was put is read back with its type, right after the answer."""
    assert await put(system, f"{TEAM}/a.key", text) == 200
    found = await get(system, f"{TEAM}/a.key")
    assert (found["type"], found["value"], found["revision"]) == (kind, value, 1)


async def test_headers_say_how_long_and_why(system: System) -> None:
    """KVS-07: `ttl` and `description`; a list shows them, in its former spelling too."""
    assert await put(system, f"{TEAM}/k", "1", {"ttl": "PT1H", "description": "why"}) == 200
    assert await put(system, f"{TEAM}/k", "1", {"ttl": "soon"}) == 422
    (entry,) = await get(system, TEAM)
    assert (entry["namespace"], entry["key"], entry["version"]) == ("company.team", "k", 1)
    assert entry["description"] == "why"
    assert entry["creationDate"] < entry["expirationDate"]


async def test_pairs_are_found_in_pages(system: System) -> None:
    """KVS-08: filters in the spelling of page 061, sorted, the total beside the page."""
    for namespace, key in (("company", "a"), ("company.team", "b"), ("company.team", "c"), ("other", "d")):
        await put(system, f"/api/v1/main/namespaces/{namespace}/kv/{key}", "1")
    everything = await get(system, "/api/v1/main/kv", size="2", page="2")
    assert (everything["total"], [each["key"] for each in everything["results"]]) == (4, ["c", "d"])
    filters = {"filters[namespace][EQUALS]": " company.team", "sort": "key:desc"}
    assert [each["key"] for each in (await get(system, "/api/v1/main/kv/", **filters))["results"]] == [
        "c",
        "b",
    ]
    prefixed = await get(system, "/api/v1/kv", **{"filters[namespace][PREFIX]": "company"})
    assert prefixed["total"] == 3
    assert [each["key"] for each in await get(system, f"{TEAM}/inheritance")] == ["a"]
    async with system.client.get("/api/v1/main/kv?sort=value:asc") as response:
        assert response.status == 400


async def test_removing(system: System) -> None:
    """KVS-09: the answer says whether there was one; of several, which there were."""
    for key in ("a", "b", "with%2Fslash"):
        await put(system, f"{TEAM}/{key}", "1")
    for expected in (True, False):
        async with system.client.delete(f"{TEAM}/with%2Fslash") as response:
            assert (response.status, await response.json()) == (200, expected)
    async with system.client.delete(TEAM, json={"keys": ["a", "none", "b"]}) as response:
        assert await response.json() == {"keys": ["a", "b"]}
    async with system.client.get(f"{TEAM}/a") as response:
        assert response.status == 404


async def test_a_stranger_sees_nothing(system: System) -> None:
    """The store needs a login."""
    async with system.stranger.get(TEAM) as response:
        assert response.status == 401
