"""How one setting is described: a dataclass field that carries its key, unit and help; no state."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

#: Trees beside `flowtide` that settings may stand in (CFG-7). A key that starts with one of them is in full.
OTHER_ROOTS = ("micronaut", "endpoints", "logger", "otel")

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of the table of settings.

    `key` is relative to `flowtide.` unless it starts with one of `OTHER_ROOTS`; a `*` segment stands for
    any name. `also` are further keys with the same meaning; `key` wins. `path` are the attribute names of
    the value. `shape` says how a map is read: `verbatim` keeps the keys below `key` as written (as
    Kafka's), `tree` keeps a subtree with its keys in kebab-case, `values` is any other value.
    """

    key: str
    annotation: Any
    default: Any
    help: str
    path: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    unit: str = ""
    shape: str = "values"
    secret: bool = False
    shown_default: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of the setting in full, the one that wins first."""
        return tuple(full_key(key) for key in (self.key, *self.also))


def full_key(key: str) -> str:
    """The key with its root: `queue.type` is `flowtide.queue.type`."""
    return key if key.split(".", 1)[0] in OTHER_ROOTS else f"flowtide.{key}"


def canonical(segment: str) -> str:
    """One segment of a key in kebab-case: `accessKey` and `access_key` are `access-key`."""
    return _CAMEL.sub("-", segment).replace("_", "-").lower()


def environment_name(key: str) -> str:
    """The environment variable of a key: `flowtide.data-path` is `FLOWTIDE_DATA_PATH`."""
    return key.replace(".", "_").replace("-", "_").upper()


def setting(
    key: str,
    default: Any,
    help: str,  # noqa: A002 - the word that the table and its reference page use
    *,
    also: tuple[str, ...] = (),
    unit: str = "",
    shape: str = "values",
    secret: bool = False,
    shown_default: str | None = None,
) -> Any:
    """A dataclass field that is a setting; `shown_default` is for the reference, where it is computed."""
    metadata = {
        "setting": {
            "key": key,
            "help": help,
            "also": also,
            "unit": unit,
            "shape": shape,
            "secret": secret,
            "shown_default": shown_default,
        }
    }
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata, repr=not secret)
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def walk(group: type, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """All settings of a group class and of the groups within it, in the order in which they are written."""
    hints = get_type_hints(group)
    for field in dataclasses.fields(group):
        annotation = hints[field.name]
        if "setting" in field.metadata:
            default = field.default
            if default is dataclasses.MISSING:
                assert field.default_factory is not dataclasses.MISSING
                default = field.default_factory()
            yield Setting(
                annotation=annotation, default=default, path=(*path, field.name), **field.metadata["setting"]
            )
        elif dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            yield from walk(annotation, (*path, field.name))
