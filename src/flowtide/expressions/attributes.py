"""How templates reach into values: variables, keys, indexes and the few methods allowed (C R15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, Final

from flowtide.expressions.equality import equal
from flowtide.expressions.faults import Fault, Undefined
from flowtide.expressions.printing import kind, text

MISSING: Final = object()
_SIZES: Final = frozenset({"length", "size"})


def root(variables: Mapping[str, Any], name: str, position: int) -> Any:
    """A root variable."""
    try:
        return variables[name]
    except KeyError:
        raise Undefined(name, position, variables) from None


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
        found = map_get(value, name)
        if found is not MISSING:
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
    raise Undefined(name, position, value if isinstance(value, Mapping) else None)


def map_get(value: Mapping[Any, Any], name: Any) -> Any:
    """A key of a map, also where a number was written and the key is its text; MISSING if it has none."""
    try:
        return value[name]
    except (KeyError, TypeError):
        pass
    # Loops key outputs by the text of the value, whatever its type was when the flow was written.
    if isinstance(name, int | float | Decimal):
        try:
            return value[text(name)]
        except KeyError:
            return MISSING
    if isinstance(name, str) and name.lstrip("-").isdigit() and len(name) < 20:
        try:
            return value[int(name)]
        except (KeyError, ValueError):
            return MISSING
    return MISSING


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
    found = map_get(value, key)
    return None if found is MISSING else found


def _list_get(value: Any, index: Any) -> Any:
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(value):
        raise LookupError
    return value[index]


_MAP_METHODS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "get": (1, _get),
    "keySet": (0, list),
    "values": (0, lambda value: list(value.values())),
    "entrySet": (0, lambda value: [{"key": key, "value": item} for key, item in value.items()]),
    "containsKey": (1, lambda value, key: map_get(value, key) is not MISSING),
    "containsValue": (1, lambda value, item: any(equal(item, known) for known in value.values())),
    "getOrDefault": (2, lambda value, key, other: other if (f := map_get(value, key)) is MISSING else f),
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
