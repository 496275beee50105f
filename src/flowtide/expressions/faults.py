"""The light exceptions used between lexer, compiler and runtime; a Template turns them into ExpressionErrors.

They carry an offset instead of line and column, because `??` throws many of them away.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from flowtide.errors import (
    ExpressionError,
    ExpressionSyntaxError,
    ExpressionTimeout,
    ExpressionUndefinedError,
)

_EXCERPT_CHARACTERS: Final = 200
_MOST_NAMES: Final = 500  # that are compared for a hint
_HYPHENATED = re.compile(r"((?:[^\W\d]\w*)(?:\.\w+)*)\.([^\W\d]\w*(?:-\w+)+)")


class Fault(Exception):
    """An evaluation failed; `position` is None until the compiled code that failed is known."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class Undefined(Fault):
    """A name, key or index does not exist; swallowed by `??`, `???`, `is defined` and `default`."""

    def __init__(
        self, name: object, position: int | None = None, known: Mapping[Any, object] | None = None
    ) -> None:
        Exception.__init__(self)
        self.name = name
        self.position = position
        self.known = known  # where it was looked for

    @property
    def near(self) -> str | None:
        """A name that is there and may have been meant."""
        if self.known is None:
            return None
        names = [each for each in islice(self.known, _MOST_NAMES) if isinstance(each, str)]
        return next(iter(difflib.get_close_matches(self.text, names, 1)), None)

    @property
    def text(self) -> str:
        """The part that was not found, shortened."""
        text = self.name if isinstance(self.name, str) else str(self.name)
        return text if len(text) <= _EXCERPT_CHARACTERS else text[:_EXCERPT_CHARACTERS] + "..."


class TooSlow(Fault):
    """The time that a rendering may take is over."""


class SyntaxFault(Fault):
    """The text is not a template."""


def located(fault: Fault, source: str) -> ExpressionError:
    """The public error for a fault: message, place, the line with a mark, and a hint if one is known."""
    position = min(fault.position or 0, len(source))
    line = source.count("\n", 0, position) + 1
    start = source.rfind("\n", 0, position) + 1
    column = position - start + 1
    if isinstance(fault, Undefined):
        excerpt = source.strip()
        if len(excerpt) > _EXCERPT_CHARACTERS:
            excerpt = excerpt[:_EXCERPT_CHARACTERS] + "..."
        message = f"Unable to find `{fault.text}` used in the expression `{excerpt}`"
    else:
        message = fault.message
    hint, mark = _hint(source, start, position), _mark(source, start, position)
    if not hint and isinstance(fault, Undefined) and fault.near is not None:
        hint = f"; did you mean `{fault.near}`?"
    message = f"{message} at line {line}, column {column}{hint}{mark}"
    if isinstance(fault, Undefined):
        return ExpressionUndefinedError(message, name=fault.text, line=line, column=column, source=source)
    if isinstance(fault, SyntaxFault):
        return ExpressionSyntaxError(message, line=line, column=column, source=source)
    if isinstance(fault, TooSlow):
        return ExpressionTimeout(message, line=line, column=column, source=source)
    return ExpressionError(message, line=line, column=column, source=source)


def _hint(source: str, start: int, position: int) -> str:
    """`outputs.a-b` means a subtraction; whoever wrote it nearly always meant a key."""
    stop = source.find("\n", position)
    begin = max(start, position - 200)
    line = source[begin : min(stop if stop >= 0 else len(source), position + 200)]
    for match in _HYPHENATED.finditer(line):
        if match.start() + begin <= position <= match.end() + begin:
            return f"; a name with a hyphen needs brackets: use {match.group(1)}['{match.group(2)}']"
    return ""


def _mark(source: str, start: int, position: int) -> str:
    """The line around the place and a caret under it."""
    stop = source.find("\n", position)
    line = source[start : stop if stop >= 0 else len(source)]
    column = position - start
    if column > 60:
        line = line[column - 60 :]
        column = 60
    return f"\n  {line[:120]}\n  {' ' * column}^"
