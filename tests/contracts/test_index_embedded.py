"""The embedded index keeps the contract: in memory, without threads, and in a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowtide.index.embedded import EmbeddedIndex
from flowtide.index.port import Index
from flowtide.testing.contracts.index import IndexContract


class TestMemory(IndexContract):
    @pytest.fixture
    async def index(self) -> AsyncIterator[Index]:
        opened = EmbeddedIndex(None)
        await opened.start()
        yield opened
        await opened.close()


class TestInline(IndexContract):
    @pytest.fixture
    async def index(self) -> AsyncIterator[Index]:
        opened = EmbeddedIndex(None, threaded=False)
        await opened.start()
        yield opened
        await opened.close()


class TestFile(IndexContract):
    @pytest.fixture
    async def index(self, tmp_path: Path) -> AsyncIterator[Index]:
        opened = EmbeddedIndex(tmp_path / "data" / "index.db")
        await opened.start()
        yield opened
        await opened.close()
