"""All filters by name, a module per group; a filter is called with the run, the value and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flowtide.expressions.calls import Parameters
from flowtide.expressions.filters import collections, dates, documents, numbers, strings

FILTERS: Final[dict[str, tuple[Parameters, Callable[..., Any]]]] = {
    name: (Parameters("filter", name, parameters, defaults), function)
    for group in (collections, dates, documents, numbers, strings)
    for name, (function, parameters, defaults) in group.FILTERS.items()
}
