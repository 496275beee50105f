"""The registry: names, former names, and classes that are imported late."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.errors import PluginUnavailable
from flowtide.model.plugin import Plugin, Registry
from flowtide.model.source import parse_flow
from tests.unit.model.plugins import LocalRunner, Say


def test_former_names_lead_to_the_class() -> None:
    """An alias of a class is found, but not listed."""
    registry = Registry({("task", "new.Say"): Say})
    assert registry.find("task", "old.Say") is Say
    assert registry.current_name("task", "old.Say") == "new.Say"
    assert registry.current_name("task", "other") == "other"
    assert registry.names("task") == ["new.Say"]
    assert registry.find("trigger", "new.Say") is None


def test_classes_are_imported_once_and_late() -> None:
    """A callable is called when its type is first found."""
    calls: list[str] = []

    def load() -> type[Plugin]:
        calls.append("load")
        return Say

    registry = Registry({("task", "new.Say"): load}, former_names={("task", "older.Say"): "new.Say"})
    assert registry.names("task") == ["new.Say"]
    assert calls == []
    assert [registry.find("task", name) for name in ("older.Say", "new.Say", "old.Say")] == [Say, Say, Say]
    assert calls == ["load"]
    assert list(registry) == [("task", "new.Say", Say)]


def broken() -> Any:
    """An import that fails."""
    raise ImportError("no module named magic")


@pytest.mark.parametrize(
    ("load", "reason"),
    [(broken, "ImportError: no module named magic"), (lambda: LocalRunner, "is not a task class")],
)
def test_plugins_that_cannot_be_loaded_are_violations(load: Any, reason: str) -> None:
    """A broken plugin raises PluginUnavailable; in a flow it is a violation at its `type`."""
    registry = Registry({("task", "bad.One"): load})
    with pytest.raises(PluginUnavailable, match=reason):
        registry.find("task", "bad.One")
    (violation,) = parse_flow("id: a\nnamespace: b\ntasks: [{id: t, type: bad.One}]", registry).violations
    assert violation.path == "tasks[0].type"
    assert reason in violation.message
