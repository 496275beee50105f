"""Durations and values of pairs as people write them."""

from __future__ import annotations

import click
import pytest

from flowtide.cli.pairs import body_of, duration, seconds


@pytest.mark.parametrize(
    ("written", "iso", "length"),
    [("1d", "P1D", 86_400), ("2h30m", "PT2H30M", 9_000), ("90s", "PT90S", 90), ("PT0.5S", "PT0.5S", 0.5)],
)
def test_durations_are_short_or_iso(written: str, iso: str, length: float) -> None:
    """`-e 1d` as the example of page 239 has it, or ISO 8601."""
    assert duration(written) == iso
    assert seconds(written) == length


@pytest.mark.parametrize("written", ["", "soon", "1", "d1"])
def test_no_duration_is_refused(written: str) -> None:
    """With the forms that there are."""
    with pytest.raises(click.BadParameter, match="30m"):
        duration(written)


@pytest.mark.parametrize(
    ("value", "kind", "body"),
    [
        ("hello", None, "hello"),
        ("", None, '""'),
        ("12", "STRING", '"12"'),
        ("12", "NUMBER", "12"),
        ("True", "BOOLEAN", "true"),
        ('{"a": 1}', "JSON", '{"a": 1}'),
        ("1d", "DURATION", "P1D"),
        ("2026-01-02", "date", "2026-01-02"),
    ],
)
def test_a_type_decides_the_body(value: str, kind: str | None, body: str) -> None:
    """The server finds the type by the body, which therefore is written as that type is."""
    assert body_of(value, kind) == body


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", "NUMBER"), ("true", "NUMBER"), ("1", "BOOLEAN"), ("{", "JSON"), ("soon", "DATETIME")],
)
def test_a_value_of_another_type_is_refused(value: str, kind: str) -> None:
    """The value and the type stand in the sentence."""
    with pytest.raises(click.BadParameter, match=f"{value}` is no {kind}"):
        body_of(value, kind)
