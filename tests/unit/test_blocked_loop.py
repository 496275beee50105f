"""The guard of tests/conftest.py: our code must not block the event loop in unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from blockbuster import BlockingError

from flowtide.settings import Settings


async def test_blocking_call_of_ours_raises(tmp_path: Path) -> None:
    """Reading a file inside a coroutine, from within our package, is found."""
    file = tmp_path / "any.yml"
    file.write_text("flowtide.url: x")
    with pytest.raises(BlockingError):
        Settings.load((file,), {})


@pytest.mark.blocking
async def test_marked_tests_may_block(tmp_path: Path) -> None:
    """The mark lifts the guard (this test reads a file in a coroutine on purpose)."""
    file = tmp_path / "any.yml"
    file.write_text("flowtide.url: x")
    assert Settings.load((file,), {}).url == "x"
