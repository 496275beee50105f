"""The pages of the language are those that the classes give, and every class shows what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtide.cli.language import pages
from flowtide.expressions import compile_template
from flowtide.model.dashboards.source import parse_dashboard
from flowtide.model.plugin import Plugin
from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins

FOLDER = Path(__file__).parents[3] / "docs" / "reference" / "language"
REGISTRY = discover_plugins()
SHOWN = [(kind, name, plugin) for kind, name, plugin in REGISTRY if "$" not in name]
OF_FLOWS = [(name, plugin) for kind, name, plugin in SHOWN if kind not in ("chart", "data")]
OF_DASHBOARDS = [(name, plugin) for kind, name, plugin in SHOWN if kind in ("chart", "data")]


def check(template: str) -> None:
    """Compile a template, as a server does when a flow is saved."""
    compile_template(template)


def test_the_pages_are_current() -> None:
    """`make docs` would change nothing."""
    made = pages(REGISTRY)
    assert sorted(made) == sorted(path.name for path in FOLDER.glob("*.md"))
    different = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert different == []


@pytest.mark.parametrize(("name", "plugin"), OF_FLOWS, ids=[name for name, _ in OF_FLOWS])
def test_every_type_shows_a_flow_that_is_right(name: str, plugin: type[Plugin]) -> None:
    """The example of a class is valid, its templates compile, and it names the class."""
    assert plugin.example, f"{name} has no example"
    parsed = parse_flow(plugin.example, REGISTRY, check=check)
    assert parsed.violations == []
    assert name in plugin.example
    assert not parsed.warnings or plugin.deprecated or "LocalFiles is deprecated" in parsed.warnings[0]


@pytest.mark.parametrize(("name", "plugin"), OF_DASHBOARDS, ids=[name for name, _ in OF_DASHBOARDS])
def test_charts_and_their_data_show_a_dashboard_that_is_right(name: str, plugin: type[Plugin]) -> None:
    """The example of a class is a valid dashboard without advice, and it names the class."""
    assert plugin.example, f"{name} has no example"
    parsed = parse_dashboard(plugin.example, REGISTRY)
    assert (parsed.violations, parsed.warnings) == ([], [])
    assert name in plugin.example


def test_every_property_says_what_it_is() -> None:
    """Every field of every plugin has a title or a description, but `type`."""
    silent = [
        f"{name}.{field}"
        for _, name, plugin in SHOWN
        for field, info in plugin.model_fields.items()
        if field != "type" and not info.title and not info.description
    ]
    assert silent == []
