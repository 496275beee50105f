"""What compiled templates call: variables, attributes, operators, calls and the limits of one rendering.

State: a `Run` lives for one rendering (and the renderings nested in it) and holds locals and counters.
"""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal, DivisionByZero, InvalidOperation
from enum import Enum
from typing import Any, Final

from flowtide.errors import FlowtideError
from flowtide.expressions.faults import Fault, SyntaxFault, Undefined
from flowtide.expressions.names import IO_FUNCTIONS
from flowtide.expressions.printing import kind, text
from flowtide.expressions.scope import Scope

_LONG_MIN: Final = -(2**63)
_LONG_MAX: Final = 2**63 - 1
_BIG_BITS: Final = 4096
_COUNTED_CHARACTERS: Final = 1024
_COUNTED_ELEMENTS: Final = 1000
_MAX_COMPARISONS: Final = 10_000_000
_SECRET_FUNCTIONS: Final = frozenset({"secret", "credential"})
_MISSING: Final = object()
_SIZES: Final = frozenset({"length", "size"})
_FAILURES: Final = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)


class Run:
    """The state of one rendering."""

    __slots__ = (
        "allocated",
        "blocks",
        "deadline",
        "frames",
        "nesting",
        "raws",
        "scope",
        "ticks",
        "weights",
    )

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.frames: list[dict[str, Any]] = []
        self.blocks: int = 0
        self.deadline: float | None = None
        self.ticks = 0
        self.allocated = 0
        self.nesting = 0
        self.raws: list[str] | None = None
        self.weights: dict[int, tuple[int, Any]] = {}

    # Limits

    def check_time(self) -> None:
        """Raises once the time budget is used up; the clock starts at the first check."""
        scope = self.scope
        now = scope.monotonic()
        if self.deadline is None:
            self.deadline = now + scope.limits.time_budget.total_seconds()
        elif now > self.deadline:
            raise Fault(f"rendering took longer than {scope.limits.time_budget.total_seconds():g} s")

    def remaining(self) -> float:
        """Seconds left of the time budget; raises when none are."""
        self.check_time()
        assert self.deadline is not None
        return max(0.001, self.deadline - self.scope.monotonic())

    def tick(self) -> None:
        """Once per iteration of anything that repeats."""
        self.ticks += 1
        if not self.ticks & 31:
            self.check_time()

    def charge(self, value: str) -> str:
        """Counts a text made on the way and hands it back; raises when it is, or all are, too long."""
        size = len(value)
        if size > _COUNTED_CHARACTERS:
            self.reserve(size)
        return value

    def reserve(self, size: int) -> None:
        """Counts a text before it is made."""
        limits = self.scope.limits
        if size > limits.output_characters:
            raise Fault(f"a text would be longer than {limits.output_characters} characters")
        self.allocated += size
        if self.allocated > limits.allocated_characters:
            raise Fault(f"rendering would use more than {limits.allocated_characters} characters of text")

    def weigh(self, value: Any) -> int:
        """The number of elements in a nested value, counting shared parts as often as they occur.

        Without this a template could build a value of 2^n elements in n steps, which only hurts when printed.
        """
        kind_ = value.__class__
        if kind_ is not list and kind_ is not dict:
            return 1 if kind_ is not str else 1 + len(value) // 64
        known = self.weights.get(id(value))
        if known is not None:
            return known[0]
        total = 1
        limit = self.scope.limits.elements
        for item in value.values() if kind_ is dict else value:
            total += self.weigh(item)
            if total > limit:
                raise Fault(f"a value would have more than {limit} elements")
        # The value is kept alive beside its weight, or another one could get its id.
        self.weights[id(value)] = (total, value)
        return total

    def weighed(self, value: Any) -> Any:
        """Hands back a container that the template built, unless it is too heavy."""
        self.weigh(value)
        return value

    # Locals

    def push(self) -> dict[str, Any]:
        """A new innermost set of locals."""
        frame: dict[str, Any] = {}
        self.frames.append(frame)
        return frame

    def assign(self, name: str, value: Any) -> None:
        """`set`: changes the innermost variable of that name, else makes one."""
        for frame in reversed(self.frames):
            if name in frame:
                frame[name] = value
                return
        self.frames[-1][name] = value

    def lookup(self, name: str, position: int) -> Any:
        """A name that some tag of the template defines: local where it is, else a root variable."""
        for frame in reversed(self.frames):
            if name in frame:
                return frame[name]
        if name == "_context":
            return self.context()
        return root(self.scope.variables, name, position)

    def local(self, name: str, position: int) -> Any:
        """A name inside of a macro, which sees its arguments only."""
        for frame in reversed(self.frames):
            if name in frame:
                return frame[name]
        raise Undefined(name, position)

    def context(self) -> Mapping[str, Any]:
        """All variables and locals as one map, for `_context`."""
        variables: Any = self.scope.variables
        return ChainMap(*reversed(self.frames), variables)

    def iterate(self, value: Any, position: int) -> list[Any] | None:
        """What `for` walks over; None for null, which renders nothing at all (C T03)."""
        if value is None:
            return None
        if isinstance(value, list):
            return value
        if isinstance(value, Mapping):
            return [{"key": key, "value": item} for key, item in value.items()]
        if isinstance(value, Sequence | AbstractSet) and not isinstance(
            value, str | bytes | bytearray | memoryview
        ):
            return list(value)
        raise Fault(f"`for` needs a list or a map, not a {kind(value)}", position)

    def raw(self, value: str) -> str:
        """Text of a raw block: in a recursive rendering a stand-in, so that later passes leave it alone."""
        if self.raws is None:
            return value
        self.raws.append(value)
        return f"\ue000{len(self.raws) - 1}\ue001"

    def restore_raws(self, value: str) -> str:
        """Puts the raw blocks back after the last pass."""
        for index, content in enumerate(self.raws or ()):
            value = value.replace(f"\ue000{index}\ue001", content)
        return value


class Output:
    """Collects a template's text and refuses to grow beyond the limit."""

    __slots__ = ("limit", "parts", "size")

    def __init__(self, run: Run) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.limit = run.scope.limits.output_characters

    def write(self, value: str) -> None:
        """Adds text."""
        self.size += len(value)
        if self.size > self.limit:
            raise Fault(f"the rendered text would be longer than {self.limit} characters")
        self.parts.append(value)

    def text(self) -> str:
        """All text so far."""
        return "".join(self.parts)


# Variables and attributes


def root(variables: Mapping[str, Any], name: str, position: int) -> Any:
    """A root variable."""
    try:
        return variables[name]
    except KeyError:
        raise Undefined(name, position) from None


def attribute(value: Any, name: Any, position: int) -> Any:
    """`value.name` or `value[name]`; only maps, lists and strings have any (C R15)."""
    if value.__class__ is dict:
        try:
            return value[name]
        except (KeyError, TypeError):
            pass
    return _attribute(value, name, position)


def _attribute(value: Any, name: Any, position: int) -> Any:
    if isinstance(value, Mapping):
        found = _map_get(value, name)
        if found is not _MISSING:
            return found
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        index = name
        if isinstance(name, str) and name.isascii() and name.isdigit() and len(name) < 10:
            index = int(name)
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(value):
            return value[index]
    elif not isinstance(value, str | AbstractSet):
        raise Undefined(name, position)
    if name in _SIZES if isinstance(name, str) else False:
        return len(value)
    if name == "empty":
        return len(value) == 0
    raise Undefined(name, position)


def _map_get(value: Mapping[Any, Any], name: Any) -> Any:
    try:
        return value[name]
    except (KeyError, TypeError):
        pass
    # Loops key outputs by the text of the value, whatever its type was when the flow was written.
    if isinstance(name, int | float | Decimal):
        try:
            return value[text(name)]
        except KeyError:
            return _MISSING
    if isinstance(name, str) and name.lstrip("-").isdigit() and len(name) < 20:
        try:
            return value[int(name)]
        except (KeyError, ValueError):
            return _MISSING
    return _MISSING


def method(value: Any, name: str, position: int, *arguments: Any) -> Any:
    """`value.name(arguments)` for the few methods that shipped flows call (C R15)."""
    group: Any = None
    if isinstance(value, Mapping):
        group = _MAP_METHODS
    elif isinstance(value, str):
        group = _STRING_METHODS
    elif isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
        group = _LIST_METHODS
    entry = group.get(name) if group else None
    if entry is None:
        raise Fault(f"a {kind(value)} has no method `{name[:60]}` that a template may call", position)
    count, function = entry
    if len(arguments) != count:
        raise Fault(f"the method `{name}` takes {count} argument(s), not {len(arguments)}", position)
    try:
        return function(value, *arguments)
    except (TypeError, ValueError, LookupError, AttributeError):
        raise Fault(f"the method `{name}` cannot be called with these arguments", position) from None


def _get(value: Mapping[Any, Any], key: Any) -> Any:
    found = _map_get(value, key)
    return None if found is _MISSING else found


def _list_get(value: Any, index: Any) -> Any:
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(value):
        raise LookupError
    return value[index]


_MAP_METHODS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "get": (1, _get),
    "keySet": (0, list),
    "values": (0, lambda value: list(value.values())),
    "entrySet": (0, lambda value: [{"key": key, "value": item} for key, item in value.items()]),
    "containsKey": (1, lambda value, key: _map_get(value, key) is not _MISSING),
    "containsValue": (1, lambda value, item: any(equal(item, known) for known in value.values())),
    "getOrDefault": (2, lambda value, key, other: other if (f := _map_get(value, key)) is _MISSING else f),
    "size": (0, len),
    "length": (0, len),
    "isEmpty": (0, lambda value: len(value) == 0),
}
_LIST_METHODS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "get": (1, _list_get),
    "contains": (1, lambda value, item: any(equal(item, known) for known in value)),
    "indexOf": (1, lambda value, item: next((i for i, known in enumerate(value) if equal(item, known)), -1)),
    "size": (0, len),
    "length": (0, len),
    "isEmpty": (0, lambda value: len(value) == 0),
}
_STRING_METHODS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "length": (0, len),
    "size": (0, len),
    "isEmpty": (0, lambda value: not value),
    "isBlank": (0, lambda value: not value.strip()),
    "trim": (0, lambda value: value.strip()),
    "toUpperCase": (0, lambda value: value.upper()),
    "toLowerCase": (0, lambda value: value.lower()),
    "contains": (1, lambda value, part: part in value),
    "startsWith": (1, lambda value, part: value.startswith(str.__str__(part))),
    "endsWith": (1, lambda value, part: value.endswith(str.__str__(part))),
    "indexOf": (1, lambda value, part: value.find(part)),
    "toString": (0, lambda value: value),
}


# Operators


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
        return _map_get(left, right) is not _MISSING
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
    import math

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


# Calls


class Parameters:
    """The declared parameters of a filter, test, function or macro."""

    __slots__ = ("defaults", "kind", "name", "names", "variadic")

    def __init__(
        self, kind_: str, name: str, names: tuple[str, ...], defaults: tuple[Any, ...], variadic: bool = False
    ) -> None:
        self.kind = kind_
        self.name = name
        self.names = names
        self.defaults = defaults  # of the last parameters, as in Python
        self.variadic = variadic

    def bind(self, positional: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """The arguments in declared order; raises Fault as C X13 says."""
        if self.variadic:
            if named:
                raise Fault(f"The following named argument does not exist: {next(iter(named))}")
            return list(positional)
        if len(positional) > len(self.names):
            raise Fault(
                f"the {self.kind} `{self.name}` takes at most {len(self.names)} argument(s), "
                f"{len(positional)} given"
            )
        for name in named:
            if name not in self.names:
                known = ", ".join(self.names) or "none"
                raise Fault(
                    f"The following named argument does not exist: {name} ({self.kind} `{self.name}` "
                    f"has: {known})"
                )
            if name in self.names[: len(positional)]:
                raise Fault(f"the argument `{name}` of the {self.kind} `{self.name}` is given twice")
        values = list(positional)
        required = len(self.names) - len(self.defaults)
        for index in range(len(positional), len(self.names)):
            name = self.names[index]
            if name in named:
                values.append(named[name])
            elif index >= required:
                values.append(self.defaults[index - required])
            else:
                raise Fault(f"the {self.kind} `{self.name}` needs the argument `{name}`")
        return values


def apply(run: Run, position: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a filter, test or function of ours: its failures get their place, its texts are counted."""
    try:
        result = function(run, *arguments)
    except Undefined:
        raise
    except Fault as fault:
        if fault.position is None:
            fault.position = position
        raise
    except _FAILURES as error:
        raise Fault(f"cannot evaluate this ({_describe(error)})", position) from None
    counted = result.__class__ is str and len(result) > _COUNTED_CHARACTERS
    if counted or (result.__class__ is list and len(result) > _COUNTED_ELEMENTS):
        try:
            # A filter on a long list takes its time, so a loop of them must not wait for its next check.
            run.check_time()
            if counted:
                run.reserve(len(result))
        except Fault as fault:
            fault.position = position
            raise
    return result


def _describe(error: BaseException) -> str:
    """A cause without values: what a library says may quote the data."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OverflowError | ArithmeticError):
        return "out of range"
    return "the values do not fit"


def call(
    run: Run,
    position: int,
    name: str,
    builtin: tuple[Parameters, Callable[..., Any]] | None,
    positional: tuple[Any, ...],
    named: dict[str, Any],
) -> Any:
    """Calls a function: the caller's of that name, else ours."""
    scope = run.scope
    supplied = scope.functions.get(name)
    if supplied is None:
        if builtin is None:
            raise Fault(_unknown_function(name, scope.functions), position)
        parameters, function = builtin
        try:
            values = parameters.bind(positional, named)
        except Fault as fault:
            fault.position = position
            raise
        return apply(run, position, function, *values)
    try:
        result = supplied(*positional, **named)
    except Fault as fault:
        if fault.position is None:
            fault.position = position
        raise
    except FlowtideError as error:
        raise Fault(f"{name}(): {error.message}", position) from error
    except TypeError as error:
        raise Fault(f"{name}() cannot be called with these arguments", position) from error
    if scope.on_secret is not None and name in _SECRET_FUNCTIONS and isinstance(result, str):
        scope.on_secret(result)
    if result.__class__ is str:
        run.charge(result)
    return result


def _unknown_function(name: str, supplied: Iterable[str]) -> str:
    if name in IO_FUNCTIONS:
        return (
            f"the function `{name}` cannot be used here, because it reads data from outside of the template"
        )
    from flowtide.expressions.functions import FUNCTIONS

    return unknown("function", name, [*FUNCTIONS, *supplied])


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """`Unknown filter x; did you mean y?`."""
    near = difflib.get_close_matches(name[:60], list(known), 1)
    return f"unknown {what} `{name[:60]}`" + (f"; did you mean `{near[0]}`?" if near else "")


__all__ = ["Fault", "Run", "SyntaxFault", "Undefined"]
