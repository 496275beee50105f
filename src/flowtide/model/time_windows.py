"""Time windows of preconditions: which span of time a moment belongs to (page 482, FTR-04, FTR-05).

In come the YAML of a window and the moment at which an execution reached its state; out goes the span, or None when the
moment lies outside every span.  Days and windows without an offset are those of UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.durations import Duration, Shift
from flowtide.model.plugin import Part

_DAY = timedelta(days=1)
_MONDAY = datetime(
    1970, 1, 5, tzinfo=UTC
)  # windows are counted from here, so that those of weeks begin on Mondays
_OF_TYPE = {
    "DURATION_WINDOW": {"window", "window_advance"},
    "SLIDING_WINDOW": {"window"},
    "DAILY_TIME_DEADLINE": {"deadline"},
    "DAILY_TIME_WINDOW": {"start_time", "end_time"},
}
_NAMES = {
    "window": "window",
    "window_advance": "windowAdvance",
    "deadline": "deadline",
    "start_time": "startTime",
    "end_time": "endTime",
}


class Span(NamedTuple):
    """A span of time; `start` is part of it and `end` is not."""

    start: datetime
    end: datetime


class TimeWindow(Part):
    """Within which time all preconditions must be met."""

    type: Literal["DURATION_WINDOW", "SLIDING_WINDOW", "DAILY_TIME_DEADLINE", "DAILY_TIME_WINDOW"] = (
        "DURATION_WINDOW"
    )
    window: Annotated[Duration | None, Field(title="How long it is, one day by default")] = None
    window_advance: Annotated[Shift | None, Field(title="How much later than midnight windows begin")] = None
    deadline: Annotated[
        str | None, Field(title="The time of each day until which all must be met, with an offset")
    ] = None
    start_time: Annotated[
        str | None, Field(title="The time of each day from which on it counts; UTC where it has no offset")
    ] = None
    end_time: Annotated[
        str | None,
        Field(title="The time of each day until which it counts; an earlier one is one of the next day"),
    ] = None

    @property
    def length(self) -> timedelta:
        """How long a DURATION_WINDOW or a SLIDING_WINDOW is."""
        return _DAY if self.window is None else self.window

    @property
    def slides(self) -> bool:
        """Whether it reaches back from every moment, instead of lying in fixed spans."""
        return self.type == "SLIDING_WINDOW"

    def span(self, at: datetime) -> Span | None:
        """The span in which what happens at `at` counts."""
        if self.type == "SLIDING_WINDOW":
            return Span(at - self.length, at)
        if self.type == "DURATION_WINDOW":
            first = _MONDAY + (self.window_advance or timedelta())
            start = first + (at - first) // self.length * self.length
            return Span(start, start + self.length)
        if self.type == "DAILY_TIME_DEADLINE":
            return _daily(at, time(tzinfo=_time(self.deadline).tzinfo), _time(self.deadline))
        return _daily(at, _time(self.start_time), _time(self.end_time))

    @field_validator("window")
    @classmethod
    def _some_time(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value <= timedelta():
            raise PydanticCustomError("window", "must be longer than nothing")
        return value

    @field_validator("deadline", "start_time", "end_time")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                time.fromisoformat(value)
            except ValueError:
                raise PydanticCustomError(
                    "time", "must be an ISO-8601 time such as `09:00:00+01:00`"
                ) from None
        return value

    @field_validator("deadline")
    @classmethod
    def _has_offset(cls, value: str | None) -> str | None:
        if value is not None and time.fromisoformat(value).tzinfo is None:
            raise PydanticCustomError("time", "needs an offset, such as `Z` or `+01:00` at its end")
        return value

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        allowed = _OF_TYPE[self.type]
        for field, name in _NAMES.items():
            given = getattr(self, field) is not None
            if given and field not in allowed:
                raise PydanticCustomError(
                    "time_window", "a {type} has no `{name}`", {"type": self.type, "name": name}
                )
            if not given and field in allowed and self.type.startswith("DAILY_"):
                raise PydanticCustomError(
                    "time_window", "a {type} needs `{name}`", {"type": self.type, "name": name}
                )
        return self


def _time(text: str | None) -> time:
    assert text is not None  # checked when it was read
    value = time.fromisoformat(text)
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _daily(at: datetime, start: time, end: time) -> Span | None:
    """The span of a day that holds `at`; one that begins late in the evening reaches into the next day."""
    today = at.astimezone(start.tzinfo).date()
    for day in (today - _DAY, today):
        begins, ends = datetime.combine(day, start), datetime.combine(day, end)
        if ends <= begins:
            ends += _DAY
        if begins <= at < ends:
            return Span(begins.astimezone(UTC), ends.astimezone(UTC))
    return None
