"""The documentation's examples: each flow parses, or its refusal stands in tests/examples_table.yaml."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins

ROOT = Path(__file__).parents[3]
EXAMPLES = Path(os.environ.get("FLOWTIDE_TEST_EXAMPLES", ROOT.parent / "shared" / "examples"))
TABLE = ROOT / "tests" / "examples_table.yaml"
UNKNOWN_TYPES = tuple(f"there is no {kind} of type" for kind in ("task", "trigger", "condition", "runner"))


@pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the documentation's examples are not here: set FLOWTIDE_TEST_EXAMPLES"
)
def test_examples_parse_or_their_refusal_is_documented() -> None:
    """Apart from types that are not built yet, only the listed examples are refused, for the listed reason."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    expected: dict[str, str] = table["files"]
    anywhere: tuple[str, ...] = tuple(table["anywhere"])
    registry = discover_plugins()
    surprises: list[str] = []
    files = sorted(EXAMPLES.glob("*/*-flow-*.yaml"))
    assert len(files) > 600
    for file in files:
        name = file.relative_to(EXAMPLES).as_posix()
        violations = parse_flow(file.read_text(encoding="utf-8"), registry).violations
        texts = [str(each) for each in violations if not each.message.startswith(UNKNOWN_TYPES)]
        texts = [text for text in texts if not any(part in text for part in anywhere)]
        if name in expected:
            if not any(expected[name] in text for text in texts):
                surprises.append(f"{name}: expected {expected[name]!r}, found {texts}")
        elif texts:
            surprises.append(f"{name}: {texts}")
    assert surprises == []
