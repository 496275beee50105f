"""All built-in functions by name, a module per group; a function is called with the run and its arguments.

None of them does I/O; the caller of a Scope supplies those that do (`names.IO_FUNCTIONS`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flowtide.expressions.calls import Parameters
from flowtide.expressions.functions import calendar, parsing, rendering, utilities, workflow

FUNCTIONS: Final[dict[str, tuple[Parameters, Callable[..., Any]]]] = {
    name: (Parameters("function", name, parameters or (), defaults, variadic=parameters is None), function)
    for group in (calendar, parsing, rendering, utilities, workflow)
    for name, (function, parameters, defaults) in group.FUNCTIONS.items()
}
