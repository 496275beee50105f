"""Durations as people write them: ISO-8601 without years, months and weeks (RTY-06), read to timedelta."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

_ISO = re.compile(
    r"^(?P<sign>[+-])?P(?:(?P<days>[+-]?\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?:(?P<hours>[+-]?\d+(?:[.,]\d+)?)H)?(?:(?P<minutes>[+-]?\d+(?:[.,]\d+)?)M)?"
    r"(?:(?P<seconds>[+-]?\d+(?:[.,]\d+)?)S)?)?$",
    re.IGNORECASE,
)


def parse_duration(text: str) -> timedelta:
    """Read an ISO-8601 duration such as `PT0.25S`, `PT3.5H` or `P6DT4H`.

    Raises ValueError for anything else, also for weeks, months and years, whose length is not fixed.
    """
    match = _ISO.match(text.strip())
    if match is None or text.strip()[-1] in "PpTt":
        raise ValueError(
            f"{text!r} is not an ISO-8601 duration of days, hours, minutes and seconds, e.g. PT1M30S"
        )
    parts = {
        name: float(value.replace(",", "."))
        for name, value in match.groupdict().items()
        if value is not None and name != "sign"
    }
    try:
        duration = timedelta(**parts)
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    return -duration if match["sign"] == "-" else duration


def format_duration(duration: timedelta) -> str:
    """Write a duration as ISO-8601 in hours, minutes and seconds, as Java does: `PT26H0.5S`, `PT0S`."""
    microseconds = duration // timedelta(microseconds=1)
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{hours}H" if hours else ""
    text += f"{sign}{minutes}M" if minutes else ""
    if seconds or fraction or not text:
        decimals = f".{fraction:06d}".rstrip("0") if fraction else ""
        text += f"{sign}{seconds}{decimals}S"
    return f"PT{text}"


def _validate_signed(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("duration", "must be an ISO-8601 duration such as PT1M30S")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None


def _validate(value: Any) -> Any:
    duration = _validate_signed(value)
    if duration < timedelta(0):
        raise PydanticCustomError("duration", "must not be negative")
    return duration


# How long something takes: nothing, or longer.
Duration = Annotated[
    timedelta, BeforeValidator(_validate), PlainSerializer(format_duration, when_used="json")
]

# By how much something is moved: negative when it is earlier.
Shift = Annotated[
    timedelta, BeforeValidator(_validate_signed), PlainSerializer(format_duration, when_used="json")
]


def _validate_template(value: Any) -> Any:
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return value
    return _validate(value)


def _write_template(value: timedelta | str) -> str:
    return value if isinstance(value, str) else format_duration(value)


# A duration, or a template that gives one when it is rendered.
DurationTemplate = Annotated[
    timedelta | str, BeforeValidator(_validate_template), PlainSerializer(_write_template, when_used="json")
]
