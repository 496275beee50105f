"""Where settings come from: files, one variable with a whole document, single variables, the command line.

All of them become leaves: the path of a key in its canonical spelling, the value, and where it was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml

from flowtide.errors import SettingsError
from flowtide.settings.fields import OTHER_ROOTS, Setting, canonical, environment_name, walk
from flowtide.settings.table import Table

KeyPath = tuple[str, ...]

_DOCUMENTS = ("KESTRA_CONFIGURATION", "FLOWTIDE_CONFIGURATION")
_DEFAULT_FILES = (
    ".flowtide/config.yml",
    ".flowtide/config.yaml",
    ".kestra/config.yml",
    ".kestra/config.yaml",
)
_VARIABLE_ROOTS = ("FLOWTIDE", "KESTRA", *(root.upper() for root in OTHER_ROOTS))


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A value and where it was found (`config.yml`, `environment variable KESTRA_URL`)."""

    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One spelling of a setting's key, split at its dots, and the setting that it means."""

    segments: KeyPath
    setting: Setting

    def matches(self, path: Sequence[str]) -> bool:
        """Whether the path is this key, or, for maps, this key is its beginning."""
        return len(path) >= len(self.segments) and all(
            wanted in ("*", found) for wanted, found in zip(self.segments, path, strict=False)
        )


@cache
def all_settings() -> tuple[Setting, ...]:
    """Every setting, in the order of the table."""
    return tuple(walk(Table))


@cache
def patterns() -> tuple[Pattern, ...]:
    """Every spelling of every key; those with a `*` last, so that exact keys win."""
    found = [
        Pattern(segments=tuple(key.split(".")), setting=setting)
        for setting in all_settings()
        for key in setting.keys
    ]
    return tuple(sorted(found, key=lambda pattern: "*" in pattern.segments))


def match(path: KeyPath) -> Pattern | None:
    """The key that a complete path is, or lies below of for maps."""
    for pattern in patterns():
        is_map = pattern.setting.shape != "values"
        if pattern.matches(path) and (is_map or len(path) == len(pattern.segments)):
            return pattern
    return None


def _verbatim(path: KeyPath) -> bool:
    """Whether what follows this path keeps its spelling and its dots."""
    return any(
        pattern.setting.shape == "verbatim" and len(pattern.segments) == len(path) and pattern.matches(path)
        for pattern in patterns()
    )


def _after_star(path: KeyPath) -> bool:
    """Whether the next segment is a name that somebody chose."""
    return any(
        len(pattern.segments) > len(path)
        and pattern.segments[len(path)] == "*"
        and pattern.matches((*path, *pattern.segments[len(path) :]))
        for pattern in patterns()
    )


def _known_below(path: KeyPath, segment: str) -> bool:
    following = (*path, segment)
    return any(
        pattern.segments[: len(following)] == following
        for pattern in patterns()
        if len(pattern.segments) > len(path)
    )


def flatten(node: Mapping[Any, Any], origin: str, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Leaf]]:
    """The leaves of a document, keys in canonical spelling, `kestra` read as `flowtide` (which wins)."""
    names = sorted(node, key=lambda name: str(name).split(".", 1)[0] != "kestra") if not path else list(node)
    for name in names:
        where, rest = path, str(name)
        while rest:
            if _verbatim(where):
                # `topics.executions.properties."retention.ms"` may stand on one line
                yield from _verbatim_leaves(where, rest.strip('"'), node[name], origin)
                break
            raw, _, rest = rest.partition(".")
            segment = canonical(raw)
            if not where and segment == "kestra":
                segment = "flowtide"
            elif _after_star(where) and not _known_below(where, segment):
                segment = raw
            where = (*where, segment)
        else:
            value = node[name]
            if isinstance(value, Mapping):
                if _verbatim(where):
                    for key, part in value.items():
                        yield from _verbatim_leaves(where, str(key), part, origin)
                else:
                    yield from flatten(value, origin, where)
            elif value is not None:
                yield where, Leaf(value=value, origin=origin)


def _verbatim_leaves(path: KeyPath, key: str, value: Any, origin: str) -> Iterator[tuple[KeyPath, Leaf]]:
    found = match((*path, key))
    item = get_args(found.setting.annotation)[-1] if found is not None else Any
    if isinstance(value, Mapping) and item is not Any:
        for name, part in value.items():
            yield from _verbatim_leaves(path, f"{key}.{name}", part, origin)
    else:
        yield (*path, key), Leaf(value=value, origin=origin)


def primary(path: KeyPath) -> KeyPath:
    """The path under the setting's first key: `micronaut.server.port` is `flowtide.server.port`."""
    found = match(path)
    if found is None:
        return path
    chosen = iter([part for wanted, part in zip(found.segments, path, strict=False) if wanted == "*"])
    first = tuple(next(chosen) if part == "*" else part for part in found.setting.keys[0].split("."))
    return (*first, *path[len(found.segments) :])


def read_document(text: str, origin: str) -> dict[KeyPath, Leaf]:
    """The leaves of a YAML document. Raises SettingsError with line and column when it is none."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise SettingsError(
            [f"{origin}{place} is not valid YAML: {getattr(error, 'problem', error)}"]
        ) from None
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise SettingsError(
            [f"{origin} must be a map of settings (`flowtide:` ...), not {type(document).__name__}"]
        )
    leaves: dict[KeyPath, Leaf] = {}
    flat = list(flatten(document, origin))
    for path, leaf in flat:
        leaves[primary(path)] = leaf
    # the first spelling of a key wins over its aliases in the same document
    return leaves | {path: leaf for path, leaf in flat if primary(path) == path}


def read_files(files: Sequence[Path]) -> dict[KeyPath, Leaf]:
    """The leaves of several files, later files over earlier ones (CFG-16). Raises SettingsError."""
    leaves: dict[KeyPath, Leaf] = {}
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise SettingsError([f"the file of settings {file} cannot be read: {reason}"]) from None
        leaves.update(read_document(text, str(file)))
    return leaves


def default_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The file in the home directory if there is one (CFG-3)."""
    home = environment.get("HOME") or environment.get("USERPROFILE")
    if not home:
        return ()
    return next(((Path(home) / name,) for name in _DEFAULT_FILES if (Path(home) / name).is_file()), ())


@cache
def _variables() -> tuple[dict[str, KeyPath], tuple[tuple[re.Pattern[str], Pattern], ...]]:
    exact: dict[str, KeyPath] = {}
    open_ended: list[tuple[re.Pattern[str], Pattern]] = []
    for pattern in patterns():
        name = environment_name(".".join(pattern.segments))
        if "*" in pattern.segments or pattern.setting.shape != "values":
            tail = "_(.+)" if pattern.setting.shape != "values" else ""
            # a chosen name in the middle of a key may hold underscores; at its end (storage.*) it may not
            star = "([A-Z0-9]+)" if pattern.segments[-1] == "*" else "(.+?)"
            open_ended.append((re.compile(name.replace("*", star) + tail), pattern))
        else:
            exact[name] = pattern.segments
    return exact, tuple(open_ended)


def variable_names() -> tuple[str, ...]:
    """The environment variables of all keys that are written out."""
    return tuple(_variables()[0])


def _variable_path(name: str) -> KeyPath | None:
    exact, open_ended = _variables()
    if name in exact:
        return exact[name]
    for expression, pattern in open_ended:
        found = expression.fullmatch(name)
        if found is None:
            continue
        parts = [part.lower() for part in found.groups()]
        path = tuple(parts.pop(0) if segment == "*" else segment for segment in pattern.segments)
        if pattern.setting.shape == "tree":
            return (*path, *(part.replace("_", "-") for part in parts))
        if pattern.setting.shape == "verbatim":
            text_map = get_args(pattern.setting.annotation)[-1] is not Any
            return (*path, *(part.replace("_", ".") if text_map else part for part in parts))
        return path
    return None


def read_variables(environment: Mapping[str, str]) -> tuple[dict[KeyPath, Leaf], list[str]]:
    """The leaves of single variables (CFG-5), and the names that begin like ours and mean nothing.

    `FLOWTIDE_X` wins over `KESTRA_X`.
    """
    leaves: dict[KeyPath, Leaf] = {}
    unknown: list[str] = []
    for name in sorted(environment, key=lambda name: (name.startswith("FLOWTIDE_"), name)):
        if name.split("_", 1)[0] not in _VARIABLE_ROOTS or "_" not in name or name in _DOCUMENTS:
            continue
        path = _variable_path("FLOWTIDE_" + name[7:] if name.startswith("KESTRA_") else name)
        if path is None:
            unknown.append(name)
        else:
            leaves[primary(path)] = Leaf(value=environment[name], origin=f"environment variable {name}")
    return leaves, unknown


def read_documents(environment: Mapping[str, str]) -> dict[KeyPath, Leaf]:
    """The leaves of the variables that hold a whole document (CFG-1). Raises SettingsError."""
    leaves: dict[KeyPath, Leaf] = {}
    for name in _DOCUMENTS:
        if environment.get(name, "").strip():
            leaves.update(read_document(environment[name], f"environment variable {name}"))
    return leaves
