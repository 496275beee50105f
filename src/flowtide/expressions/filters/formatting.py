"""The filter `format`: a text with Java's format specifiers and its arguments in, the filled text out (C F63).

`%s %S %d %x %X %o %f %e %E %g %b %c %%` and `%n`, with an index (`%2$s`), the flags `-`, `0`, `+`, `,`, space and `(`,
a width and a precision.  Nothing else of java.util.Formatter; dates have a filter of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from flowtide.expressions.equality import is_number
from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import kind, text
from flowtide.expressions.runtime import Run

_SPECIFIER: Final = re.compile(r"%(?:(\d+)\$)?([-0+, (]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")
_WIDEST: Final = 1000  # of a width or precision: more is a slip, or wants the memory
_LARGEST_EXPONENT: Final = 400


def _format(run: Run, value: Any, *arguments: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault(f"the filter `format` needs a text with specifiers such as `%s`, not a {kind(value)}")
    taken = 0
    parts: list[str] = []
    end = 0
    while (start := value.find("%", end)) >= 0:
        parts.append(value[end:start])
        match = _SPECIFIER.match(value, start)
        if match is None:
            raise Fault(
                f"`{value[start : start + 10]}` is no format specifier; write `%%` for a percent sign"
            )
        end = match.end()
        index, flags, width, precision, conversion = match.groups()
        if int(width or 0) > _WIDEST or int(precision or 0) > _WIDEST:
            raise Fault(f"a format may be at most {_WIDEST} wide")
        if conversion in "%n":
            parts.append(_padded("%" if conversion == "%" else "\n", flags, width))
            continue
        if index is not None:
            number = int(index)
        else:
            taken += 1
            number = taken
        if not 1 <= number <= len(arguments):
            raise Fault(f"the filter `format` has no argument for `{match.group(0)}`")
        run.check_time()
        parts.append(_converted(arguments[number - 1], conversion, flags, width, precision))
    parts.append(value[end:])
    result = "".join(parts)
    run.charge(result)
    return result


def _converted(value: Any, conversion: str, flags: str, width: str | None, precision: str | None) -> str:
    if conversion in "sS":
        shown = "null" if value is None else text(value)
        shown = shown[: int(precision)] if precision is not None else shown
        return _padded(shown.upper() if conversion == "S" else shown, flags, width)
    if conversion in "bB":
        shown = str(value is not None and value is not False).lower()
        return _padded(shown.upper() if conversion == "B" else shown, flags, width)
    if conversion == "c":
        if isinstance(value, str) and len(value) == 1:
            return _padded(value, flags, width)
        raise Fault(f"`%c` needs one character, not a {kind(value)}")
    if conversion in "dxXo":
        if not isinstance(value, int) or isinstance(value, bool):
            raise Fault(f"`%{conversion}` needs a whole number, not a {kind(value)}")
        digits = format(abs(value), conversion if conversion != "d" or "," not in flags else ",d")
        return _signed(digits, value < 0, flags, width)
    if conversion in "feEgG":
        if not is_number(value):
            raise Fault(f"`%{conversion}` needs a number, not a {kind(value)}")
        number = Decimal(str(value))
        if not number.is_finite():
            return _padded(str(number), flags, width)
        if number.adjusted() > _LARGEST_EXPONENT:
            raise Fault("the number is too large to be formatted")
        places = 6 if precision is None else int(precision)
        if conversion == "f":
            rounded = number.quantize(
                Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=_wide(places)
            )
            digits = format(abs(rounded), ",f" if "," in flags else "f")
        else:
            digits = format(abs(number), f".{places}{conversion}")
            digits = re.sub(r"([eE][-+])(\d)$", r"\g<1>0\2", digits)
        return _signed(digits, number < 0, flags, width)
    raise Fault(
        f"the conversion `%{conversion}` is not known; there are s, S, d, x, X, o, f, e, E, g, b, c, n and %"
    )


def _wide(places: int) -> Any:
    from decimal import Context

    return Context(prec=_LARGEST_EXPONENT + places + 10)


def _signed(digits: str, negative: bool, flags: str, width: str | None) -> str:
    before, after = "", ""
    if negative:
        before, after = ("(", ")") if "(" in flags else ("-", "")
    elif "+" in flags:
        before = "+"
    elif " " in flags:
        before = " "
    if "0" in flags and width is not None and "-" not in flags:
        digits = digits.rjust(int(width) - len(before) - len(after), "0")
    return _padded(before + digits + after, flags, width)


def _padded(shown: str, flags: str, width: str | None) -> str:
    if width is None:
        return shown
    return shown.ljust(int(width)) if "-" in flags else shown.rjust(int(width))


def _escape(run: Run, value: Any, strategy: Any) -> Any:
    if value is None:
        return None
    if strategy != "html":
        raise Fault(
            "the filter `escape` knows the strategy `html` only; for others there are `urlencode`, `toJson` "
            "and `escapeChar`"
        )
    shown = value if isinstance(value, str) else text(value)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        shown = shown.replace(char, entity)
    return shown


FILTERS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...] | None, tuple[Any, ...]]]] = {
    "format": (_format, None, ()),
    "escape": (_escape, ("strategy",), ("html",)),
    "raw": (lambda run, value: value, (), ()),
}
