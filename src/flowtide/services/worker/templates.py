"""Rendering with types, and which templates take microseconds, so that they may be rendered on the event loop.

Cheap is what only names variables, compares, and calls a few functions of linear cost: no loops, ranges, patterns,
recursion or anything with input or output.  Whatever is not recognised is not cheap; it is rendered in a thread.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from flowtide.expressions import Scope, render_value

_LONGEST_CHARACTERS: Final = 16 * 1024
_DEEPEST: Final = 64
_TOKEN: Final = re.compile(
    r"""\s+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\d+(?:\.\d+)?|(?P<call>[A-Za-z_]\w*)\s*\(|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<end>-?\}\})|\?\?|[=!<>]=|\.(?!\.)|[-+*/%~?:,<>|)\[\](]""",
    re.DOTALL,
)
_CALLS: Final = frozenset(
    [
        "abs",
        "capitalize",
        "date",
        "default",
        "first",
        "isoDate",
        "json",
        "last",
        "length",
        "lower",
        "now",
        "number",
        "round",
        "string",
        "timestamp",
        "timestampMilli",
        "title",
        "toJson",
        "trim",
        "upper",
    ]
)
_NOT_NAMES: Final = frozenset({"matches"})


def render_typed(value: Any, scope: Scope) -> Any:
    """Render a structure: a text that is one expression becomes its value, any other text stays text."""
    if isinstance(value, str):
        text = value.strip()
        single = text.startswith("{{") and text.endswith("}}") and text.count("{{") == 1
        return render_value(value, scope, typed=single)
    if isinstance(value, dict):
        return {render_value(key, scope): render_typed(child, scope) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [render_typed(child, scope) for child in value]
    return value


def is_cheap(value: Any) -> bool:
    """Whether every template inside `value` is cheap."""
    return _is_cheap(value, 0)


def _is_cheap(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return ("{{" not in value and "{%" not in value) or _is_cheap_text(value)
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return all(_is_cheap(key, depth + 1) and _is_cheap(child, depth + 1) for key, child in value.items())
    if isinstance(value, list):
        return all(_is_cheap(child, depth + 1) for child in value)
    return True


@lru_cache(maxsize=4096)
def _is_cheap_text(text: str) -> bool:
    if len(text) > _LONGEST_CHARACTERS or "{%" in text or "{#" in text:
        return False
    position = 0
    while (position := text.find("{{", position)) >= 0:
        position += 3 if text.startswith("{{-", position) else 2
        while True:
            token = _TOKEN.match(text, position)
            if token is None:
                return False
            position = token.end()
            if token["end"] is not None:
                break
            if token["call"] is not None and token["call"] not in _CALLS:
                return False
            if token["name"] in _NOT_NAMES:
                return False
    return True
