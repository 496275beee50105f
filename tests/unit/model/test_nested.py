"""Merging nested mappings and taking paths out of them."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.model.encrypted import encrypted_value
from flowtide.model.nested import conflict, has_path, merged, without

BASE: dict[str, Any] = {"a": 1, "b": {"c": {"d": 2}, "e": [3]}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, BASE),
        ({"a": 2}, {"a": 2, "b": {"c": {"d": 2}, "e": [3]}}),
        ({"b": {"c": {"f": 4}}}, {"a": 1, "b": {"c": {"d": 2, "f": 4}, "e": [3]}}),
        ({"b": {"e": [5]}}, {"a": 1, "b": {"c": {"d": 2}, "e": [5]}}),
        ({"b": 6}, {"a": 1, "b": 6}),
        ({"a": {"g": 7}}, {"a": {"g": 7}, "b": {"c": {"d": 2}, "e": [3]}}),
    ],
)
def test_mappings_are_merged_and_all_else_is_replaced(
    change: dict[str, Any], expected: dict[str, Any]
) -> None:
    """RUN-06: keys that are not named stay, at every depth; the base is not changed."""
    before = {"a": 1, "b": {"c": {"d": 2}, "e": [3]}}
    assert merged(BASE, change) == expected
    assert before == BASE


def test_an_encrypted_value_is_one_value() -> None:
    """It looks like a mapping, and is never merged into another one."""
    old, new = encrypted_value("old"), encrypted_value("new")
    assert merged({"a": old}, {"a": new}) == {"a": new}
    assert merged({"a": {"type": "x", "more": 1}}, {"a": new}) == {"a": new}
    assert conflict({"a": old}, {"a": new}) == "a"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["a"], {"b": {"c": {"d": 2}, "e": [3]}}),
        (["b", "c", "d"], {"a": 1, "b": {"c": {}, "e": [3]}}),
        (["b", "x"], BASE),
        (["a", "x"], BASE),
    ],
)
def test_a_path_is_taken_out(path: list[str], expected: dict[str, Any]) -> None:
    """RUN-07: only what the path names goes."""
    assert without(BASE, path) == expected


def test_paths_are_found() -> None:
    """A path ends at any value, also at one that is a mapping."""
    assert has_path(BASE, ["b", "c"])
    assert has_path({"n": None}, ["n"])
    assert not has_path(BASE, ["b", "c", "x"])
    assert not has_path(BASE, ["a", "x"])


def test_the_first_value_that_would_be_replaced_is_named() -> None:
    """RUN-06 with `overwrite: false`: new keys inside a map that is there are no conflict."""
    assert conflict(BASE, {"b": {"c": {"new": 1}}}) is None
    assert conflict(BASE, {"new": 1, "b": {"c": {"d": 3}}}) == "b.c.d"
