"""Values of the key-value store: a type and a value in, what is stored and read back out (KVS-02).

Dates and durations are kept as the ISO texts that filters read; everything else is plain JSON.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from typing import Any, Final

from flowtide.errors import ValueInvalid
from flowtide.model.durations import format_duration
from flowtide.model.input_values import (
    as_boolean,
    as_day,
    as_duration,
    as_float,
    as_integer,
    as_json,
    as_moment,
    as_text,
)
from flowtide.model.platform import ValueType
from flowtide.model.records import format_date

_DURATION: Final = re.compile(r"P(?=.)(?:\d+D)?(?:T(?=.)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?")


def type_of(value: Any) -> ValueType:
    """The type of a value that came without one."""
    if isinstance(value, str):
        return ValueType.STRING
    if isinstance(value, bool):
        return ValueType.BOOLEAN
    if isinstance(value, int | float):
        return ValueType.NUMBER
    if isinstance(value, datetime):
        return ValueType.DATETIME
    if isinstance(value, date):
        return ValueType.DATE
    return ValueType.DURATION if isinstance(value, timedelta) else ValueType.JSON


def stored_value(value: Any, type_: ValueType) -> Any:
    """A value as JSON of its type.  Raises ValueInvalid when it is not of the type."""
    try:
        stored = _READERS[type_](value)
        json.dumps(stored, allow_nan=False)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueInvalid(f"the value is not of the type {type_}: {error}") from None
    return stored


def typed_text(text: str) -> tuple[ValueType, Any]:
    """The type and value of a text as clients send it (KVS-07).

    ISO dates and durations are what they look like, JSON is read, and whatever is none of these is a text.
    """
    plain = text.strip()
    for pattern, type_ in (
        (_DURATION, ValueType.DURATION),
        (_DAY, ValueType.DATE),
        (_MOMENT, ValueType.DATETIME),
    ):
        if pattern.fullmatch(plain):
            try:
                return type_, stored_value(plain, type_)
            except ValueInvalid:
                return ValueType.STRING, text
    try:
        value = json.loads(plain, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return ValueType.STRING, text
    return type_of(value), value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _number(value: Any) -> int | float:
    try:
        return as_integer(value)
    except ValueError:
        return as_float(value)


_READERS: Final = {
    ValueType.STRING: as_text,
    ValueType.NUMBER: _number,
    ValueType.BOOLEAN: as_boolean,
    ValueType.DATETIME: lambda value: format_date(value if isinstance(value, datetime) else as_moment(value)),
    ValueType.DATE: lambda value: as_day(value).isoformat(),
    ValueType.DURATION: lambda value: format_duration(
        value if isinstance(value, timedelta) else as_duration(value)
    ),
    ValueType.JSON: as_json,
}
