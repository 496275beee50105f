"""What editors are told of expressions over HTTP."""

from __future__ import annotations

from pathlib import Path

from tests.integration.api_system import running


async def test_filters_and_functions_are_listed(tmp_path: Path) -> None:
    """By their names, functions with their parameters, those that look outside too."""
    async with running(tmp_path) as system:
        async with system.client.get("/api/v1/pebble/filters") as response:
            filters = await response.json()
        assert {"slugify", "jq", "date"} <= set(filters)
        assert filters == sorted(filters)
        async with system.client.get("/api/v1/pebble/functions") as response:
            functions = await response.json()
        assert {"secret", "kv", "now", "randomInt"} <= functions.keys()
        assert functions["randomInt"]
