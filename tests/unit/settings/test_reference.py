"""The page of settings and the table are one thing."""

from __future__ import annotations

from pathlib import Path

from flowtide.settings import Settings
from flowtide.settings.reference import reference
from flowtide.settings.sources import all_settings

ROOT = Path(__file__).parents[3]


def test_page_is_current() -> None:
    """docs/reference/settings.md is what the table gives; `make docs` writes it anew."""
    assert (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8") == reference()


def test_keys_are_unique_and_defaults_agree() -> None:
    """No two settings share a key, and `Settings()` holds the defaults of the table."""
    keys = [key for setting in all_settings() for key in setting.keys]
    assert len(keys) == len(set(keys))
    settings = Settings()
    for setting in all_settings():
        value: object = settings
        for name in setting.path:
            value = getattr(value, name)
        assert value == setting.default, setting.key
