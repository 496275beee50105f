"""The JSON Schemas of the OpenAPI document: names of types in, schemas out; models stand in `models.yaml`.

Types of fields are written as there (`Label[]!`), those of answers as in catalogue G (`List[Label]`, `PagedResultsX`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

Schema = dict[str, Any]

_PLAIN: Mapping[str, Schema] = {
    "any": {},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "number": {"type": "number"},
    "date-time": {"type": "string", "format": "date-time"},
    "map": {"type": "object"},
    "str": {"type": "string"},
    "JSON object": {"type": "object"},
    "JSONSchema": {"type": ["object", "boolean"]},
}
_GENERIC = re.compile(r"(?P<outer>List|Map|Dict|map)[\[<](?P<inner>.+)[\]>]")
_PAGED = "PagedResults"
_MODEL = "#/components/schemas/"
_FOR_PAGES = {"MapStringObject": "map"}


@cache
def models() -> Mapping[str, Any]:
    """The models by name: fields with their types, or the values of an enumeration."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("flowtide.api").joinpath("models.yaml").read_text(encoding="utf-8")
    read: Mapping[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe
    return read


def schema_of(name: str) -> Schema:
    """The schema of a type; models become references.  Raises KeyError for a name that nobody knows."""
    if " | " in name:
        return {"anyOf": [schema_of(each) for each in name.split(" | ")]}
    name = name.rstrip("!")
    if name.endswith("?"):
        return _or_null(schema_of(name[:-1]))
    if name.endswith("[]"):
        return {"type": "array", "items": schema_of(name[:-2])}
    if name in _PLAIN:
        return dict(_PLAIN[name])
    generic = _GENERIC.fullmatch(name)
    if generic is not None:
        inner = generic["inner"]
        if generic["outer"] == "List":
            return {"type": "array", "items": schema_of(inner)}
        # `Dict[str, X]` and `map<string,X>` name the type of the keys, too.
        value = inner if generic["outer"] == "Map" else inner.partition(",")[2].strip()
        return {"type": "object", "additionalProperties": schema_of(value)}
    if name in models():
        return {"$ref": _MODEL + name}
    if name.startswith(_PAGED):
        results = name.removeprefix(_PAGED)
        return {
            "type": "object",
            "required": ["results", "total"],
            "properties": {
                "results": {"type": "array", "items": schema_of(_FOR_PAGES.get(results, results))},
                "total": {"type": "integer", "minimum": 0},
            },
        }
    raise KeyError(name)


def component(name: str) -> Schema:
    """The schema of a model itself.  What it does not name may be there, too."""
    model = models()[name]
    if isinstance(model, list):
        return {"type": "string", "enum": list(model)}
    required = [field for field, kind in model.items() if "!" in kind]
    schema: Schema = {"type": "object"}
    if required:
        schema["required"] = required
    schema["properties"] = {field: schema_of(kind.replace("!", "")) for field, kind in model.items()}
    return schema


def components(used: Iterable[Any]) -> dict[str, Schema]:
    """The models that these schemas refer to, and those that they refer to, by name."""
    found: dict[str, Schema] = {}
    left = list(_references(list(used)))
    while left:
        name = left.pop()
        if name not in found:
            found[name] = component(name)
            left.extend(_references(found[name]))
    return dict(sorted(found.items()))


def _or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref" and str(each).startswith(_MODEL):
                yield each.removeprefix(_MODEL)
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
