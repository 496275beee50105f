"""Plays every scenario of this folder on the engine alone; each is a claim about the language, with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.scenario import Play, load

_SCENARIOS = [
    pytest.param(scenario, id=f"{path.stem}: {scenario['claim']}")
    for path in sorted(Path(__file__).parent.glob("*.yaml"))
    for scenario in load(path)
]


@pytest.mark.parametrize("scenario", _SCENARIOS)
def test_the_claim_holds(scenario: dict[str, Any]) -> None:
    """The engine does what the scenario claims, and its state can be rebuilt after every decision."""
    Play(scenario).run()
