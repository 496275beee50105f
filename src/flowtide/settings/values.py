"""Reading one value: what a file or a variable gives goes in, a typed value comes out; no state."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml

from flowtide.model.durations import format_duration, parse_duration

_SHORT_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def read_duration(value: object) -> timedelta:
    """A duration in ISO-8601 (`PT5S`) or short (`25ms`, `5s`, `1h30m`, `7d`); CFG-11. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if text[:1] in ("P", "p", "-", "+"):
        duration = parse_duration(text)
        if duration < timedelta(0):
            raise ValueError("a duration is not negative")
        return duration
    seconds, position = 0.0, 0
    while match := _SHORT_DURATION.match(text, position):
        seconds += float(match[1]) * _SECONDS[match[2].lower()]
        position = match.end()
    if not text or position != len(text) or isinstance(value, bool):
        raise ValueError("a duration with its unit, such as 5s, 250ms, 1h30m or PT5S")
    return timedelta(seconds=seconds)


def read_size(value: object) -> int:
    """A number of bytes, plain or with a unit (`5MB`, `10GB`, powers of 1024; CFG-11). Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size in bytes, such as 1048576, 5MB or 10GB")
    return int(float(match[1]) * _FACTORS[match[2].upper()])


def read_boolean(value: object) -> bool:
    """A truth value as YAML or an environment variable writes it. Raises ValueError."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("true or false")


def read_text(value: object) -> str:
    """A scalar as text, truth values in lower case as Java's programs write them. Raises ValueError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("a text")


def _read_number(value: Any, kind: type[int | float]) -> int | float:
    expected = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
        raise ValueError(expected)
    try:
        return kind(value.strip().replace("_", "") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        raise ValueError(expected) from None


def _read_list(value: object, item: Any, unit: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith(("[", "- ", "{")):
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                raise ValueError("a list in YAML, or values with commas between them") from None
        elif get_origin(item) is None:
            # one block of text is one line list of its own; commas separate values of environment variables
            value = [text] if "\n" in text else [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("a list")
    return tuple(read_value(part, item, unit) for part in value)


def read_value(value: Any, annotation: Any, unit: str = "") -> Any:
    """The value as the annotation wants it. Raises ValueError whose text is what was expected."""
    if get_origin(annotation) in (Union, types.UnionType):
        if value is None or value == "":
            return None
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if annotation is Any:
        return value
    if unit == "bytes":
        return read_size(value)
    if annotation is timedelta:
        return read_duration(value)
    if annotation is bool:
        return read_boolean(value)
    if annotation is int or annotation is float:
        return _read_number(value, annotation)
    if annotation is str:
        return read_text(value)
    if annotation is Path:
        return Path(read_text(value))
    origin = get_origin(annotation)
    if origin is tuple:
        return _read_list(value, get_args(annotation)[0], unit)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ValueError("a map of names and values")
        item = get_args(annotation)[1]
        return {str(name): read_value(part, item, unit) for name, part in value.items()}
    assert isinstance(annotation, type), f"no reader for {annotation}"
    assert issubclass(annotation, StrEnum), f"no reader for {annotation}"
    text = str(value).strip().lower().replace("-", "_")
    for member in annotation:
        if member.value.lower() == text:
            return member
    raise ValueError("one of " + ", ".join(member.value for member in annotation))


def show_value(value: Any, unit: str = "") -> str:
    """A value as a person would write it in a file of settings."""
    if value is None:
        return ""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(show_value(part, unit) for part in value)
    if unit == "bytes" and isinstance(value, int):
        for name in ("G", "M", "K"):
            if value and value % _FACTORS[name] == 0:
                return f"{value // _FACTORS[name]}{name}B"
    return str(value)
