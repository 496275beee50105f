"""Plugin discovery: entry points become a registry."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from flowtide.model.flowables import Sequential
from flowtide.services.plugins import PluginConflict, discover_plugins


def point(name: str, value: str, group: str = "flowtide.tasks") -> EntryPoint:
    """An entry point."""
    return EntryPoint(name=name, value=value, group=group)


def test_entry_points_become_types() -> None:
    """The name of an entry point is the type; other groups are left alone."""
    registry = discover_plugins(
        [
            point("flow.Sequential", "flowtide.model.flowables:Sequential"),
            point("old.Sequential", "task:flow.Sequential", "flowtide.former_names"),
            point("x", "y:z", "console_scripts"),
        ]
    )
    assert registry.names("task") == ["flow.Sequential"]
    assert registry.find("task", "old.Sequential") is Sequential


def test_two_packages_must_not_offer_one_type() -> None:
    """A type that is offered twice is an error that names both; the same offer twice is none."""
    one = point("flow.Sequential", "flowtide.model.flowables:Sequential")
    assert discover_plugins([one, one]).names("task") == ["flow.Sequential"]
    with pytest.raises(PluginConflict, match=r"offered twice, by .*Sequential and by other:Thing"):
        discover_plugins([one, point("flow.Sequential", "other:Thing")])


def test_former_names_need_a_kind() -> None:
    """A former name that points nowhere is an error of its package."""
    with pytest.raises(PluginConflict, match="names no kind"):
        discover_plugins([point("old", "flow.Sequential", "flowtide.former_names")])


def test_every_installed_plugin_loads_and_its_former_names_are_declared() -> None:
    """All entry points import; the table of former names in pyproject.toml is that of the classes."""
    registry = discover_plugins()
    declared = discover_plugins()
    for kind, name, plugin in registry:
        assert plugin.kind == kind
        for alias in plugin.aliases:
            assert declared.current_name(kind, alias) == name, "add it to the former names in pyproject.toml"
