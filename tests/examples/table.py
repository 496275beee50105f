"""The table of the documentation's examples, and the folder that it speaks of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[2]
EXAMPLES = Path(os.environ.get("FLOWTIDE_TEST_EXAMPLES", _ROOT.parent / "shared" / "examples"))
TABLE: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("table.yaml").read_text(encoding="utf-8"))
CASES: Mapping[str, Mapping[str, Any]] = TABLE["cases"]
IN_SCOPE = ("flow", "part")


def files() -> Iterator[tuple[str, str]]:
    """The name and the kind of each example, `PAGE/NUMBER-KIND-NAME.yaml`."""
    for file in sorted(EXAMPLES.glob("*/*.yaml")):
        yield f"{file.parent.name}/{file.name}", file.stem.split("-")[1]


def text_of(name: str) -> str:
    """The example as it stands."""
    return (EXAMPLES / name).read_text(encoding="utf-8")


def is_run(case: Mapping[str, Any]) -> bool:
    """Whether the line says what comes of an execution."""
    return not case.keys().isdisjoint({"state", "refused", "answers"})
