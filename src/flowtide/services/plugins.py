"""Plugin discovery: the entry points of all installed packages in, a Registry out.

A plugin's module is imported when a flow first names its type, so that a start does not pay for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from flowtide.model.plugin import Plugin, PluginKind, Registry

GROUPS: Mapping[str, PluginKind] = {
    "flowtide.tasks": "task",
    "flowtide.triggers": "trigger",
    "flowtide.conditions": "condition",
    "flowtide.runners": "runner",
    "flowtide.charts": "chart",
    "flowtide.data": "data",
}
FORMER_NAMES_GROUP = "flowtide.former_names"  # former type name -> `kind:current type name`


class PluginConflict(ValueError):
    """Two installed packages offer the same type."""


def discover_plugins(found: Iterable[EntryPoint] | None = None) -> Registry:
    """The registry of all installed plugins.

    `found` replaces the installed entry points, for tests.  Raises PluginConflict, naming both packages.
    """
    points = _installed() if found is None else list(found)
    plugins: dict[tuple[PluginKind, str], type[Plugin] | Callable[[], type[Plugin]]] = {}
    owners: dict[tuple[PluginKind, str], EntryPoint] = {}
    former: dict[tuple[PluginKind, str], str] = {}
    for point in points:
        if point.group == FORMER_NAMES_GROUP:
            kind, _, name = point.value.partition(":")
            former[_kind(kind, point), point.name] = name
        elif point.group in GROUPS:
            key = (GROUPS[point.group], point.name)
            other = owners.setdefault(key, point)
            if other.value != point.value:
                raise PluginConflict(
                    f"the {key[0]} type `{point.name}` is offered twice, by {_owner(other)} and by "
                    f"{_owner(point)}: remove one of the packages"
                )
            plugins[key] = point.load
    return Registry(plugins, former_names=former)


def _installed() -> list[EntryPoint]:
    return [point for group in (*GROUPS, FORMER_NAMES_GROUP) for point in entry_points(group=group)]


def _kind(text: str, point: EntryPoint) -> PluginKind:
    for kind in GROUPS.values():
        if kind == text:
            return kind
    raise PluginConflict(
        f"the entry point `{point.name}` of {_owner(point)} names no kind of plugin: {point.value}"
    )


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value
