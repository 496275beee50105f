"""JSON Schemas of what people write: plugin classes in, the schema of a flow, a dashboard and one plugin out.

The schema of a document is discriminated by `type`, so that an editor completes the properties of every plugin.
No state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from flowtide.model.dashboards.dashboard import Dashboard
from flowtide.model.deprecations import deprecation_of, former_names, present_name
from flowtide.model.flow import Flow
from flowtide.model.plugin import Part, Plugin, PluginKind, Registry

_KINDS: Mapping[PluginKind, str] = {
    "task": "AnyTask",
    "trigger": "AnyTrigger",
    "condition": "AnyCondition",
    "runner": "AnyTaskRunner",
    "chart": "AnyChart",
    "data": "AnyData",
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STATIC = frozenset(
    {"id", "type", "version", "description", "logLevel", "logToFile", "disabled", "allowConcurrent"}
)


def flow_schema(registry: Registry) -> dict[str, Any]:
    """The JSON Schema of the YAML of flows, with every plugin of `registry` that a flow can name."""
    return _document_schema(registry, Flow, ("task", "trigger", "condition", "runner"))


def dashboard_schema(registry: Registry) -> dict[str, Any]:
    """The JSON Schema of the YAML of dashboards, with every chart and data source of `registry`."""
    return _document_schema(registry, Dashboard, ("chart", "data"))


def _document_schema(
    registry: Registry, root_class: type[Part], kinds: Sequence[PluginKind]
) -> dict[str, Any]:
    plugins = [
        (kind, name, plugin)
        for kind in sorted(kinds)
        for name in registry.names(kind)
        if (plugin := registry.find(kind, name)) is not None
    ]
    classes: list[type[Part]] = list(dict.fromkeys([root_class, *(plugin for _, _, plugin in plugins)]))
    references, collected = models_json_schema([(each, "validation") for each in classes])
    definitions: dict[str, Any] = collected["$defs"]
    members: dict[PluginKind, list[dict[str, str]]] = {kind: [] for kind in kinds}
    for kind, name, plugin in plugins:
        reference = references[plugin, "validation"]
        definition = definitions[reference["$ref"].rpartition("/")[2]]
        names = [name, *plugin.aliases]
        definition["properties"]["type"] = {"enum": names} if len(names) > 1 else {"const": name}
        if plugin.title:
            definition["title"] = plugin.title
        members[kind].append({"$ref": reference["$ref"]})
    for kind in kinds:
        # Without any plugin of a kind nothing is valid there.
        definitions[_KINDS[kind]] = {"anyOf": members[kind]} if members[kind] else False
    root: dict[str, Any] = {
        "$schema": _DIALECT,
        "title": root_class.__name__,
        "$ref": references[root_class, "validation"]["$ref"],
        "$defs": dict(sorted(definitions.items())),
    }
    resolved: dict[str, Any] = _with_plugins(root)
    return resolved


def part_schema(part: type[Part]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of one plugin or input, with what interfaces show beside it, and the definitions that it names.

    Properties carry `$dynamic` (a template may stand there), `$required` and `$deprecated`; former names of
    properties are left out.
    """
    references, collected = models_json_schema([(part, "validation")])
    definitions: dict[str, Any] = collected.get("$defs", {})
    schema = definitions.pop(references[part, "validation"]["$ref"].rpartition("/")[2])
    schema = _loosely(schema)
    properties: dict[str, Any] = {}
    for name, field in part.model_fields.items():
        yaml_name = present_name(name, field)
        given = schema["properties"].get(yaml_name) or schema["properties"].get(field.alias or name) or {}
        shown = dict(given)
        if yaml_name not in _STATIC and _takes_text(shown):
            shown["$dynamic"] = True
        if field.is_required():
            shown["$required"] = True
        said = deprecation_of(field)
        if said is not None:
            shown["$deprecated"] = True
        if field.title:
            shown["title"] = field.title
        if aliases := former_names(name, field):
            shown["$formerNames"] = aliases
        properties[yaml_name] = shown
    required = [name for name, shown in properties.items() if shown.get("$required")]
    result: dict[str, Any] = {
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "required": required,
    }
    if issubclass(part, Plugin):
        if part.title:
            result["title"] = part.title
        if part.__doc__:
            result["description"] = part.__doc__.strip()
        if part.example:
            result["$examples"] = [{"title": part.title, "code": part.example, "lang": "yaml", "full": True}]
        if part.metrics:
            result["$metrics"] = [{"name": name, "type": kind} for name, kind in part.metrics.items()]
        if part.deprecated:
            result["$deprecated"] = True
    return result, {name: _loosely(each) for name, each in sorted(definitions.items())}


def _takes_text(schema: Mapping[str, Any]) -> bool:
    """Whether a text without form may stand there, directly or within a list or a map."""
    if schema.get("type") == "string":
        return not {"enum", "const", "format", "pattern"} & schema.keys()
    inner = [schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())]
    if schema.get("additionalProperties") is True:
        return True
    return any(isinstance(each, dict) and (not each or _takes_text(each)) for each in inner)


def _loosely(value: Any) -> Any:
    """The places of plugins as `{type}` objects, where the schema of all plugins would be too much."""
    if isinstance(value, dict):
        if "x-plugin" in value:
            return {"type": "object", "required": ["type"], "x-plugin": value["x-plugin"]}
        return {key: _loosely(each) for key, each in value.items()}
    return [_loosely(each) for each in value] if isinstance(value, list) else value


def _with_plugins(value: Any) -> Any:
    """The places that any plugin of a kind may take point to all types of that kind."""
    if isinstance(value, dict):
        if "x-plugin" in value:
            return {"$ref": f"#/$defs/{_KINDS[value['x-plugin']]}"}
        return {key: _with_plugins(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_plugins(each) for each in value]
    return value
