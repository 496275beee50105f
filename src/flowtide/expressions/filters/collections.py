"""Filters on lists and maps, some of which take text as well (C §7.1). None changes its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cmp_to_key
from typing import Any, Final

from flowtide.expressions import javaregex
from flowtide.expressions.equality import equal, is_number
from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import kind, text
from flowtide.expressions.runtime import Run


def is_list(value: Any) -> bool:
    """Lists, tuples and sets; text and bytes are none."""
    return isinstance(value, Sequence | AbstractSet) and not isinstance(
        value, str | bytes | bytearray | memoryview
    )


def _list(name: str, value: Any) -> list[Any]:
    if is_list(value):
        return list(value)
    raise Fault(f"the filter `{name}` needs a list, not a {kind(value)}")


def _whole(name: str, argument: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(
            f"the argument `{argument}` of the filter `{name}` must be a whole number, not a {kind(value)}"
        )
    return value


def _end(name: str, index: int) -> Callable[[Run, Any], Any]:
    def apply(run: Run, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            return value[index] if value else None
        if isinstance(value, Mapping):
            value = value.values()
            items = list(value)
        else:
            items = _list(name, value)
        return items[index] if items else None

    return apply


def _length(run: Run, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str | Mapping) or is_list(value):
        return len(value)
    raise Fault(f"the filter `length` needs a list, a map or a string, not a {kind(value)}")


def _join(run: Run, value: Any, separator: Any) -> Any:
    if value is None:
        return None
    parts = [text(item) for item in _list("join", value)]
    mark = "" if separator is None else text(separator)
    run.reserve(sum(map(len, parts)) + len(mark) * max(0, len(parts) - 1))
    return mark.join(parts)


def _split(run: Run, value: Any, delimiter: Any, limit: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or not isinstance(delimiter, str):
        raise Fault("the filter `split` needs a string and a regex as its delimiter")
    return javaregex.split(run, delimiter, value, _whole("split", "limit", limit))


def _compare(left: Any, right: Any) -> int:
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return int(left > right) - int(left < right)
    if type(left) is type(right) and hasattr(left, "__lt__") and not isinstance(left, Mapping | list | tuple):
        return int(left > right) - int(left < right)
    raise Fault(f"cannot sort a {kind(left)} beside a {kind(right)}")


def _sort(name: str, *, descending: bool) -> Callable[[Run, Any], Any]:
    def apply(run: Run, value: Any) -> Any:
        if value is None:
            return None
        return sorted(_list(name, value), key=cmp_to_key(_compare), reverse=descending)

    return apply


def _reverse(run: Run, value: Any) -> Any:
    if value is None:
        return None
    return value[::-1] if isinstance(value, str) else _list("reverse", value)[::-1]


def _chunk(run: Run, value: Any, size: Any) -> Any:
    if value is None:
        return None
    items = _list("chunk", value)
    step = _whole("chunk", "size", size)
    if step < 1:
        raise Fault("the argument `size` of the filter `chunk` must be at least 1")
    return [items[index : index + step] for index in range(0, len(items), step)]


def _distinct(run: Run, value: Any) -> Any:
    if value is None:
        return None
    seen: set[Any] = set()
    result: list[Any] = []
    for item in _list("distinct", value):
        if isinstance(item, str | bool | int | float):
            key = (isinstance(item, bool), item)
            if key in seen:
                continue
            seen.add(key)
        else:
            run.tick()
            if any(equal(item, known) for known in result):
                continue
        result.append(item)
    return result


def _slice(run: Run, value: Any, start: Any, stop: Any) -> Any:
    if value is None:
        return None
    items = value if isinstance(value, str) else _list("slice", value)
    first = _whole("slice", "fromIndex", start)
    last = len(items) if stop is None else _whole("slice", "toIndex", stop)
    if first < 0 or last > len(items) or first >= last:
        raise Fault(
            f"the filter `slice` needs 0 <= fromIndex < toIndex <= {len(items)}, not {first} and {last}"
        )
    return items[first:last]


def _merge(run: Run, value: Any, items: Any) -> Any:
    if value is None and items is None:
        raise Fault("the filter `merge` needs something to merge, both sides are null")
    if value is None or items is None:
        return items if value is None else value
    if isinstance(value, Mapping):
        if isinstance(items, Mapping):
            return run.weighed({**value, **items})
        return run.weighed({**value, **{text(item): item for item in _list("merge", items)}})
    merged = _list("merge", value)
    if isinstance(items, Mapping):
        merged += [{"key": key, "value": item} for key, item in items.items()]
    else:
        merged += _list("merge", items)
    return run.weighed(merged)


def _flatten(run: Run, value: Any) -> Any:
    if value is None:
        return None
    result: list[Any] = []
    for item in _list("flatten", value):
        if is_list(item):
            result.extend(item)
        else:
            result.append(item)
    return result


def _keys(run: Run, value: Any) -> Any:
    if value is None:
        return None
    return list(value) if isinstance(value, Mapping) else list(range(len(_list("keys", value))))


def _values(run: Run, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise Fault(f"the filter `values` needs a map, not a {kind(value)}")
    return list(value.values())


FILTERS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[Any, ...]]]] = {
    "first": (_end("first", 0), (), ()),
    "last": (_end("last", -1), (), ()),
    "length": (_length, (), ()),
    "join": (_join, ("separator",), (None,)),
    "split": (_split, ("delimiter", "limit"), (0,)),
    "sort": (_sort("sort", descending=False), (), ()),
    "rsort": (_sort("rsort", descending=True), (), ()),
    "reverse": (_reverse, (), ()),
    "chunk": (_chunk, ("size",), ()),
    "distinct": (_distinct, (), ()),
    "slice": (_slice, ("fromIndex", "toIndex"), (0, None)),
    "merge": (_merge, ("items",), ()),
    "flatten": (_flatten, (), ()),
    "keys": (_keys, (), ()),
    "values": (_values, (), ()),
}
