"""Slices of time: equal, no more than asked for, and none of the time lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from flowtide.index.spread import slices_between

START = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)


@given(span_us=st.integers(0, 10**12), number=st.integers(1, 1_000))
def test_slices_hold_both_ends(span_us: int, number: int) -> None:
    """The first begins at the start, to the millisecond, and the last of at most `number` holds the end."""
    end = START + timedelta(microseconds=span_us)
    first, width_ms = slices_between(START, end, number)
    assert first == START.replace(microsecond=123_000)
    assert width_ms >= 1
    assert (end - first) // timedelta(milliseconds=width_ms) < number
