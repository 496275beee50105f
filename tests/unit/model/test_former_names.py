"""Former type names are accepted everywhere a type stands, and told of with the name of today (F W.4, G section 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from flowtide.model.plugin import PluginKind, Registry
from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins

TABLE: Mapping[str, str] = yaml.safe_load(
    Path(__file__).with_name("former_names.yaml").read_text(encoding="utf-8")
)
CATALOGUE = Path(__file__).parents[4] / "shared" / "spec" / "F_howto_plugins.md"
KINDS: tuple[PluginKind, ...] = ("task", "trigger", "condition", "runner")
LOG = "io.kestra.plugin.core.log.Log"


@pytest.fixture(scope="module")
def registry() -> Registry:
    """All installed plugins; none of them is imported yet."""
    return discover_plugins()


@pytest.mark.parametrize("former", TABLE)
def test_a_former_name_is_told_with_the_present_one(registry: Registry, former: str) -> None:
    """Wherever it stands, a former name is no violation of its own, and a warning names what it is called now."""
    kind, _, present = TABLE[former].partition(":")
    places: dict[str, dict[str, Any]] = {
        "task": {"tasks": [{"id": "t", "type": former}]},
        "trigger": {"triggers": [{"id": "t", "type": former}]},
        "condition": {
            "triggers": [
                {"id": "t", "type": "io.kestra.plugin.core.trigger.Flow", "conditions": [{"type": former}]}
            ]
        },
        "runner": {
            "tasks": [
                {
                    "id": "t",
                    "type": "io.kestra.plugin.scripts.shell.Commands",
                    "commands": ["true"],
                    "taskRunner": {"type": former},
                }
            ]
        },
    }
    flow: dict[str, Any] = {
        "id": "old",
        "namespace": "company.team",
        "tasks": [{"id": "say", "type": LOG, "message": "x"}],
    }
    parsed = parse_flow(yaml.safe_dump({**flow, **places[kind]}), registry)
    assert not [each for each in parsed.violations if each.path.endswith("type")]
    assert f"the type `{former}` is now called `{present}`" in parsed.warnings
    assert parsed.relocated == [(former, present)]


@pytest.mark.skipif(not CATALOGUE.is_file(), reason=f"the catalogue is not at {CATALOGUE}")
def test_the_table_is_that_of_the_catalogue(registry: Registry) -> None:
    """Every former id of W.4 is in the table, unless what it stands for is not built here."""
    text = CATALOGUE.read_text(encoding="utf-8")
    section = text[text.index("### W.4") : text.index("### W.5")]
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\| ([^|]+)\|", section, re.MULTILINE)
    assert len(rows) > 100
    for former, target in rows:
        name = target.split(" ")[0]
        if any(registry.has(kind, name) for kind in KINDS):
            assert former in TABLE, f"{former} stands for {name}, which is here"


def test_names_chain(registry: Registry) -> None:
    """A name that was changed twice leads to the last one (G, trap 17)."""
    for former, kind, present in (
        ("io.kestra.core.models.conditions.types.VariableCondition", "condition", "condition.Expression"),
        ("io.kestra.plugin.core.condition.ExpressionCondition", "condition", "condition.Expression"),
        ("io.kestra.core.tasks.flows.Flow", "task", "flow.Subflow"),
    ):
        assert registry.current_name(cast("PluginKind", kind), former) == f"io.kestra.plugin.core.{present}"
