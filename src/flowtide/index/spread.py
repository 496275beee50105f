"""How time is cut into slices for counting: two dates in, the slices out.  No state."""

from __future__ import annotations

from datetime import datetime, timedelta


def slices_between(start: datetime, end: datetime, number: int) -> tuple[datetime, int]:
    """The start and the length in ms of at most `number` slices that hold all from `start` to `end`, both included."""
    first = start.replace(microsecond=start.microsecond // 1_000 * 1_000)
    span_ms = (end - first) // timedelta(milliseconds=1) + 1
    return first, max(1, -(-span_ms // number))
