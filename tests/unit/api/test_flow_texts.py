"""The texts that searches look for in flows are read once a revision, and a bounded number of them is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import pytest

from flowtide.api import flow_texts
from flowtide.api.flow_texts import FlowTexts
from flowtide.errors import FlowInvalid, Violation
from flowtide.log.keys import FlowKey
from flowtide.model.records import Label
from flowtide.services.catalog import SavedFlow


@dataclass
class _Flow:
    description: str | None
    labels: tuple[Label, ...] = (Label(key="team", value="Data"),)


class _Saved:
    """A saved flow that counts how often it is read."""

    def __init__(self, flow_id: str, revision: int = 1, description: str | None = "Loads Orders") -> None:
        self.key = FlowKey("main", "company", flow_id)
        self.revision = revision
        self.updated = datetime(2026, 1, 1, tzinfo=UTC)
        self.reads = 0
        self.is_readable = True
        self._description = description

    @property
    def flow(self) -> _Flow:
        self.reads += 1
        if not self.is_readable:
            raise FlowInvalid([Violation(path="id", message="cannot be read")])
        return _Flow(self._description)

    @property
    def saved(self) -> SavedFlow:
        return cast("SavedFlow", self)


async def test_each_revision_is_read_once() -> None:
    """Words are those of key and description in small letters; another revision has its own."""
    texts, first, second = FlowTexts(), _Saved("load"), _Saved("load", 2, None)
    await texts.prepare([first.saved, first.saved])
    assert texts.of(first.saved).words == "company/load loads orders"
    assert texts.of(first.saved).labels == {"team": "Data"}
    assert texts.of(second.saved).words == "company/load "
    assert (first.reads, second.reads) == (1, 1)


def test_a_flow_that_cannot_be_read_is_read_again() -> None:
    """Its key is found meanwhile, and its description once its plugin is there."""
    texts, saved = FlowTexts(), _Saved("load")
    saved.is_readable = False
    assert texts.of(saved.saved).words == "company/load"
    saved.is_readable = True
    assert "orders" in texts.of(saved.saved).words


def test_what_was_read_first_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the bound is not kept."""
    monkeypatch.setattr(flow_texts, "_MOST_CHARACTERS", 1_500)
    texts, saved = FlowTexts(), [_Saved(name) for name in ("one", "two", "three")]
    for each in (*saved, saved[2], saved[0]):
        texts.of(each.saved)
    assert [each.reads for each in saved] == [2, 1, 1]
