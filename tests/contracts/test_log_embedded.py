"""The embedded log keeps the contract: in memory on the event loop, and on a file with its writer thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log
from flowtide.testing.contracts.log import MESSAGE_LIMIT_BYTES, TOPICS, LogContract


def _clock() -> float:
    return 1_700_000_000.0


class TestInMemory(LogContract):
    @pytest.fixture
    async def log(self) -> AsyncIterator[Log]:
        log = EmbeddedLog(None, clock=_clock, threaded=False, message_limit_bytes=MESSAGE_LIMIT_BYTES)
        await log.start()
        await log.ensure_topics(TOPICS)
        yield log
        await log.close()


class TestOnFile(LogContract):
    @pytest.fixture(params=[True, False], ids=["threaded", "unthreaded"])
    async def log(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Log]:
        log = EmbeddedLog(
            tmp_path / "log.db", clock=_clock, threaded=request.param, message_limit_bytes=MESSAGE_LIMIT_BYTES
        )
        await log.start()
        await log.ensure_topics(TOPICS)
        yield log
        await log.close()
