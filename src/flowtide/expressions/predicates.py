"""The tests after `is` and `is not` (C §6), and truthiness of rendered conditions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from flowtide.expressions.calls import Parameters
from flowtide.expressions.equality import is_number
from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import kind
from flowtide.expressions.runtime import Run

_FALSE_TEXTS: Final = frozenset({"", "0", "-0", "null", "false"})


def truthy(value: Any) -> bool:
    """FLO-20: 0, -0, null, '' and false are false, everything else is true; space around text is ignored."""
    if isinstance(value, str):
        return value.strip() not in _FALSE_TEXTS
    if value is None or value is False:
        return False
    return not (is_number(value) and value == 0)


def _defined(run: Run, value: Any) -> bool:
    return value is not None


def is_empty(value: Any) -> bool:
    """Null, blank text, an empty list or map."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, Mapping | Sequence | AbstractSet) and len(value) == 0


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not is_number(value) or value != int(value):
        raise Fault(f"the test `{name}` needs a whole number, not a {kind(value)}")
    return int(value)


def _is_json(run: Run, value: Any) -> bool:
    if not isinstance(value, str):
        raise Fault(f"the test `json` needs a string, not a {kind(value)}")
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _iterable(run: Run, value: Any) -> bool:
    return isinstance(value, Sequence | AbstractSet) and not isinstance(
        value, str | bytes | bytearray | memoryview
    )


PREDICATES: Final[dict[str, tuple[Parameters, Callable[..., bool]]]] = {
    name: (Parameters("test", name, (), ()), function)
    for name, function in (
        ("defined", _defined),
        ("empty", lambda run, value: is_empty(value)),
        ("null", lambda run, value: value is None),
        ("even", lambda run, value: _whole("even", value) % 2 == 0),
        ("odd", lambda run, value: _whole("odd", value) % 2 == 1),
        ("iterable", _iterable),
        ("json", _is_json),
        ("map", lambda run, value: isinstance(value, Mapping)),
    )
}
