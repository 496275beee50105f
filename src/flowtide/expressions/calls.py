"""How filters, tests, functions and macros are called: arguments bound, failures placed, results counted."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from flowtide.errors import FlowtideError
from flowtide.expressions.faults import Fault, Undefined
from flowtide.expressions.names import IO_FUNCTIONS
from flowtide.expressions.runtime import COUNTED_CHARACTERS, Run

_COUNTED_ELEMENTS: Final = 1000
_SECRET_FUNCTIONS: Final = frozenset({"secret", "credential"})
_FAILURES: Final = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)


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
    counted = result.__class__ is str and len(result) > COUNTED_CHARACTERS
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
