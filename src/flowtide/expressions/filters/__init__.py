"""All filters by name, a module per group; a filter is called with the run, the value and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flowtide.expressions.calls import Parameters
from flowtide.expressions.filters import collections, dates, documents, formatting, numbers, strings

FILTERS: Final[dict[str, tuple[Parameters, Callable[..., Any]]]] = {
    name: (Parameters("filter", name, parameters or (), defaults, variadic=parameters is None), function)
    for group in (collections, dates, documents, formatting, numbers, strings)
    for name, (function, parameters, defaults) in group.FILTERS.items()
}
