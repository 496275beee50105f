"""The index on a real Elasticsearch keeps the contract, in one index a kind and in one a month."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from flowtide.errors import IndexUnavailable
from flowtide.index.elasticsearch import ElasticsearchIndex, Rotation
from flowtide.index.port import Index
from flowtide.testing.contracts.index import IndexContract
from flowtide.testing.contracts.index_samples import execution, put

pytestmark = pytest.mark.elasticsearch


def call(method: str, url: str, body: Any = None) -> Any:
    """One request outside the adapter."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(
        Request(url, data=data, method=method, headers={"content-type": "application/json"})
    ) as answer:
        return json.loads(answer.read())


@pytest.fixture
def prefix(elasticsearch_url: str) -> Iterator[str]:
    """Names of this test's own, removed afterwards."""
    name = f"test{uuid4().hex[:8]}_"
    yield name
    indices = ",".join(call("GET", f"{elasticsearch_url}/{name}*/_alias"))
    if indices:
        call("DELETE", f"{elasticsearch_url}/{indices}")
    call("DELETE", f"{elasticsearch_url}/_index_template/{name}*")


class TestElasticsearch(IndexContract):
    rotation = Rotation.NONE

    @pytest.fixture
    async def index(self, elasticsearch_url: str, prefix: str) -> AsyncIterator[Index]:
        opened = ElasticsearchIndex(elasticsearch_url, prefix=prefix, rotation=self.rotation, replicas=0)
        await opened.start()
        yield opened
        await opened.close()


class TestRotated(TestElasticsearch):
    rotation = Rotation.MONTHLY

    async def test_a_document_stays_in_the_index_of_its_month(
        self, index: Index, elasticsearch_url: str, prefix: str
    ) -> None:
        """Executions of March live in March's index, behind the alias, also when they are written again."""
        await put(index, execution(1, version=1))
        await put(index, execution(1, version=2, flow_revision=2))
        assert list(call("GET", f"{elasticsearch_url}/{prefix}executions/_alias")) == [
            f"{prefix}executions-2026.03"
        ]
        assert await index.count("main", "executions") == 1


async def test_a_search_waits_for_the_shard_of_an_index_that_is_just_made(
    elasticsearch_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that another process is making has no shard at first; part of an answer is none."""
    index = ElasticsearchIndex(elasticsearch_url, prefix=prefix, replicas=0)
    await index.start()
    place = f"{elasticsearch_url}/{prefix}executions"
    nowhere = {"settings": {"index.routing.allocation.require._name": "nobody"}}
    await asyncio.to_thread(call, "PUT", f"{place}-late?wait_for_active_shards=0", nowhere)
    alias = {"actions": [{"add": {"index": f"{prefix}executions-late", "alias": f"{prefix}executions"}}]}
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        call("PUT", f"{place}-late/_settings", {"index.routing.allocation.require._name": None})
        call("GET", f"{elasticsearch_url}/_cluster/health/{prefix}executions-late?wait_for_status=green")

    try:
        await asyncio.to_thread(call, "POST", f"{elasticsearch_url}/_aliases", alias)
        monkeypatch.setattr("flowtide.index.elasticsearch.adapter.asyncio.sleep", pause)
        assert await index.count("main", "executions") == 0
        assert len(pauses) == 1
    finally:
        await index.close()


async def test_an_absent_server_is_unavailable() -> None:
    """Where nothing listens, the error says so and the call may be made again."""
    index = ElasticsearchIndex("http://127.0.0.1:9")
    try:
        with pytest.raises(IndexUnavailable, match=r"http://127.0.0.1:9 cannot be reached"):
            await index.start()
    finally:
        await index.close()
