"""Nested mappings: merging one into another, and taking a path out.  Mappings are never changed, but copied as far as
they differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from flowtide.model.encrypted import is_encrypted


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `change` names; mappings are merged in turn, everything else is replaced."""
    result = dict(base)
    for key, value in change.items():
        before = result.get(key)
        result[key] = merged(before, value) if _is_map(before) and _is_map(value) else value
    return result


def without(base: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """`base` without the value at `path`; nothing changes when there is none."""
    result = dict(base)
    first, *rest = path
    if not rest:
        result.pop(first, None)
    elif isinstance(result.get(first), Mapping):
        result[first] = without(result[first], rest)
    return result


def has_path(base: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Whether there is a value at `path`."""
    value: Any = base
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def conflict(base: Mapping[str, Any], change: Mapping[str, Any]) -> str | None:
    """The dotted path of the first value of `change` that `merged` would put in another's place."""
    for key, value in change.items():
        if key not in base:
            continue
        before = base[key]
        if not _is_map(before) or not _is_map(value):
            return str(key)
        below = conflict(before, value)
        if below is not None:
            return f"{key}.{below}"
    return None


def _is_map(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and not is_encrypted(value)
