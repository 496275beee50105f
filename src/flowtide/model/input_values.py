"""Values of inputs: what was given in, a typed value that JSON can carry out (page 465, INP-03 to INP-15).

Every reader raises ValueError with the cause, in words for the person who gave the value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flowtide.model.documents import DocumentError, DocumentLimits, read_document
from flowtide.model.durations import format_duration, parse_duration

_LARGEST_INTEGER = 2**63 - 1  # what a record can carry
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+\Z")
_URI = re.compile(r"(?:[^\x00-\x20\x7f<>\"{}|\\^`%]|%[0-9A-Fa-f]{2})+\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


def kind_of(value: Any) -> str:
    """What sort of value it is, in words."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    if isinstance(value, Mapping):
        return "a map"
    return names.get(type(value), "a list" if isinstance(value, Sequence) else type(value).__name__)


def as_text(value: Any) -> str:
    """Any value as text; structures as JSON, dates as ISO-8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return moment_text(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, int | float):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError):
        raise ValueError(f"it must be a text, and not {kind_of(value)}") from None


def as_integer(value: Any) -> int:
    """An integer of 64 bits."""
    number: int | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = int(value) if isinstance(value, int) or value.is_integer() else None
    elif isinstance(value, str) and len(value) < 100 and _INTEGER.match(value.strip()):
        number = int(value)
    if number is None:
        raise ValueError(f"`{excerpt(value)}` is not an integer")
    if not -_LARGEST_INTEGER <= number <= _LARGEST_INTEGER:
        raise ValueError("it is beyond what 64 bits can hold; use a STRING")
    return number


def as_float(value: Any) -> float:
    """A finite number."""
    number: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    elif isinstance(value, str) and len(value) < 400:
        try:
            number = float(value)
        except ValueError:
            number = None
    if number is None or not math.isfinite(number):
        raise ValueError(f"`{excerpt(value)}` is not a finite number")
    return number


def as_boolean(value: Any) -> bool:
    """True or false, also as words."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise ValueError(f"`{excerpt(value)}` is neither true nor false")


def as_moment(value: Any) -> datetime:
    """A moment in UTC; it needs a zone."""
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError(
            f"`{excerpt(value)}` is not an ISO-8601 date and time with a zone, e.g. 2042-04-02T04:20:42.000Z"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"`{excerpt(value)}` is outside the years 1 to 9999") from None


def as_day(value: Any) -> date:
    """A date."""
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise ValueError(f"`{excerpt(value)}` is not an ISO-8601 date, e.g. 2042-12-03") from None


def as_time(value: Any) -> time:
    """A time of day without a zone."""
    if isinstance(value, time) and value.tzinfo is None:
        return value
    try:
        clock = time.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        clock = None
    if clock is None or clock.tzinfo is not None:
        raise ValueError(f"`{excerpt(value)}` is not an ISO-8601 time without a zone, e.g. 10:15:30")
    return clock


def as_duration(value: Any) -> timedelta:
    """An ISO-8601 duration."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(f"`{excerpt(value)}` is not an ISO-8601 duration, e.g. PT5M6S")
    return parse_duration(value)


def as_uri(value: Any) -> str:
    """A URI or a relative reference, kept as it is."""
    if isinstance(value, str) and len(value) < 100_000 and _URI.match(value):
        head = re.split(r"[/?#]", value, maxsplit=1)[0]
        if ":" not in head or _SCHEME.match(head.partition(":")[0]):
            return value
    raise ValueError(f"`{excerpt(value)}` is not a URI")


def as_email(value: Any) -> str:
    """An e-mail address."""
    if isinstance(value, str) and len(value) <= 320 and _EMAIL.match(value):
        return value
    raise ValueError(f"`{excerpt(value)}` is not an e-mail address")


def as_json(value: Any) -> Any:
    """The value that a JSON text holds; anything but a text is the value already."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ValueError("it is not JSON that can be read: it is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it is not JSON: {name} is not a JSON value")


def as_yaml(value: Any, limits: DocumentLimits | None) -> Any:
    """The value that a YAML text holds; anything but a text is the value already."""
    if not isinstance(value, str):
        return value
    try:
        return read_document(value, limits).value
    except DocumentError as error:
        raise ValueError(f"it is not YAML: {error}") from None


def as_list(value: Any, limits: DocumentLimits | None, demand: str) -> list[Any]:
    """A list, also as JSON or YAML; `demand` is the error for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            try:
                value = read_document(value, limits).value
            except DocumentError:
                raise ValueError(demand) from None
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise ValueError(f"{demand}, and not {kind_of(value)}")
    return list(value)


def excerpt(value: Any) -> str:
    """The beginning of a value, for messages."""
    try:
        text = as_text(value)
    except ValueError:
        text = str(value)
    return text if len(text) <= 80 else text[:80] + "…"


def moment_text(moment: datetime) -> str:
    """As Java writes an Instant: fractions in groups of three digits, none when there is no fraction."""
    moment = moment.astimezone(UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    if moment.microsecond:
        fraction = f"{moment.microsecond:06d}"
        text += f".{fraction[:3]}" if fraction.endswith("000") else f".{fraction}"
    return f"{text}Z"


# How the items of an ARRAY are read.
ITEM_READERS: dict[str, Callable[[Any, DocumentLimits | None], Any]] = {
    "STRING": lambda value, limits: as_text(value),
    "INT": lambda value, limits: as_integer(value),
    "FLOAT": lambda value, limits: as_float(value),
    "BOOLEAN": lambda value, limits: as_boolean(value),
    "BOOL": lambda value, limits: as_boolean(value),
    "DATETIME": lambda value, limits: moment_text(as_moment(value)),
    "DATE": lambda value, limits: as_day(value).isoformat(),
    "TIME": lambda value, limits: as_time(value).isoformat(),
    "DURATION": lambda value, limits: format_duration(as_duration(value)),
    "JSON": lambda value, limits: as_json(value),
    "YAML": as_yaml,
    "URI": lambda value, limits: as_uri(value),
    "EMAIL": lambda value, limits: as_email(value),
}
