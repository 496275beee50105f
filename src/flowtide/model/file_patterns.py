"""Patterns of file names in flows (NSF-04, S32): a pattern comes in, what tells whether a path fits goes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

_LONGEST: Final = 1_000  # characters; a longer one is a mistake, and slow

Fits = Callable[[str], bool]


def file_pattern(pattern: str) -> Fits:
    """Whether a path, given with its leading slash, fits.

    A pattern that begins with `/` stands for the root; any other one may begin in every folder, as if `**/` stood
    before it.  `glob:` and `regex:` say what the rest is, and then it is taken as it stands, against the path with or
    without its leading slash.  Raises ValueError for what cannot be read.
    """
    if not pattern or len(pattern) > _LONGEST or "\0" in pattern:
        raise ValueError(f"{pattern[:100]!r} is no pattern of file names")
    kind, colon, rest = pattern.partition(":")
    if colon and kind == "regex":
        expression = _compiled(rest, pattern)
    elif colon and kind == "glob":
        expression = _compiled(glob_expression(rest), pattern)
    elif pattern.startswith("/"):
        return _compiled(glob_expression(pattern), pattern).fullmatch_path
    else:
        return _compiled("/(?:.*/)?" + glob_expression(pattern.removeprefix("./")), pattern).fullmatch_path

    def fits(path: str) -> bool:
        return expression.fullmatch_path(path) or expression.fullmatch_path(path.removeprefix("/"))

    return fits


def any_pattern(patterns: Iterable[str]) -> Fits:
    """Whether a path fits one of the patterns.  Raises ValueError."""
    tests = [file_pattern(pattern) for pattern in patterns]
    return lambda path: any(test(path) for test in tests)


def glob_expression(pattern: str) -> str:
    """A glob as a regular expression: `*` within a folder, `**` across folders, `?`, `[...]` and `{a,b}`."""
    parts: list[str] = []
    position, depth = 0, 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if pattern.startswith("*", position):
                position += 1
                if pattern.startswith("/", position):
                    position += 1
                    parts.append("(?:.*/)?")
                else:
                    parts.append(".*")
            else:
                parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[" and (end := pattern.find("]", position + 1)) > 0:
            inner = pattern[position:end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]")
            position = end + 1
        elif character == "{":
            depth += 1
            parts.append("(?:")
        elif character == "}" and depth:
            depth -= 1
            parts.append(")")
        elif character == "," and depth:
            parts.append("|")
        else:
            parts.append(re.escape(character))
    return "".join(parts) + ")" * depth


class _Expression:
    """A compiled expression over paths."""

    __slots__ = ("_expression",)

    def __init__(self, expression: re.Pattern[str]) -> None:
        self._expression = expression

    def fullmatch_path(self, path: str) -> bool:
        return self._expression.fullmatch(path) is not None


def _compiled(expression: str, pattern: str) -> _Expression:
    try:
        return _Expression(re.compile(expression, re.DOTALL))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern {pattern[:100]!r} cannot be read: {error}") from None
