"""Durations: what is read, what is refused, and how they are written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import TypeAdapter, ValidationError

from flowtide.model.durations import Duration, DurationTemplate, Shift, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT0.25S", timedelta(milliseconds=250)),
        ("PT2S", timedelta(seconds=2)),
        ("PT1M", timedelta(minutes=1)),
        ("PT3.5H", timedelta(hours=3.5)),
        ("P6DT4H", timedelta(days=6, hours=4)),
        ("pt1h30m", timedelta(minutes=90)),
        ("-PT1S", timedelta(seconds=-1)),
        ("P1D", timedelta(days=1)),
    ],
)
def test_iso_durations_are_read(text: str, duration: timedelta) -> None:
    """Days, hours, minutes and seconds, with fractions (RTY-06)."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1W", "P1M", "P1Y", "1h", "PT1X", "P1DT", "PT1S1M", "P9999999999999D", "P1D\nx"]
)
def test_other_texts_are_refused(text: str) -> None:
    """Weeks, months, years and anything else raise ValueError (TMO-01)."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(some.timedeltas(min_value=timedelta(days=-10_000), max_value=timedelta(days=10_000)))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    """Writing and reading a duration gives it again, to the microsecond."""
    assert parse_duration(format_duration(duration)) == duration


def test_durations_are_written_as_java_does() -> None:
    """Hours are not made days; nothing is PT0S."""
    assert [format_duration(timedelta(hours=26, seconds=0.5)), format_duration(timedelta(0))] == [
        "PT26H0.5S",
        "PT0S",
    ]


@pytest.mark.parametrize("kind", [Duration, DurationTemplate])
def test_nothing_takes_less_than_no_time(kind: Any) -> None:
    """A negative timeout, interval or limit is refused; a shift of a window may be negative."""
    with pytest.raises(ValidationError, match="must not be negative"):
        TypeAdapter(kind).validate_python("PT-5S")
    assert TypeAdapter(kind).validate_python("PT0S") == timedelta(0)
    assert TypeAdapter(Shift).validate_python("-PT6H") == timedelta(hours=-6)
