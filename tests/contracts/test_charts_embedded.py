"""Charts on the embedded index."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flowtide.index.embedded import EmbeddedIndex
from flowtide.index.port import Index
from flowtide.testing.contracts.charts import ChartContract


class TestEmbedded(ChartContract):
    @pytest.fixture
    async def index(self) -> AsyncIterator[Index]:
        opened = EmbeddedIndex(None, threaded=False)
        await opened.start()
        yield opened
        await opened.close()
