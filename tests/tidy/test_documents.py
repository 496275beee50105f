"""Documents lead somewhere, and each change has its note in the agreed form."""

from __future__ import annotations

import re

from tests.tidy.repository import ROOT, shown, tracked_files

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_FRAGMENT = re.compile(r"\d{3}-[a-z0-9]+(?:-[a-z0-9]+)*\.md")


def test_links_lead_to_files() -> None:
    """Every relative link in a document names a file or folder of the repository."""
    dead = []
    for file in tracked_files():
        if file.suffix != ".md":
            continue
        text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", file.read_text(encoding="utf-8")))
        for target in _LINK.findall(text):
            path = target.split("#", 1)[0]
            if "://" in target or target.startswith("mailto:") or not path:
                continue
            if not (file.parent / path).exists():
                dead.append(f"{shown(file)}: {target}")
    assert dead == []


def test_notes_of_changes() -> None:
    """A note is named NNN-topic.md, holds one to three sentences and no heading."""
    wrong = []
    for file in sorted((ROOT / "docs" / "changes").iterdir()):
        if file.name == "README.md":
            continue
        text = file.read_text(encoding="utf-8").strip() if file.suffix == ".md" else ""
        if not _FRAGMENT.fullmatch(file.name) or not text or text.startswith("#") or len(text) > 800:
            wrong.append(shown(file))
    assert wrong == []
