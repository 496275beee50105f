"""The OpenAPI document over HTTP: for everybody, and what the table of routes says."""

from __future__ import annotations

from pathlib import Path

import yaml

from flowtide.api.openapi import openapi
from tests.integration.api_system import running


async def test_the_document_is_given_to_whoever_asks(tmp_path: Path) -> None:
    """As YAML and as JSON, without a login."""
    async with running(tmp_path) as system:
        async with system.stranger.get("/api/v1/openapi.json") as response:
            assert await response.json() == openapi()
        async with system.stranger.get("/api/v1/openapi.yaml") as response:
            assert response.content_type == "application/yaml"
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            assert yaml.load(await response.text(), Loader=loader) == openapi()
