"""The operators of the language: conditions, comparisons, arithmetic, text and fallbacks (C §4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any, Final

from flowtide.expressions.attributes import MISSING, map_get
from flowtide.expressions.equality import equal, is_number
from flowtide.expressions.faults import Fault, Undefined
from flowtide.expressions.printing import kind, text
from flowtide.expressions.runtime import Run

_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
_BIG_BITS: Final = 4096
_MAX_COMPARISONS: Final = 10_000_000


def truth(value: Any, position: int) -> bool:
    """A condition (C X17): the string "false" is true; null, maps and lists are refused."""
    if value is True or value is False:
        return bool(value)
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, int | float | Decimal):
        return value != 0
    if value is None:
        raise Fault("the condition is null; compare it (`x == true`, `x is not null`) or use `??`", position)
    raise Fault(f"Unsupported value type: a {kind(value)} is no condition; use `is empty`", position)


def ternary_truth(value: Any, position: int) -> bool:
    """The condition of a ternary, where null takes the second branch."""
    return False if value is None else truth(value, position)


def equals(left: Any, right: Any, position: int) -> bool:
    """`==` with its place."""
    try:
        return equal(left, right)
    except Fault as fault:
        raise Fault(fault.message, position) from None


def compare(operator: str, left: Any, right: Any, position: int) -> bool:
    """`<`, `>`, `<=`, `>=`: two numbers or two strings; with null it is false (C O02)."""
    if left is None or right is None:
        return False
    if not (left.__class__ is int and right.__class__ is int) and not (
        (is_number(left) and is_number(right))
        or (isinstance(left, str) and isinstance(right, str))
        or (type(left) is type(right) and hasattr(left, "utcoffset"))
    ):
        raise Fault(f"cannot compare a {kind(left)} with a {kind(right)} by `{operator}`", position)
    try:
        if operator == "<":
            return bool(left < right)
        if operator == ">":
            return bool(left > right)
        if operator == "<=":
            return bool(left <= right)
        return bool(left >= right)
    except (TypeError, InvalidOperation):
        raise Fault("cannot compare these values", position) from None


def contains(left: Any, right: Any, position: int) -> bool:
    """`contains` (C O05)."""
    if left is None:
        return False
    if isinstance(right, list | tuple) and not isinstance(left, str):
        if isinstance(left, list | tuple) and len(left) * len(right) > _MAX_COMPARISONS:
            raise Fault("the lists are too long for `contains` or `isIn`", position)
        return all(contains(left, item, position) for item in right)
    if isinstance(left, Mapping):
        return map_get(left, right) is not MISSING
    if isinstance(left, str):
        if isinstance(right, list | tuple):
            return all(contains(left, item, position) for item in right)
        return text(right) in left
    if isinstance(left, Sequence | AbstractSet) and not isinstance(left, bytes | bytearray | memoryview):
        return any(equal(item, right) for item in left)
    raise Fault(f"`contains` needs a list, a map or a string on its left, not a {kind(left)}", position)


def is_in(left: Any, right: Any, position: int) -> bool:
    """`isIn` (C O06)."""
    if right is None:
        return False
    if isinstance(right, str) or not isinstance(right, Mapping | Sequence | AbstractSet):
        raise Fault(f"`isIn` needs a list or a map on its right, not a {kind(right)}", position)
    return contains(right, left, position)


def binary(run: Run, operator: str, left: Any, right: Any, position: int) -> Any:
    """`+ - * / %` (C O07): Java's integers, text joined by `+`, lists grown and shrunk."""
    if left.__class__ is int and right.__class__ is int and (right or operator not in "/%"):
        return _integers(operator, left, right, position)
    if operator == "+":
        if isinstance(left, str) or isinstance(right, str):
            return run.charge(text(left) + text(right))
        if isinstance(left, list | tuple):
            added = list(right) if isinstance(right, list | tuple | AbstractSet) else [right]
            if len(left) + len(added) > run.scope.limits.elements:
                raise Fault(f"a list would have more than {run.scope.limits.elements} elements", position)
            return run.weighed([*left, *added])
    elif operator == "-" and isinstance(left, list | tuple):
        run.check_time()
        removed = right if isinstance(right, list | tuple | AbstractSet) else [right]
        if len(left) * len(removed) > _MAX_COMPARISONS:
            raise Fault("the lists are too long to subtract", position)
        return [item for item in left if not any(equal(item, other) for other in removed)]
    if not is_number(left) or not is_number(right):
        raise Fault(f"cannot calculate {kind(left)} {operator} {kind(right)}", position)
    try:
        if isinstance(left, int) and isinstance(right, int):
            return _integers(operator, left, right, position)
        if isinstance(left, Decimal) or isinstance(right, Decimal):
            return _decimals(operator, left, right)
        return _doubles(operator, float(left), float(right))
    except (ZeroDivisionError, DivisionByZero):
        raise Fault("division by zero", position) from None
    except (OverflowError, InvalidOperation):
        raise Fault("the result is out of range", position) from None


def _integers(operator: str, left: int, right: int, position: int) -> int:
    if operator == "+":
        result = int(left) + int(right)
    elif operator == "-":
        result = int(left) - int(right)
    elif operator == "*":
        result = int(left) * int(right)
    else:
        if right == 0:
            raise ZeroDivisionError
        quotient = abs(left) // abs(right)
        if (left < 0) != (right < 0):
            quotient = -quotient
        result = quotient if operator == "/" else left - quotient * right
    if not _LONG_MIN <= result <= _LONG_MAX:
        wide = not (_LONG_MIN <= left <= _LONG_MAX and _LONG_MIN <= right <= _LONG_MAX)
        if not wide or result.bit_length() > _BIG_BITS:
            raise Fault("the result does not fit into 64 bits", position)
    return result


def _doubles(operator: str, left: float, right: float) -> float:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        if operator == "%" or left == 0 or left != left:
            return float("nan")
        return float("inf") if (left > 0) == (str(right)[0] != "-") else float("-inf")
    if operator == "/":
        return left / right
    return math.fmod(left, right)


def _decimals(operator: str, left: Any, right: Any) -> Decimal:
    first = left if isinstance(left, Decimal) else Decimal(str(left))
    second = right if isinstance(right, Decimal) else Decimal(str(right))
    if operator == "+":
        return first + second
    if operator == "-":
        return first - second
    if operator == "*":
        return first * second
    return first / second if operator == "/" else first % second


def negate(value: Any, position: int) -> Any:
    """Unary minus."""
    if not is_number(value):
        raise Fault(f"cannot negate a {kind(value)}", position)
    return -value


def plus(value: Any, position: int) -> Any:
    """Unary plus."""
    if not is_number(value):
        raise Fault(f"unary plus needs a number, not a {kind(value)}", position)
    return value


def concat(run: Run, *values: Any) -> str:
    """`~` and string interpolation: null is nothing."""
    parts = [text(value) for value in values]
    run.reserve(sum(map(len, parts)))
    return "".join(parts)


def coalesce(*operands: Callable[[], Any]) -> Any:
    """`??`: the first that is neither undefined nor null; an error only if all are undefined (C O09)."""
    last: Undefined | None = None
    for operand in operands:
        try:
            value = operand()
        except Undefined as missing:
            last = missing
            continue
        if value is not None:
            return value
        last = None
    if last is not None:
        raise last
    return None


def coalesce_undefined(left: Callable[[], Any], right: Callable[[], Any]) -> Any:
    """`???`: the right side only where the left does not exist (C O10)."""
    try:
        return left()
    except Undefined:
        return right()


def or_null(operand: Callable[[], Any]) -> Any:
    """The value, or null where it does not exist: for `is defined` and `default`."""
    try:
        return operand()
    except Undefined:
        return None


def map_of(*pairs: Any) -> dict[Any, Any]:
    """A map literal; keys are text, as in JSON."""
    return {text(pairs[index]): pairs[index + 1] for index in range(0, len(pairs), 2)}
