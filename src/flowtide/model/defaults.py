"""Plugin defaults: properties that a flow or an instance gives to all plugins of a type (page 469)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowtide.model.flow import PluginDefault
from flowtide.model.plugin import Plugin, properties
from flowtide.model.task import FlowableTask

_NEVER_FOR_MANY = frozenset({"id", "type"})


class PluginDefaults:
    """Merges defaults into what a person wrote.

    The strongest first: forced ones of the instance, forced ones of namespaces from the outermost one inwards,
    forced ones of the flow, the plugin's own properties, the flow's defaults, those of namespaces from the nearest
    one outwards, the instance's (PLD-02, PLD-04).  Of two on one level the longer type is stronger, then the
    earlier one.
    """

    def __init__(
        self,
        flow: Sequence[PluginDefault],
        instance: Sequence[PluginDefault],
        namespaces: Sequence[Sequence[PluginDefault]] = (),
    ) -> None:
        """`namespaces` are the lists of the flow's namespace and of those above it, the nearest first."""
        self._weak: list[PluginDefault] = []
        for level in (flow, *namespaces, instance):
            self._weak += _by_length(level, forced=False)
        self._strong: list[PluginDefault] = []
        for level in (instance, *reversed(namespaces), flow):
            self._strong += _by_length(level, forced=True)

    def __bool__(self) -> bool:
        return bool(self._weak or self._strong)

    def apply(self, name: str, plugin: type[Plugin], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`given` with the defaults for its type, which is now called `name`; what is given is not changed.

        A default for a prefix of the type leaves out properties that the plugin does not have: it is for many.
        """
        names = (name, *plugin.aliases)
        merged = given
        for default in self._weak:
            values = _values(default, names, plugin)
            if values:
                merged = merge(values, merged)
        for default in reversed(self._strong):
            values = _values(default, names, plugin)
            if values:
                merged = merge(merged, values)
        return merged


def merge(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings in one, maps within maps too; `strong` wins, lists are replaced whole.

    So is a plugin of another type, such as a task's runner: its properties are not those of the default.
    """
    merged = dict(weak)
    for key, value in strong.items():
        known = merged.get(key)
        merged[key] = (
            merge(known, value)
            if isinstance(known, Mapping) and isinstance(value, Mapping) and not _other_type(known, value)
            else value
        )
    return merged


def _other_type(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> bool:
    return "type" in weak and "type" in strong and weak["type"] != strong["type"]


def _by_length(defaults: Sequence[PluginDefault], *, forced: bool) -> list[PluginDefault]:
    return sorted((each for each in defaults if each.forced is forced), key=lambda each: -len(each.type))


def _values(default: PluginDefault, names: Sequence[str], plugin: type[Plugin]) -> Mapping[str, Any]:
    if default.type in names:
        return default.values
    prefix = default.type.removesuffix(".") + "."
    if any(name.startswith(prefix) for name in names):
        known = properties(plugin)
        # A retry for many is for the tasks that workers run: flowable tasks around them would multiply the attempts.
        left_out = _NEVER_FOR_MANY | {"retry"} if issubclass(plugin, FlowableTask) else _NEVER_FOR_MANY
        return {key: value for key, value in default.values.items() if key in known and key not in left_out}
    return {}
