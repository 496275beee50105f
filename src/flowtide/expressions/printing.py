"""How values become text: Java's forms of numbers and dates, containers as JSON, null as nothing (C R06)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from flowtide.expressions.faults import Fault

# What upstream would call the value's class; also the names used in error messages.
_JAVA_INT_MAX: Final = 2**31


class SingleFloat(float):
    """A number that upstream holds in 32 bits (the `number` filter); only its class name differs."""

    __slots__ = ()


class LongInteger(int):
    """A number that was asked for as LONG or BIGINTEGER; only its class name differs."""

    java_name = "java.lang.Long"


class BigInteger(LongInteger):
    """A number that was asked for as BIGINTEGER."""

    java_name = "java.math.BigInteger"


def text(value: Any) -> str:
    """The text of a value in rendered output; raises Fault for what has no text form."""
    if value.__class__ is str:
        return value
    if value.__class__ is float and 1e-3 <= value < 1e7:
        return float.__repr__(value)
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError:
            raise Fault("the number has too many digits to print") from None
    if isinstance(value, float):
        return java_double(value)
    if isinstance(value, str):
        return "".join((value,))
    if isinstance(value, Mapping | Sequence | AbstractSet) and not isinstance(
        value, bytes | bytearray | memoryview
    ):
        return to_json(value)
    return _scalar(value)


def to_json(value: Any) -> str:
    """Compact JSON, keys in order, dates as ISO text; raises Fault for what JSON cannot hold."""
    try:
        return _encode(value)
    except (TypeError, ValueError) as error:
        raise Fault(f"cannot write the value as JSON: {error}") from None
    except RecursionError:
        raise Fault("the value is nested too deeply to write it as JSON") from None


def java_double(value: float) -> str:
    """`Double.toString`: plain from 0.001 to below ten million, else with an exponent."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return float.__repr__(value)
    sign, digits, exponent = Decimal(float.__repr__(value)).as_tuple()
    assert isinstance(exponent, int)
    figures = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) - 1 + exponent
    return f"{'-' if sign else ''}{figures[0]}.{figures[1:] or '0'}E{power}"


def java_datetime(value: datetime) -> str:
    """`ZonedDateTime.toString` without the zone's name: zero seconds are dropped."""
    result = f"{value.year:04d}-{value.month:02d}-{value.day:02d}T{_java_time(value)}"
    return result + offset_text(value)


def offset_text(value: datetime) -> str:
    """`Z`, `+02:00` or nothing for a local date."""
    offset = value.utcoffset()
    if offset is None:
        return ""
    if not offset:
        return "Z"
    seconds = int(offset.total_seconds())
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{sign}{hours:02d}:{minutes:02d}" + (f":{seconds:02d}" if seconds else "")


def _java_time(value: datetime | time) -> str:
    result = f"{value.hour:02d}:{value.minute:02d}"
    if value.second or value.microsecond:
        result += f":{value.second:02d}"
        if value.microsecond:
            fraction = f"{value.microsecond:06d}"
            result += "." + (fraction[:3] if fraction.endswith("000") else fraction)
    return result


def java_duration(value: timedelta) -> str:
    """`Duration.toString`: hours, minutes and seconds, never days."""
    total = value // timedelta(microseconds=1)
    if not total:
        return "PT0S"
    sign = "-" if total < 0 else ""
    seconds, micros = divmod(abs(total), 1_000_000)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    parts = [f"{sign}{hours}H" if hours else "", f"{sign}{minutes}M" if minutes else ""]
    if seconds or micros:
        fraction = f".{micros:06d}".rstrip("0") if micros else ""
        parts.append(f"{sign}{seconds}{fraction}S")
    return "PT" + "".join(parts)


def java_decimal(value: Decimal) -> str:
    """`BigDecimal.toString`, which writes exponents as Python does."""
    return str(value)


def class_name(value: Any) -> str:
    """The Java class that upstream would hold the value in (C F03)."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "java.lang.Boolean"
    if isinstance(value, LongInteger):
        return value.java_name
    if isinstance(value, int):
        if -_JAVA_INT_MAX <= value < _JAVA_INT_MAX:
            return "java.lang.Integer"
        return "java.lang.Long" if -(2**63) <= value < 2**63 else "java.math.BigInteger"
    if isinstance(value, SingleFloat):
        return "java.lang.Float"
    for kind, name in _CLASS_NAMES:
        if isinstance(value, kind):
            return name
    return "java.lang.Object"


_CLASS_NAMES: Final[tuple[tuple[type, str], ...]] = (
    (float, "java.lang.Double"),
    (str, "java.lang.String"),
    (Decimal, "java.math.BigDecimal"),
    (datetime, "java.time.ZonedDateTime"),
    (date, "java.time.LocalDate"),
    (time, "java.time.LocalTime"),
    (timedelta, "java.time.Duration"),
    (bytes, "[B"),
    (Mapping, "java.util.LinkedHashMap"),
    (AbstractSet, "java.util.LinkedHashSet"),
    (Sequence, "java.util.ArrayList"),
)


def kind(value: Any) -> str:
    """A word for error messages: null, string, number, boolean, map, list or the type's name."""
    if value is None:
        return "null"
    for types, word in (
        (bool, "boolean"),
        (str, "string"),
        ((int, float, Decimal), "number"),
        (Mapping, "map"),
        ((datetime, date), "date"),
        ((Sequence, AbstractSet), "list"),
    ):
        if isinstance(value, types):
            return word
    return type(value).__name__


def _scalar(value: Any) -> str:
    if isinstance(value, datetime):
        return java_datetime(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return _java_time(value)
    if isinstance(value, timedelta):
        return java_duration(value)
    if isinstance(value, Decimal):
        return java_decimal(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return text(value.value)
    raise Fault(f"a value of type {type(value).__name__} cannot be printed")


def _json_default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 10**30 else float(value)
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    try:
        return _scalar(value)
    except Fault as fault:
        raise TypeError(fault.message) from None


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_json_default).encode
