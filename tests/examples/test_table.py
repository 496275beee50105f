"""The documentation's examples and their table: each has its line, and is valid or refused as the line says."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins
from tests.examples.cases import whole
from tests.examples.table import CASES, EXAMPLES, IN_SCOPE, TABLE, files, is_run, text_of

_UNKNOWN = re.compile(r"there is no (?:task|trigger|condition|runner) of type \W*([\w.]+)")

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(),
    reason=f"the documentation's examples are not at {EXAMPLES}: FLOWTIDE_TEST_EXAMPLES",
)


def test_table_and_folder_are_of_the_same_examples() -> None:
    """No flow or part without a line, no line without an example; the other kinds are counted, with a reason."""
    assert {name for name, kind in files() if kind in IN_SCOPE} == set(CASES)
    others = Counter(kind for _, kind in files() if kind not in IN_SCOPE)
    assert others == {kind: told["files"] for kind, told in TABLE["out of scope"].items()}
    assert all(told["because"] for told in TABLE["out of scope"].values())


def test_every_line_says_what_becomes_of_the_example() -> None:
    """It is run, refused, or waits for something that is named; and what a line names is in the table too."""
    silent = [
        name
        for name, case in CASES.items()
        if not (is_run(case) or "invalid" in case or case.get("waits for"))
    ]
    assert silent == []
    assert [name for name, case in CASES.items() if "invalid" in case and "because" not in case] == []
    named = {other for case in CASES.values() for other in case.get("with", ())}
    assert named <= set(CASES)
    assert all(is_run(CASES[name]) for name in TABLE["on kafka"])


def test_examples_are_valid_or_refused_as_their_lines_say() -> None:
    """Apart from the types that a line waits for, a flow has the one violation that its line gives, or none."""
    registry = discover_plugins()
    surprises: list[str] = []
    for name, kind in files():
        if kind not in IN_SCOPE:
            continue
        case, text = CASES[name], text_of(name)
        source = whole(text, name) if kind == "part" else text
        violations = [str(each) for each in parse_flow(source, registry).violations]
        unknown = {found[1] for each in violations if (found := _UNKNOWN.search(each)) is not None}
        others = [each for each in violations if _UNKNOWN.search(each) is None]
        waits_for = case.get("waits for")
        awaited = set(waits_for) if isinstance(waits_for, list) else set()
        if unknown != awaited:
            surprises.append(f"{name}: unknown types are {sorted(unknown)}: say what becomes of it now")
        if "invalid" in case and not any(case["invalid"] in each for each in others):
            surprises.append(f"{name}: not refused for {case['invalid']!r} but {others}")
        if "invalid" not in case and others:
            surprises.append(f"{name}: {others}")
    assert surprises == []
