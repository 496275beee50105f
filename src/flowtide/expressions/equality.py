"""When two values are the same, and what counts as a number."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

from flowtide.expressions.faults import Fault


def is_number(value: Any) -> bool:
    """True for numbers; booleans are none."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """`==`: numbers by value across types, never a boolean or a string with a number, enums by name."""
    kind_ = left.__class__
    if kind_ is right.__class__ and (kind_ is str or kind_ is int):
        return bool(left == right)
    if isinstance(left, Enum) and not isinstance(left, str):
        left = left.value
    if isinstance(right, Enum) and not isinstance(right, str):
        right = right.value
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    try:
        return bool(left == right)
    except (RecursionError, TypeError, ValueError):
        raise Fault("the values are nested too deeply to compare them") from None
