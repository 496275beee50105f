"""`${NAME:default}` in values (CFG-8): replaced from the environment, other settings or the default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowtide.settings.values import read_text

Lookup = Callable[[str], Any]
"""Gives the unresolved value of another setting by its key, or None."""


class PlaceholderError(ValueError):
    """A placeholder cannot be replaced; the text says which and why."""


def _closing(text: str, start: int) -> int:
    depth, position = 1, start
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise PlaceholderError(f"the placeholder {text[start - 2 :]!r} has no closing brace")


def resolve(value: Any, environment: Mapping[str, str], lookup: Lookup, within: tuple[str, ...] = ()) -> Any:
    """The value with all its placeholders replaced, also in lists and maps. Raises PlaceholderError.

    A value that is a placeholder and nothing else takes the kind of what it names.
    """
    if isinstance(value, Mapping):
        return {name: resolve(part, environment, lookup, within) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(part, environment, lookup, within) for part in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    pieces: list[Any] = []
    position = 0
    while (start := value.find("${", position)) >= 0:
        pieces.append(value[position:start])
        end = _closing(value, start + 2)
        pieces.append(_replacement(value[start + 2 : end], environment, lookup, within))
        position = end + 1
    pieces.append(value[position:])
    kept = [piece for piece in pieces if piece != ""]
    if len(kept) == 1:
        return kept[0]
    return "".join(read_text(piece) for piece in kept)


def _replacement(body: str, environment: Mapping[str, str], lookup: Lookup, within: tuple[str, ...]) -> Any:
    name, colon, default = body.partition(":")
    name = name.strip()
    if name in within:
        raise PlaceholderError(f"the placeholder ${{{name}}} leads back to itself")
    if name in environment:
        return environment[name]
    found = lookup(name)
    if found is not None:
        return resolve(found, environment, lookup, (*within, name))
    if colon:
        return resolve(default, environment, lookup, within)
    raise PlaceholderError(
        f"the placeholder ${{{name}}} names neither an environment variable nor a setting; "
        f"define it, or give a default as in ${{{name}:value}}"
    )
