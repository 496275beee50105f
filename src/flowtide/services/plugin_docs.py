"""The catalogue of plugins: a registry in, groups, documentation and icons as the API of 1.3 gives them out.

Everything comes from the classes.  The catalogue keeps what it made, because classes do not change while a server runs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, get_args

from flowtide.model.flow import PluginDefault
from flowtide.model.inputs import AnyInput
from flowtide.model.plugin import Part, Plugin, PluginKind, Registry
from flowtide.model.task import FlowableTask
from flowtide.services.plugin_schemas import dashboard_schema, flow_schema, part_schema

LISTS: Mapping[PluginKind, str] = {
    "task": "tasks",
    "trigger": "triggers",
    "condition": "conditions",
    "runner": "taskRunners",
    "chart": "charts",
    "data": "dataFilters",
}
_KPI_LIST = "dataFiltersKPI"
_EMPTY = (
    "controllers", "storages", "secrets", "apps", "appBlocks", _KPI_LIST, "logExporters", "additionalPlugins",
    "guides", "aliases",
)  # fmt: skip  # reads better as a paragraph
_GLYPHS: Mapping[PluginKind, str] = {
    "task": "M4 5h16v14H4z",
    "trigger": "M13 2 5 14h6l-1 8 8-12h-6z",
    "condition": "M12 3 21 12 12 21 3 12z",
    "runner": "M7 4l12 8-12 8z",
    "chart": "M4 20V10h4v10zM10 20V4h4v16zM16 20v-7h4v7z",
    "data": "M4 5h16v4H4zM4 11h16v4H4zM4 17h16v3H4z",
}


_MOST_TYPES = 6  # that are named in a cell


def group_of(name: str) -> str:
    """The plugin group of a type: its first four segments, of scripts the first five."""
    segments = name.split(".")
    count = 5 if segments[:4] == ["io", "kestra", "plugin", "scripts"] else 4
    return ".".join(segments[: min(count, len(segments) - 1)]) or name


def package_of(name: str) -> str:
    """The package of a type: all but its last segment."""
    return name.rpartition(".")[0] or name


class PluginCatalogue:
    """What a server tells of its plugins."""

    def __init__(self, registry: Registry, version: str) -> None:
        self._registry = registry
        self._version = version
        self._documented: dict[str, dict[str, Any]] = {}

    @cached_property
    def flow_schema(self) -> dict[str, Any]:
        """The JSON Schema of a flow with every plugin."""
        return flow_schema(self._registry)

    @cached_property
    def dashboard_schema(self) -> dict[str, Any]:
        """The JSON Schema of a dashboard with every chart and data source."""
        return dashboard_schema(self._registry)

    def schema(self, kind: str) -> dict[str, Any] | None:
        """The JSON Schema of a `flow`, `task`, `trigger`, `template`, `plugindefault`, `dashboard` or `chart`.

        None for another kind.
        """
        if kind == "dashboard":
            return self.dashboard_schema
        if kind == "chart":
            return {**self.dashboard_schema, "title": "Chart", "$ref": "#/$defs/AnyChart"}
        root = self.flow_schema
        inner = {"task": "AnyTask", "trigger": "AnyTrigger"}.get(kind)
        if kind == "flow":
            return root
        if inner is not None:
            return {**root, "title": kind.capitalize(), "$ref": f"#/$defs/{inner}"}
        if kind == "template":
            flow = root["$defs"]["Flow"]
            names = ("id", "namespace", "description", "tasks", "errors")
            properties = {name: flow["properties"][name] for name in names}
            template = {**flow, "properties": properties, "required": ["id", "namespace", "tasks"]}
            return {"$schema": root["$schema"], "title": "Template", **template, "$defs": root["$defs"]}
        if kind == "plugindefault":
            schema, definitions = part_schema(PluginDefault)
            return {"$schema": root["$schema"], **schema, "title": "PluginDefault", "$defs": definitions}
        return None

    def find(self, name: str) -> tuple[PluginKind, str, type[Plugin]] | None:
        """The kind, present name and class of a type, also of a former name."""
        for kind in get_args(PluginKind):
            if self._registry.has(kind, name):
                plugin = self._registry.find(kind, name)
                if plugin is not None:
                    return kind, self._registry.current_name(kind, name), plugin
        return None

    def documentation(self, name: str) -> dict[str, Any] | None:
        """`markdown` and `schema` of a type; None when there is none."""
        found = self.find(name)
        if found is None:
            return None
        kind, current, plugin = found
        if current not in self._documented:
            properties, definitions = part_schema(plugin)
            outputs = {
                each: {"type": type_, "title": what} if type_ != "any" else {"title": what}
                for each, (type_, what) in plugin.gives.items()
            }
            self._documented[current] = {
                "markdown": markdown(kind, current, plugin),
                "schema": {
                    "properties": properties,
                    "outputs": {"properties": outputs},
                    "definitions": definitions,
                },
            }
        return self._documented[current]

    @cached_property
    def inputs(self) -> Mapping[str, type[Part]]:
        """The classes of inputs by type."""
        types: dict[str, type[Part]] = {}
        for member in _members(AnyInput):
            for name in get_args(member.model_fields["type"].annotation):
                types[name] = member
        return dict(sorted(types.items()))

    def input_documentation(self, name: str) -> dict[str, Any] | None:
        """`markdown` and `schema` of an input type; None when there is none."""
        part = self.inputs.get(name.upper())
        if part is None:
            return None
        properties, definitions = part_schema(part)
        text = f"# {name.upper()}\n\n{(part.__doc__ or '').strip()}\n\n{property_table(part)}"
        return {
            "markdown": text,
            "schema": {"properties": properties, "outputs": {}, "definitions": definitions},
        }

    def groups(self, *, packages: bool = False) -> list[dict[str, Any]]:
        """The plugin groups, or with `packages` their packages, each with its types."""
        found: dict[str, dict[str, Any]] = {}
        for kind, name, plugin in self._registry:
            place = package_of(name) if packages else group_of(name)
            entry = found.setdefault(place, self._group(place, group_of(name)))
            element = {
                "cls": name,
                "deprecated": bool(plugin.deprecated),
                "title": plugin.title,
                "description": (plugin.__doc__ or "").strip(),
            }
            entry[_KPI_LIST if kind == "data" and name.endswith("KPI") else LISTS[kind]].append(element)
            entry["aliases"] += plugin.aliases
        return [found[place] for place in sorted(found)]

    def _group(self, place: str, group: str) -> dict[str, Any]:
        name = place.removeprefix("io.kestra.plugin.")
        entry: dict[str, Any] = {
            "name": name,
            "title": name.rpartition(".")[2].capitalize(),
            "group": group,
            "version": self._version,
            "manifest": {},
            "categories": ["SCRIPT"] if ".scripts" in place else ["CORE"],
            **{each: [] for each in (*_EMPTY, *LISTS.values())},
        }
        if place != group:
            entry["subGroup"] = place
        return entry

    def triggers(self) -> list[dict[str, Any]]:
        """The trigger types, for a list to choose from."""
        return [
            {
                "type": name,
                "name": name.rpartition(".")[2],
                "pluginTitle": group_of(name).rpartition(".")[2].capitalize(),
                "description": plugin.title,
                "ee": False,
                "deprecated": bool(plugin.deprecated),
            }
            for kind, name, plugin in self._registry
            if kind == "trigger"
        ]

    @cached_property
    def icons(self) -> Mapping[str, dict[str, Any]]:
        """The icon of every type."""
        return {
            name: {
                "name": name.rpartition(".")[2],
                "icon": base64.b64encode(icon_svg(name, kind).encode()).decode(),
                "flowable": issubclass(plugin, FlowableTask),
            }
            for kind, name, plugin in self._registry
        }

    @cached_property
    def group_icons(self) -> Mapping[str, dict[str, Any]]:
        """The icon of every group and package."""
        places = {place for _, name, _ in self._registry for place in (group_of(name), package_of(name))}
        return {
            place: {
                "name": place,
                "icon": base64.b64encode(icon_svg(place + ".", "task").encode()).decode(),
                "flowable": False,
            }
            for place in sorted(places)
        }

    @property
    def version(self) -> str:
        """The version of the plugins: that of the server, as they come with it."""
        return self._version


def _members(annotation: Any) -> list[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [member for each in get_args(annotation) for member in _members(each)]


def icon_svg(name: str, kind: PluginKind) -> str:
    """A simple icon: a square in the colour of the package, with the sign of the kind and the type's first letter."""
    hue = int(hashlib.sha256(package_of(name).encode()).hexdigest(), 16) % 360
    letter = (name.rpartition(".")[2] or package_of(name).rpartition(".")[2])[:1].upper()
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
        f'<rect width="24" height="24" rx="5" fill="hsl({hue},55%,42%)"/>'
        f'<path d="{_GLYPHS[kind]}" fill="hsl({hue},55%,62%)"/>'
        '<text x="12" y="16.5" font-family="sans-serif" font-size="12" font-weight="bold" text-anchor="middle" '
        f'fill="white">{letter}</text></svg>'
    )


def markdown(kind: PluginKind, name: str, plugin: type[Plugin], *, level: int = 1) -> str:
    """The documentation of one type, in Markdown, its heading at `level`."""
    heading = "#" * level
    parts = [f"{heading} {name.rpartition('.')[2]}", f"`type: {name}`"]
    if plugin.deprecated:
        parts.append(f"**Deprecated**: {plugin.deprecated}.")
    parts.append(plugin.title.rstrip(".") + "." if plugin.title else "")
    if plugin.example:
        parts.append(f"```yaml\n{plugin.example.strip()}\n```")
    of_flows = kind not in ("chart", "data")
    parts.append(property_table(plugin, without=common_fields(plugin), templates=of_flows))
    if plugin.gives:
        word = "Variables, as `trigger.<name>`" if kind == "trigger" else "Outputs"
        rows = "\n".join(f"| `{each}` | {type_} | {what} |" for each, (type_, what) in plugin.gives.items())
        parts.append(f"{word}:\n\n| name | type | what |\n|---|---|---|\n{rows}")
    if plugin.metrics:
        parts.append(
            "Metrics: " + ", ".join(f"`{each}` ({type_})" for each, type_ in plugin.metrics.items()) + "."
        )
    if plugin.aliases:
        parts.append("Former names: " + ", ".join(f"`{each}`" for each in plugin.aliases) + ".")
    return "\n\n".join(part for part in parts if part) + "\n"


def common_fields(plugin: type[Part]) -> frozenset[str]:
    """The fields that all of its kind have, which pages explain once."""
    from flowtide.model.task import Task
    from flowtide.model.trigger import Trigger

    for base in (Task, Trigger, Plugin):
        if issubclass(plugin, base):
            return frozenset(base.model_fields)
    return frozenset()


def property_table(part: type[Part], *, without: frozenset[str] = frozenset(), templates: bool = True) -> str:
    """The properties as a table in Markdown; empty when there are none.  `templates`: whether any are rendered."""
    schema, _ = part_schema(part)
    left_out = {_yaml(part, name) for name in without}
    rows = []
    for name, shown in schema["properties"].items():
        if name in left_out:
            continue
        words = ("required", "dynamic", "deprecated") if templates else ("required", "deprecated")
        notes = [word for word in words if shown.get(f"${word}")]
        if "default" in shown and shown["default"] not in (None, (), [], {}):
            notes.append(f"default `{_shown(shown['default'])}`")
        texts = [str(shown.get(each, "")).strip().rstrip(".") for each in ("title", "description")]
        what = ". ".join(dict.fromkeys(text for text in texts if text))
        rows.append(f"| `{name}` | {_type(shown)} | {_cell(what)} | {_cell(', '.join(notes))} |")
    return "| property | type | what | notes |\n|---|---|---|---|\n" + "\n".join(rows) if rows else ""


def _yaml(part: type[Part], name: str) -> str:
    from flowtide.model.deprecations import present_name

    return present_name(name, part.model_fields[name])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("\n", "\\n")


def _type(schema: Mapping[str, Any]) -> str:
    """The type of a property in words."""
    if "x-plugin" in schema:
        return str(schema["x-plugin"])
    if "enum" in schema:
        return " \\| ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            words = [_type(each) for each in schema[word] if each.get("type") != "null"]
            if len(words) > _MOST_TYPES:
                return (
                    "input" if all(each.endswith("Input") for each in words) else f"one of {len(words)} types"
                )
            return " or ".join(dict.fromkeys(words)) or "any"
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_type(items)}" if isinstance(items, dict) and items else "list"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"map of {_type(inner)}" if isinstance(inner, dict) and inner else "map"
    if schema.get("format") == "duration":
        return "duration"
    return {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}.get(
        str(schema.get("type")), "any"
    )
