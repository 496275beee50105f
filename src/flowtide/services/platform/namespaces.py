"""Namespaces as they are saved: what they hand down to the ones below them, and whom they let at what is theirs.

In come records of the catalog; out go variables, plugin defaults and answers to "may it?".  No state but a cache of
decoded records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from flowtide.errors import NamespaceForbidden, ValueInvalid
from flowtide.model.flow import PluginDefault
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.catalog import Catalog

NAMESPACE_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_LONGEST: Final = 150  # characters, as in a flow
_DEEPEST_VARIABLES: Final = 100


class Namespaces:
    """The namespaces of one tenant."""

    def __init__(self, catalog: Catalog, tenant: str) -> None:
        self._catalog = catalog
        self._tenant = tenant
        self._decoded: dict[str, tuple[Resource, Mapping[str, Any]]] = {}

    def find(self, name: str) -> Mapping[str, Any] | None:
        """What was saved for a namespace, as it was sent; None when nothing was."""
        resource = self._catalog.get(ResourceKind.NAMESPACE, self._tenant, name)
        if resource is None or resource.deleted:
            return None
        kept = self._decoded.get(name)
        if kept is None or kept[0] is not resource:
            kept = self._decoded[name] = (resource, msgspec.json.decode(resource.body))
        return kept[1]

    def saved(self) -> Iterator[str]:
        """The names of the namespaces that were saved, sorted."""
        for name, _ in self._catalog.list(ResourceKind.NAMESPACE, self._tenant):
            yield name

    def names(self) -> list[str]:
        """The namespaces that were saved or have flows, and those above them, sorted (NSP-03)."""
        found: set[str] = set()
        for name in (*self._catalog.namespaces(self._tenant), *self.saved()):
            found.update(lineage(name))
        return sorted(found)

    def variables(self, name: str, *, own: bool = True) -> dict[str, Any]:
        """The variables that flows of a namespace see: its own over those of the namespaces above it (V32).

        A name with dots is nested: `github.token` is read as `namespace.github.token`.
        """
        merged: dict[str, Any] = {}
        for each in lineage(name)[: None if own else -1]:
            saved = self.find(each)
            given = (saved or {}).get("variables")
            if isinstance(given, Mapping):
                merged = _merged(merged, _nested(given))
        return merged

    def plugin_defaults(self, name: str) -> list[Sequence[PluginDefault]]:
        """The plugin defaults of a namespace and of those above it, the nearest first (PLD-04)."""
        return [plugin_defaults_of(self.find(each) or {}) for each in reversed(lineage(name))]

    def check_access(self, reader: str | None, owner: str) -> None:
        """Insist that flows of `reader` may use what `owner` has; None is whoever the API has let in.

        A namespace without a list of allowed ones lets all in, unless one above it has a list (NSP-06, NSM-13).
        Raises NamespaceForbidden.
        """
        if reader is None or reader == owner:
            return
        for each in reversed(lineage(owner)):
            allowed = (self.find(each) or {}).get("allowedNamespaces")
            if allowed is None:
                continue
            names = [str(entry.get("namespace")) for entry in allowed if isinstance(entry, Mapping)]
            if any(reader == name or reader.startswith(f"{name}.") for name in names):
                return
            raise NamespaceForbidden(
                f"the namespace `{owner}` does not let flows of `{reader}` use its flows, pairs, files and secrets; "
                f"add `{reader}` to the allowed namespaces of `{each}`"
            )


def lineage(name: str) -> list[str]:
    """A namespace and those above it, the outermost first: `a`, `a.b`, `a.b.c`.

    A text that is too long for a namespace has none above it: the work for all its beginnings grows with its square.
    """
    if len(name) > _LONGEST:
        return [name]
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def checked_name(name: str) -> str:
    """Insist on the name of a namespace.  Raises ValueInvalid."""
    if len(name) > _LONGEST or NAMESPACE_PATTERN.fullmatch(name) is None:
        raise ValueInvalid(
            f"{name[:200]!r} is no namespace: use lower-case letters, digits, `.`, `_` and `-`, "
            f"at most {_LONGEST} characters"
        )
    return name


def checked_document(document: Mapping[str, Any], name: str) -> None:
    """Insist that a namespace can be used as it was sent.  Raises ValueInvalid."""
    checked_name(name)
    if document.get("id", name) != name:
        raise ValueInvalid(f"the body is of the namespace `{document.get('id')}`, not of `{name}`")
    variables = document.get("variables") or {}
    if not isinstance(variables, Mapping):
        raise ValueInvalid("`variables` must be a mapping")
    if _levels(variables) > _DEEPEST_VARIABLES:
        raise ValueInvalid(f"`variables` have more than {_DEEPEST_VARIABLES} levels, dots in names counted")
    plugin_defaults_of(document)
    allowed = document.get("allowedNamespaces")
    if allowed is not None and not (
        isinstance(allowed, list)
        and all(isinstance(each, Mapping) and isinstance(each.get("namespace"), str) for each in allowed)
    ):
        raise ValueInvalid("`allowedNamespaces` must be a list of mappings with `namespace`")


def plugin_defaults_of(document: Mapping[str, Any]) -> list[PluginDefault]:
    """The plugin defaults of a namespace's document.  Raises ValueInvalid."""
    defaults = []
    for index, entry in enumerate(document.get("pluginDefaults") or ()):
        try:
            defaults.append(PluginDefault.model_validate(entry))
        except ValidationError as error:
            reasons = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            )
            raise ValueInvalid(f"`pluginDefaults[{index}]`: {reasons}") from None
    return defaults


def _levels(value: Any) -> int:
    """How many levels a value has once dots in its names part them."""
    if not isinstance(value, Mapping):
        return 0
    return max((str(key).count(".") + 1 + _levels(each) for key, each in value.items()), default=0)


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in given.items():
        inner: Any = _nested(value) if isinstance(value, Mapping) else value
        for part in reversed(str(key).split(".")):
            inner = {part: inner}
        nested = _merged(nested, inner)
    return nested


def _merged(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(weak)
    for key, value in strong.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(known, value) if both else value  # type: ignore[arg-type]  # `both` says it
    return merged
