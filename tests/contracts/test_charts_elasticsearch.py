"""Charts on a real Elasticsearch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from flowtide.index.elasticsearch import ElasticsearchIndex
from flowtide.index.port import Index
from flowtide.testing.contracts.charts import ChartContract

pytestmark = pytest.mark.elasticsearch


class TestElasticsearch(ChartContract):
    @pytest.fixture
    async def index(self, elasticsearch_url: str) -> AsyncIterator[Index]:
        opened = ElasticsearchIndex(elasticsearch_url, prefix=f"test{uuid4().hex[:8]}_", replicas=0)
        await opened.start()
        yield opened
        await opened.remove()
        await opened.close()
