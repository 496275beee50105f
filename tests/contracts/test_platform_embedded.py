"""The key-value store and namespace files keep their contract on the embedded log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.topics import load_topics
from flowtide.testing.contracts.platform import KeyValuesContract, NamespaceFilesContract, Servers
from flowtide.testing.contracts.platform_servers import open_servers

TOPICS = [topic for name, topic in load_topics().items() if name.startswith("res") or name == "replies"]


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    log = EmbeddedLog(None, clock=lambda: 0.0, partitions=2, threaded=False)
    await log.start()
    await log.ensure_topics(TOPICS)
    async with open_servers(log, tmp_path / "files") as opened:
        yield opened("main")
    await log.close()


class TestKeyValues(KeyValuesContract):
    pass


class TestNamespaceFiles(NamespaceFilesContract):
    pass
