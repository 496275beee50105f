"""Requests of contract tests of the API: one server for a whole module, whose index is written while tests run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.integration.api_system import System, running

API = "/api/v1/main"
YAML = {"Content-Type": "application/x-yaml"}


class Api:
    """Asks the API of a running system, and insists on the status of each answer."""

    def __init__(self, system: System) -> None:
        self.system = system

    async def call(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        """Ask, and give the JSON of the answer, its bytes when it is none, or None when it is empty."""
        async with self.system.client.request(method, API + path, **arguments) as response:
            body = await response.read()
            assert response.status == status, (response.status, body.decode(errors="replace"))
            if not body:
                return None
            if response.content_type == "application/json":
                return await response.json()
            return body

    async def get(self, path: str, status: int = 200) -> Any:
        """GET."""
        return await self.call("GET", path, status)

    async def save(self, sources: str, namespace: str) -> None:
        """Save flows, parted by `---`, in a namespace of their own."""
        await self.call(
            "POST",
            "/flows/bulk?delete=false",
            data=sources.lstrip().replace("NS", namespace).encode(),
            headers=YAML,
        )

    async def run(self, namespace: str, flow_id: str, query: str = "") -> dict[str, Any]:
        """Run a flow to its end, and give the execution as the index has it."""
        found: dict[str, Any] = await self.call("POST", f"/executions/{namespace}/{flow_id}?wait=true{query}")
        path = f"/executions/search?filters[id][EQUALS]={found['id']}"
        await self.until(path, lambda body: _states(body) == [found["state"]["current"]])
        return found

    async def start(self, namespace: str, flow_id: str, state: str = "RUNNING") -> str:
        """Start a flow, and give the id of the execution once it is in a state, in the index too."""
        found = await self.call("POST", f"/executions/{namespace}/{flow_id}")
        path = f"/executions/search?filters[id][EQUALS]={found['id']}"
        await self.until(path, lambda body: _states(body) == [state])
        identifier: str = found["id"]
        return identifier

    async def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as wanted, and give it."""
        while True:
            body = await self.get(path)
            if holds(body):
                return body
            await asyncio.sleep(0)


def _states(body: Any) -> list[str]:
    return [each["state"]["current"] for each in body["results"]]


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Api]:
    """A system whose indexer runs until the block ends."""
    async with running(folder) as system:
        indexing = asyncio.create_task(_index(system))
        try:
            yield Api(system)
        finally:
            indexing.cancel()
            with suppress(asyncio.CancelledError):
                await indexing


async def _index(system: System) -> None:
    while True:
        if not await system.indexer.step():
            await asyncio.sleep(0.005)
