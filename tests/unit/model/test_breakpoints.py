"""Breakpoints as requests name them."""

from __future__ import annotations

import pytest

from flowtide.model.breakpoints import read_breakpoints, stops_at
from flowtide.model.records import Breakpoint


def test_tasks_and_values_are_read() -> None:
    """Separated by commas; all after the first dot is the value."""
    assert read_breakpoints("first, loop.a.b ,,") == [
        Breakpoint(id="first"),
        Breakpoint(id="loop", value="a.b"),
    ]
    assert read_breakpoints("") == []


def test_a_breakpoint_names_a_task() -> None:
    """A value alone stops nothing."""
    with pytest.raises(ValueError, match="names no task"):
        read_breakpoints("first,.value")


@pytest.mark.parametrize(
    ("task", "value", "expected"),
    [
        ("first", None, True),
        ("first", "x", True),
        ("loop", "a", True),
        ("loop", "b", False),
        ("other", None, False),
    ],
)
def test_who_stops(task: str, value: str | None, expected: bool) -> None:
    """Without a value it is for all iterations."""
    assert stops_at(read_breakpoints("first,loop.a"), task, value) is expected
