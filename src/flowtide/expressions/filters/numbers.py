"""Filters on numbers, with Java's classes and DecimalFormat patterns (C §7.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from flowtide.expressions.equality import is_number
from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import BigInteger, LongInteger, SingleFloat, class_name, kind
from flowtide.expressions.runtime import Run

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?\s*")
_INTEGER = re.compile(r"[+-]?\d+")
_SINGLE_DIGITS: Final = 7
_DOUBLE_DIGITS: Final = 16
_MAX_DIGITS: Final = 1000


def _abs(run: Run, value: Any) -> Any:
    if value is None:
        return None
    if not is_number(value):
        raise Fault(f"the filter `abs` needs a number, not a {kind(value)}")
    return abs(value)


def _number(run: Run, value: Any, type_: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault(f"the filter `number` needs a string, not a {kind(value)}")
    text = value.strip()
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise Fault("the filter `number` cannot read this string as a number")
    if type_ is None:
        return _inferred(text)
    name = type_.upper() if isinstance(type_, str) else ""
    if name in ("INT", "LONG", "BIGINTEGER"):
        if not _INTEGER.fullmatch(text):
            raise Fault(f"the filter `number` cannot read this string as {name}")
        number = int(text)
        bits = {"INT": 31, "LONG": 63, "BIGINTEGER": 4096}[name]
        if not -(1 << bits) <= number < (1 << bits):
            raise Fault(f"the number does not fit into {name}")
        return number if name == "INT" else LongInteger(number) if name == "LONG" else BigInteger(number)
    if name == "FLOAT":
        return SingleFloat(text)
    if name == "DOUBLE":
        return float(text)
    if name == "BIGDECIMAL":
        return Decimal(text)
    raise Fault("the argument `type` must be INT, FLOAT, LONG, DOUBLE, BIGDECIMAL or BIGINTEGER")


def _inferred(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text)
    digits = len(Decimal(text).as_tuple().digits)
    if digits <= _SINGLE_DIGITS and (number == 0 or 1e-38 < abs(number) < 3e38):
        return SingleFloat(number)
    if digits <= _DOUBLE_DIGITS and number not in (float("inf"), float("-inf")):
        return number
    return Decimal(text)


def number_format(value: Any, pattern: str) -> str:
    """Java's DecimalFormat in English: `#,##0.00`, `0.###`, `%`, exponents, a second half for negatives."""
    try:
        number = (
            value
            if isinstance(value, Decimal)
            else Decimal(str(value) if not isinstance(value, int) else int(value))
        )
        if not number.is_finite():
            return "∞" if number > 0 else "-∞" if number < 0 else "NaN"
        return _format_decimal(number, pattern)
    except (InvalidOperation, ValueError, ImportError):
        raise Fault(f"cannot format the number by the pattern '{pattern[:60]}'") from None


def _format_decimal(number: Decimal, pattern: str) -> str:
    from decimal import ROUND_HALF_EVEN, localcontext

    from babel.numbers import parse_pattern

    if not pattern:
        pattern = "#,##0.###"
    if len(pattern) > 100 or number.adjusted() > _MAX_DIGITS:
        raise Fault("the number or its pattern is too long")
    if not any(char in pattern for char in "0#"):
        raise Fault(f"the pattern '{pattern}' of the filter `numberFormat` has no digits")
    with localcontext() as context:
        context.rounding = ROUND_HALF_EVEN
        context.prec = 2 * _MAX_DIGITS
        formatted: str = parse_pattern(pattern).apply(number, "en_US")
    integer = pattern.split(";")[0].split(".")[0]
    # Java writes .5 for the pattern #.##, as long as there is a fraction to write.
    if "." in pattern and "0" not in integer and abs(number) < 1 and "E" not in pattern:
        formatted = re.sub(r"(?<!\d)0\.(?=\d)", ".", formatted, count=1)
    return formatted


def _number_format(run: Run, value: Any, pattern: Any) -> Any:
    if value is None:
        return None
    if not is_number(value):
        raise Fault(f"the filter `numberFormat` needs a number, not a {kind(value)}")
    if pattern is not None and not isinstance(pattern, str):
        raise Fault("the argument `format` of the filter `numberFormat` must be a string")
    return number_format(value, pattern or "")


FILTERS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[Any, ...]]]] = {
    "abs": (_abs, (), ()),
    "number": (_number, ("type",), (None,)),
    "className": (lambda run, value: None if value is None else class_name(value), (), ()),
    "numberFormat": (_number_format, ("format",), (None,)),
    "numberformat": (_number_format, ("format",), (None,)),
}
