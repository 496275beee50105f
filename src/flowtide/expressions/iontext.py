"""Amazon Ion's text form, as plain values: symbols are strings, timestamps stay text (C F57, N16)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import text, to_json

_SYMBOL = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SKIP = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(
    r"[-+]?(?:inf\b|0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eEdD][-+]?\d{1,4})?)"
)
_TIMESTAMP = re.compile(
    r"\d{4}-\d{2}(?:-\d{2})?(?:T(?:\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[-+]\d{2}:\d{2}))?)?|\d{4}T"
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(\r?\n)|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_KEYWORDS: Final[dict[str, Any]] = {"true": True, "false": False, "nan": float("nan")}
_MAX_DEPTH: Final = 60


def to_ion(value: Any, depth: int = 0) -> str:
    """Compact Ion text."""
    if depth > _MAX_DEPTH:
        raise Fault("the value is nested too deeply to write it as Ion")
    if value is None:
        return "null"
    if isinstance(value, bool | int):
        return text(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "nan" if value != value else "+inf" if value > 0 else "-inf"
        mantissa = repr(value)
        return mantissa if "e" in mantissa else mantissa + "e0"
    if isinstance(value, Decimal):
        return str(value).replace("E", "d").replace("e", "d") + (
            "" if "." in str(value) or "E" in str(value) else "."
        )
    if isinstance(value, str):
        return to_json(str(value))
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        pairs = (f"{_field(text(key))}:{to_ion(item, depth + 1)}" for key, item in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
        return "[" + ",".join(to_ion(item, depth + 1) for item in value) + "]"
    return to_json(text(value))


def _field(name: str) -> str:
    if _SYMBOL.fullmatch(name) and name not in ("null", "true", "false", "nan"):
        return name
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def from_ion(source: str, *, all_rows: bool = False) -> Any:
    """The first value of an Ion text, or a list of all of them; raises Fault."""
    reader = _Reader(source)
    try:
        values: list[Any] = []
        reader.skip()
        while reader.position < len(source):
            values.append(reader.value(0))
            if not all_rows:
                break
            reader.skip()
        if all_rows:
            return values
        return values[0] if values else None
    except (ValueError, InvalidOperation, IndexError, OverflowError):
        raise Fault(f"Invalid ion at offset {reader.position}") from None


def parse_ion(text: str) -> Any:
    """The first value of an Ion text, of which JSON is a part.  Raises ValueError."""
    try:
        return from_ion(text)
    except Fault as fault:
        raise ValueError(str(fault)) from None


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0

    def skip(self) -> None:
        match = _SKIP.match(self.source, self.position)
        assert match is not None
        self.position = match.end()

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise Fault("the ion is nested too deeply")
        self.skip()
        source = self.source
        char = source[self.position]
        if source.startswith("{{", self.position):
            return self.lob()
        if char == "{":
            return self.struct(depth)
        if char in "[(":
            return self.sequence("]" if char == "[" else ")", depth)
        if char == '"':
            return self.quoted('"')
        if source.startswith("'''", self.position):
            parts = []
            while source.startswith("'''", self.position):
                end = source.index("'''", self.position + 3)
                parts.append(_unescape(source[self.position + 3 : end]))
                self.position = end + 3
                self.skip()
            return "".join(parts)
        if char == "'":
            return self.annotated(self.quoted("'"), depth)
        timestamp = _TIMESTAMP.match(source, self.position)
        if timestamp and len(timestamp.group()) > 4:
            self.position = timestamp.end()
            return timestamp.group()
        number = _NUMBER.match(source, self.position)
        if number:
            self.position = number.end()
            return _number(number.group().replace("_", ""))
        symbol = _SYMBOL.match(source, self.position)
        if symbol is None:
            raise ValueError
        self.position = symbol.end()
        name = symbol.group()
        if name == "null":
            if source.startswith(".", self.position):
                typed = _SYMBOL.match(source, self.position + 1)
                if typed is None:
                    raise ValueError
                self.position = typed.end()
            return None
        if name in _KEYWORDS:
            return _KEYWORDS[name]
        return self.annotated(name, depth)

    def annotated(self, name: str, depth: int) -> Any:
        """A symbol, or the value that it annotates."""
        self.skip()
        if self.source.startswith("::", self.position):
            self.position += 2
            return self.value(depth + 1)
        return name

    def quoted(self, quote: str) -> str:
        start = self.position + 1
        index = start
        while self.source[index] != quote:
            index += 2 if self.source[index] == "\\" else 1
        self.position = index + 1
        return _unescape(self.source[start:index])

    def struct(self, depth: int) -> dict[str, Any]:
        self.position += 1
        result: dict[str, Any] = {}
        while True:
            self.skip()
            char = self.source[self.position]
            if char == "}":
                self.position += 1
                return result
            if char in "'\"" and not self.source.startswith("'''", self.position):
                name = self.quoted(char)
            else:
                symbol = _SYMBOL.match(self.source, self.position)
                if symbol is None:
                    raise ValueError
                name = symbol.group()
                self.position = symbol.end()
            self.skip()
            if self.source[self.position] != ":":
                raise ValueError
            self.position += 1
            result[name] = self.value(depth + 1)
            self.separator("}")

    def sequence(self, end: str, depth: int) -> list[Any]:
        self.position += 1
        items: list[Any] = []
        while True:
            self.skip()
            if self.source[self.position] == end:
                self.position += 1
                return items
            items.append(self.value(depth + 1))
            if end == "]":
                self.separator("]")

    def separator(self, end: str) -> None:
        self.skip()
        if self.source[self.position] == ",":
            self.position += 1
        elif self.source[self.position] != end:
            raise ValueError

    def lob(self) -> str:
        end = self.source.index("}}", self.position)
        content = self.source[self.position + 2 : end].strip()
        self.position = end + 2
        if content.startswith('"'):
            return _unescape(content[1:-1])
        return base64.b64encode(base64.b64decode(content)).decode()


def _number(token: str) -> Any:
    if token in ("+inf", "-inf"):
        return float(token)
    lowered = token.lower()
    if "x" in lowered or "b" in lowered:
        return int(lowered, 0)
    if "e" in lowered:
        return float(lowered)
    if "d" in lowered or "." in lowered:
        return Decimal(lowered.replace("d", "e"))
    return int(token)


def _unescape(value: str) -> str:
    def one(match: re.Match[str]) -> str:
        short, medium, long, newline, char = match.groups()
        if short or medium or long:
            return chr(int(short or medium or long, 16))
        return "" if newline else _ESCAPES.get(char, char)

    return _ESCAPE.sub(one, value)


def parse_json(source: str) -> Any:
    """The value of a JSON text; raises Fault with the place but without the text, which may be a secret."""
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise Fault(f"Invalid json: {error.msg} at line {error.lineno}, column {error.colno} of it") from None
    except (ValueError, RecursionError):
        raise Fault("Invalid json: nested too deeply or a number that is too long") from None
