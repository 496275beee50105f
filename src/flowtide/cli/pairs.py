"""Pairs of a namespace as people write them: a text and its type in, what is sent to a server out (CLI-21, CTL-4)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click

from flowtide.cli.client import Client

TYPES = ("STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON")

_LONG = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_SHORT = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def duration(text: str) -> str:
    """A duration in ISO 8601 from one as people write it: 90s, 1d, 2h30m, or P1D as it is.

    Raises click.BadParameter.
    """
    if text.upper().startswith("P"):
        return text.upper()
    days, hours, minutes, seconds_ = _parts(_SHORT, text.strip().lower(), text)
    date = f"{days}D" if days else ""
    time = "".join(f"{each}{unit}" for each, unit in ((hours, "H"), (minutes, "M"), (seconds_, "S")) if each)
    return "P" + date + (f"T{time}" if time else "")


def seconds(text: str) -> float:
    """How long a duration is that people write as 90s, 2h30m or PT5M.  Raises click.BadParameter."""
    parts = _parts(_LONG, duration(text), text)
    return sum(float(each or 0) * length for each, length in zip(parts, (86_400, 3_600, 60, 1), strict=True))


def _parts(pattern: re.Pattern[str], value: str, text: str) -> tuple[str | None, ...]:
    found = pattern.fullmatch(value)
    if found is None or not any(found.groups()):
        raise click.BadParameter(f"`{text}` is no duration; write it as 30m, 1d, 2h30m or P1D")
    return found.groups()


def text_of(value: str | None, file: Path | None) -> str:
    """The text of a pair from the one of both that is given.  Raises click.UsageError for none and for both."""
    if value is not None and file is None:
        return value
    if file is not None and value is None:
        return file.read_text(encoding="utf-8")
    raise click.UsageError("give either a value or --file-value")


def body_of(value: str, kind: str | None) -> str:
    """The body whose type the server finds to be `kind`; without one it finds the type of the text itself.

    Raises click.BadParameter for a text that is no value of the type.
    """
    match (kind or "").upper():
        case "":
            return value if value.strip() else json.dumps(value)
        case "STRING":
            return json.dumps(value, ensure_ascii=False)
        case "DURATION":
            return duration(value)
        case "DATE" | "DATETIME":
            return _checked(value, kind, datetime.fromisoformat, object)
        case "BOOLEAN":
            return _checked(value.lower(), kind, json.loads, bool)
        case "NUMBER":
            return _checked(value, kind, json.loads, int, float)
        case _:
            return _checked(value, kind, json.loads, object)


def _checked(value: str, kind: str | None, read: Callable[[str], object], *types: type) -> str:
    try:
        found = read(value)
    except ValueError:
        raise click.BadParameter(f"`{value}` is no {kind}") from None
    if not isinstance(found, types) or (isinstance(found, bool) and int in types):
        raise click.BadParameter(f"`{value}` is no {kind}")
    return value


def put_pair(client: Client, namespace: str, key: str, body: str, *, expiration: str | None) -> None:
    """Write a pair; without `expiration` it stays.  Raises ServerRefused."""
    headers = {"ttl": duration(expiration)} if expiration else {}
    path = client.path("namespaces", namespace, "kv", key)
    client.send("PUT", path, body=body.encode(), content_type="text/plain", headers=headers)
