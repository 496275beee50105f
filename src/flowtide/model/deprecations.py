"""Former names and deprecated properties in a document: plain values in, each place and what to write instead out.

The classes say it themselves: aliases of types, former names of properties, `deprecated` of a class, and fields whose
title or description begins with "Deprecated" (catalogue G §8 and §9, F W.4).  No state.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from flowtide.model.documents import PathStep
from flowtide.model.plugin import Part, Plugin, PluginKind, Registry, found_plugin

Path = tuple[PathStep, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Deprecation:
    """A place that is written in a former way."""

    path: Path
    sentence: str | None  # what to write instead; None where the class has a sentence of its own
    former: str | None = None  # the type as it was written, when it is a former name
    current: str | None = None  # and the present one


def deprecations(document: Mapping[str, Any], root: type[Part], registry: Registry) -> Iterator[Deprecation]:
    """Every place of `document`, which is a `root`, that has a present form.  What is not valid is passed over."""
    yield from _roots(document)
    yield from _part(document, root, (), "", registry)


def deprecation_of(field: FieldInfo) -> str | None:
    """What is said of a deprecated property: how the sentence "it is deprecated" goes on; None for any other one."""
    for text in (field.title, field.description):
        if text and text.startswith("Deprecated"):
            rest = text.removeprefix("Deprecated").strip().rstrip(".")
            return rest.replace(": `", ": use `", 1) if rest.startswith(": `") else rest
    return "" if field.deprecated else None


def present_name(name: str, field: FieldInfo) -> str:
    """How the property of a field is written in YAML."""
    choices = field.validation_alias
    if isinstance(choices, AliasChoices):
        return str(choices.choices[0])
    return field.alias or to_camel(name)


def former_names(name: str, field: FieldInfo) -> list[str]:
    """How it was written earlier."""
    choices = field.validation_alias
    if not isinstance(choices, AliasChoices):
        return []
    ours = (name, to_camel(name))
    return [each for each in choices.choices[1:] if isinstance(each, str) and each not in ours]


def _roots(document: Mapping[str, Any]) -> Iterator[Deprecation]:
    """What no class can say."""
    if "listeners" in document:
        yield Deprecation(
            path=("listeners",),
            sentence="`listeners` are deprecated: use `afterExecution`, or a flow with a Flow trigger. They run only "
            "where the setting `listeners.enabled` is true",
        )
    inputs = document.get("inputs")
    for index, each in enumerate(inputs if isinstance(inputs, list) else ()):
        if not isinstance(each, dict):
            continue
        if "name" in each and "id" not in each:
            yield Deprecation(
                path=("inputs", index, "name"), sentence=f"inputs[{index}].name is now called `id`"
            )
        if each.get("type") in ("BOOLEAN", "ENUM"):
            current = "BOOL" if each["type"] == "BOOLEAN" else "SELECT"
            sentence = f"inputs[{index}]: the type {each['type']} is deprecated, use {current}"
            yield Deprecation(path=("inputs", index, "type"), sentence=sentence)


def _part(
    value: Mapping[str, Any], part: type[Part], path: Path, place: str, registry: Registry
) -> Iterator[Deprecation]:
    fields = _fields(part)
    for key, child in value.items():
        found = fields.get(key)
        if found is None or child is None:
            continue
        name, field = found
        said = deprecation_of(field)
        if key in former_names(name, field):
            if path or key != "name":
                sentence = f"{place}`{key}` is now called `{present_name(name, field)}`"
                if not (len(path) == 2 and path[0] == "inputs" and key == "name"):  # told of above
                    yield Deprecation(path=(*path, key), sentence=sentence)
        elif said is not None:
            glue = "" if said[:1] in (":", ",", "") else ": "
            yield Deprecation(path=(*path, key), sentence=f"{place}`{key}` is deprecated{glue}{said}")
        yield from _child(child, _inside(part, name), (*path, key), place, registry)


def _child(value: Any, inside: _Inside, path: Path, place: str, registry: Registry) -> Iterator[Deprecation]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _child(each, inside, (*path, index), place, registry)
    elif isinstance(value, dict):
        for kind in inside.kinds:
            plugin = found_plugin(registry, kind, value.get("type"))
            if plugin is not None:
                yield from _of_plugin(value, plugin, kind, path, registry)
                return
        part = _fitting(value, inside.parts)
        if part is not None:
            yield from _part(value, part, path, place, registry)
        elif inside.kinds:
            for key, each in value.items():  # lists by name, such as `cases`
                yield from _child(each, inside, (*path, key), place, registry)


def _of_plugin(
    value: Mapping[str, Any], plugin: type[Plugin], kind: PluginKind, path: Path, registry: Registry
) -> Iterator[Deprecation]:
    written = value["type"]
    current = registry.current_name(kind, written)
    if current != written:
        sentence = f"the type `{written}` is now called `{current}`"
        yield Deprecation(path=(*path, "type"), sentence=sentence, former=written, current=current)
    elif plugin.deprecated:
        yield Deprecation(path=path, sentence=None)
    place = f"{kind} `{value['id']}`: " if isinstance(value.get("id"), str) else ""
    yield from _part(value, plugin, path, place, registry)


def _fitting(value: Mapping[str, Any], parts: tuple[type[Part], ...]) -> type[Part] | None:
    """The member of a union that is meant: the one of this `type`, else the one that knows most of the properties."""
    named = [part for part in parts if _types(part) and value.get("type") in _types(part)]
    candidates = named or [part for part in parts if not _types(part)]
    return max(candidates, key=lambda part: len(_fields(part).keys() & value.keys()), default=None)


@dataclass(frozen=True, slots=True)
class _Inside:
    """What may stand in a property, at any depth of lists and unions."""

    kinds: tuple[PluginKind, ...]
    parts: tuple[type[Part], ...]


@cache
def _inside(part: type[Part], name: str) -> _Inside:
    kinds: list[PluginKind] = []
    parts: list[type[Part]] = []
    field = part.model_fields[name]

    def look(annotation: Any) -> None:
        if isinstance(annotation, WithJsonSchema):
            kind = (annotation.json_schema or {}).get("x-plugin")
            if kind is not None and kind not in kinds:
                kinds.append(kind)
        elif isinstance(annotation, type) and issubclass(annotation, Part):
            if not issubclass(annotation, Plugin) and annotation not in parts:
                parts.append(annotation)
        elif isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
            look(annotation.__value__)
        elif get_origin(annotation) is not Literal:
            for each in get_args(annotation):
                look(each)

    look(field.annotation)
    for each in field.metadata:
        look(each)
    return _Inside(tuple(kinds), tuple(parts))


@cache
def _fields(part: type[Part]) -> dict[str, tuple[str, FieldInfo]]:
    """The fields of a part by every name that YAML may use."""
    fields: dict[str, tuple[str, FieldInfo]] = {}
    for name, field in part.model_fields.items():
        for each in (present_name(name, field), *former_names(name, field)):
            fields[each] = (name, field)
    return fields


@cache
def _types(part: type[Part]) -> tuple[Any, ...]:
    """The values of `type` by which a member of a union is known."""
    field = part.model_fields.get("type")
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
