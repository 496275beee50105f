"""Every operation that clients of the API call is served, or refused with its reason; operations.yaml lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flowtide.api.route import PREFIX, Route
from flowtide.api.routes import ROUTES
from flowtide.api.unserved import UNSERVED, unserved

OPERATIONS = yaml.safe_load((Path(__file__).parent / "operations.yaml").read_text(encoding="utf-8"))
SERVED = [tuple(line.split(" ")) for lines in OPERATIONS["served"].values() for line in lines]
NOT_SERVED = [(name, *line.split(" ")) for name, lines in OPERATIONS["not_served"].items() for line in lines]
CATALOGUE = Path(__file__).parents[4] / "shared" / "spec" / "G_endpoints.md"

_PARAMETER = re.compile(r"\{[^{}]*\}")
_PATTERNS = [
    (
        route,
        re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{[^{}]*\}", route.path))),
    )
    for route in ROUTES
]


def _sample(path: str) -> str:
    """A path with something in the place of each parameter."""
    return _PARAMETER.sub("x1", path)


def _taking(method: str, path: str) -> Iterator[Route]:
    """The routes that fit a request, in the order in which they are asked."""
    sample = _sample(path)
    return (route for route, pattern in _PATTERNS if route.method == method and pattern.fullmatch(sample))


def _fixed(path: str) -> int:
    """How many segments of a path are no parameters."""
    return sum("{" not in segment for segment in path.split("/"))


def test_what_clients_call_is_served() -> None:
    """The first route that takes it means the same place: it has as many segments of its own."""
    problems = []
    for method, path in SERVED:
        taken = next(_taking(method, path), None)
        if taken is None or unserved(method, _sample(path)) is not None:
            problems.append(f"nothing serves {method} {path}")
        elif (
            _fixed(taken.path) != _fixed(path) and "versioned-plugins" not in path
        ):  # all of those are refused
            problems.append(f"{taken.path} takes {method} {path}")
    assert not problems


def test_what_is_not_served_says_why() -> None:
    """It belongs to the entry that it is listed under, and no route takes it by accident."""
    problems = []
    for name, method, path in NOT_SERVED:
        found = unserved(method, _sample(path))
        if found is None or found.name != name:
            problems.append(f"{method} {path} is {found and found.name}, and not {name}")
        problems.extend(f"{route.path} takes {method} {path}" for route in _taking(method, path))
    assert not problems


def test_no_route_is_said_not_to_be_served() -> None:
    """The two tables do not contradict each other, and an entry has operations."""
    assert not [
        route.path for route in ROUTES if unserved(route.method, _sample(route.path).removeprefix("/x1"))
    ]
    assert {each.name for each in UNSERVED} == set(OPERATIONS["not_served"])
    assert all(OPERATIONS["not_served"].values())


@pytest.mark.skipif(not CATALOGUE.exists(), reason="the catalogue of the clients' operations is not here")
def test_no_operation_of_the_catalogue_is_forgotten() -> None:
    """Every row of the catalogue stands in operations.yaml."""
    rows = re.findall(r"^\| *\d+ *\| *([A-Z]+) *\| *`([^`]+)`", CATALOGUE.read_text(encoding="utf-8"), re.M)
    assert len(rows) == 588
    known = {*SERVED, *[(method, path) for _, method, path in NOT_SERVED]}
    assert not {(method, path.removeprefix(PREFIX)) for method, path in rows} - known
