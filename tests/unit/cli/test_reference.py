"""The page of all commands is that of the commands."""

from __future__ import annotations

import re
from pathlib import Path

from flowtide.cli.reference import page

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def _words(text: str) -> list[str]:
    """Without layout, which differs between releases of click."""
    return re.sub(r"[\[\]|]", " ", text).split()


def test_the_page_of_commands_is_up_to_date() -> None:
    """`make docs` would change nothing."""
    assert _words(_PAGE.read_text(encoding="utf-8")) == _words(page())
