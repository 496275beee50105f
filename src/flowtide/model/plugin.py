"""Plugins: the base of every class that a flow names by `type:`, and the registry in which they are found.

A plugin is one class: its fields are the YAML properties, from which validation, schemas, forms and
documentation follow.  The registry is handed to whoever needs it; nothing is registered globally.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Required, TypedDict, get_args

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializeAsAny,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from flowtide.errors import PluginUnavailable

PluginKind = Literal["task", "trigger", "condition", "runner", "chart", "data"]


class Part(BaseModel):
    """A piece of a flow document: camelCase in YAML, unknown properties refused, frozen."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,  # a start pays only for the classes that it uses
        coerce_numbers_to_str=True,  # `message: 42` is a text, as it is for Kestra
    )


class Plugin(Part):
    """The base of all plugins."""

    kind: ClassVar[PluginKind]
    title: ClassVar[str] = ""  # one line for catalogues
    example: ClassVar[str] = ""  # a YAML flow that runs
    aliases: ClassVar[tuple[str, ...]] = ()  # former type names, accepted with a warning
    deprecated: ClassVar[str] = ""  # what to use instead, when the type itself is deprecated
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {}  # its outputs: name -> type, and what it is
    metrics: ClassVar[Mapping[str, str]] = {}  # name -> counter, timer or gauge

    type: str

    @classmethod
    def advice(cls, given: Mapping[str, Any]) -> Iterator[str]:
        """What to tell of a valid piece of YAML that names this plugin, such as that there is a better one."""
        if cls.deprecated:
            yield f"{cls.__name__} is deprecated: {cls.deprecated}"


class Registry:
    """The known plugins, by kind and type name; case matters.

    A value is a class, or a callable that imports one when it is first asked for.  Of a class that is not
    imported yet the former names are unknown, unless `former_names` tells them: (kind, former name) -> name.
    """

    def __init__(
        self,
        plugins: Mapping[tuple[PluginKind, str], type[Plugin] | Callable[[], type[Plugin]]],
        *,
        former_names: Mapping[tuple[PluginKind, str], str] | None = None,
    ) -> None:
        self._plugins = dict(plugins)
        self._aliases = dict(former_names or {})
        for key, plugin in self._plugins.items():
            if isinstance(plugin, type):
                self._note_aliases(key, plugin)

    def find(self, kind: PluginKind, name: str) -> type[Plugin] | None:
        """The class of a type name or of a former one; None when there is none.

        Raises PluginUnavailable when the class cannot be imported.
        """
        key = (kind, self._aliases.get((kind, name), name))
        plugin = self._plugins.get(key)
        if plugin is None or isinstance(plugin, type):
            return plugin
        try:
            loaded = plugin()
        except Exception as error:
            raise PluginUnavailable(
                kind=kind, name=key[1], reason=f"{type(error).__name__}: {error}"
            ) from error
        if not _is_plugin_class(loaded, kind):
            raise PluginUnavailable(kind=kind, name=key[1], reason=f"{loaded!r} is not a {kind} class")
        self._plugins[key] = loaded
        self._note_aliases(key, loaded)
        return loaded

    def current_name(self, kind: PluginKind, name: str) -> str:
        """The type name that replaced a former one; any other name is returned as it is."""
        return self._aliases.get((kind, name), name)

    def has(self, kind: PluginKind, name: str) -> bool:
        """Whether there is a type of this name, or was; imports nothing."""
        return (kind, self.current_name(kind, name)) in self._plugins

    def names(self, kind: PluginKind) -> list[str]:
        """All type names of a kind, sorted, without the former ones."""
        return sorted(name for found, name in self._plugins if found == kind)

    def __iter__(self) -> Iterator[tuple[PluginKind, str, type[Plugin]]]:
        """All plugins, sorted; imports each.  Raises PluginUnavailable."""
        for kind, name in sorted(self._plugins):
            plugin = self.find(kind, name)
            assert plugin is not None
            yield kind, name, plugin

    def _note_aliases(self, key: tuple[PluginKind, str], plugin: type[Plugin]) -> None:
        kind, name = key
        self._aliases.update({(kind, alias): name for alias in plugin.aliases})


def found_plugin(registry: Registry, kind: PluginKind, name: Any) -> type[Plugin] | None:
    """The class that a document's `type` names; None for what is no name, is not known or cannot be imported."""
    if not isinstance(name, str):
        return None
    try:
        return registry.find(kind, name)
    except PluginUnavailable:
        return None


class PluginContext(TypedDict, total=False):
    """What the validation of a document needs: `model_validate(..., context=PluginContext(...))`."""

    registry: Required[Registry]
    defaults: Callable[[str, type[Plugin], Mapping[str, Any]], Mapping[str, Any]]  # plugin defaults
    warn: Callable[[str], None]  # told of former names


def plugin_of(kind: PluginKind) -> BeforeValidator:
    """A validator that turns a mapping with a `type` into the plugin of that type.

    The registry comes as the context of the validation, a PluginContext.
    """

    def validate(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Plugin):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError("plugin_type", "must be a mapping with a `type`")
        name = value.get("type")
        if not isinstance(name, str) or not name:
            raise PydanticCustomError(
                "plugin_type", "needs a `type`, the full name of a {kind}", {"kind": kind}
            )
        context: PluginContext = info.context or PluginContext(registry=Registry({}))
        registry = context["registry"]
        try:
            plugin = registry.find(kind, name)
        except PluginUnavailable as error:
            raise PydanticCustomError("plugin_unavailable", "{reason}", {"reason": str(error)}) from error
        if plugin is None:
            raise PydanticCustomError(
                "plugin_unknown",
                "there is no {kind} of type `{name}`{hint}",
                {"kind": kind, "name": name, "hint": _hint(registry, kind, name)},
            )
        current = registry.current_name(kind, name)
        if current != name and "warn" in context:
            context["warn"](f"the type `{name}` is now called `{current}`")
        named = value.get("id")
        place = f"{kind} `{named}`: " if named is not None else ""
        if "defaults" in context:
            given, value = value, context["defaults"](current, plugin, value)
            if "warn" in context:
                for missing in _required(plugin):
                    if given.get(missing) is None and value.get(missing) is not None:
                        owner = place or f"{kind} `{name}`: "
                        context["warn"](
                            f"{owner}`{missing}` is missing here, and comes from the plugin defaults"
                        )
        if None in value.values():
            # A property without a value is as good as absent, except where null is a value.
            optional = _optional_properties(plugin)
            value = {key: each for key, each in value.items() if each is not None or key not in optional}
        valid = plugin.model_validate(value, context=context)
        if "warn" in context:
            for sentence in plugin.advice(value):
                context["warn"](place + sentence)
        return valid

    return BeforeValidator(validate)


def plugin_schema(kind: PluginKind) -> WithJsonSchema:
    """The place of any plugin of a kind in a JSON Schema; `flowtide.cli.schemas` puts the types there."""
    return WithJsonSchema({"type": "object", "x-plugin": kind})


def _is_plugin_class(loaded: object, kind: PluginKind) -> bool:
    return isinstance(loaded, type) and issubclass(loaded, Plugin) and loaded.kind == kind


@cache
def properties(part: type[Part]) -> frozenset[str]:
    """Every name that YAML may use for a property of `part`, former names included."""
    names: set[str] = set()
    for name, field in part.model_fields.items():
        names |= _names(name, field)
    return frozenset(names)


def _hint(registry: Registry, kind: PluginKind, name: str) -> str:
    """What may have been meant by the name of a type that is not there."""
    for other in get_args(PluginKind):
        if other != kind and registry.has(other, name):
            return f": it is a {other}, and does not belong here"
    close = difflib.get_close_matches(name[:200], registry.names(kind), n=1, cutoff=0.8)
    return f"; did you mean `{close[0]}`?" if close else ""


@cache
def _required(part: type[Part]) -> tuple[str, ...]:
    """The required properties that a default may give."""
    return tuple(
        field.alias or name
        for name, field in part.model_fields.items()
        if field.is_required() and name not in ("id", "type")
    )


@cache
def _optional_properties(part: type[Part]) -> frozenset[str]:
    names: set[str] = set()
    for name, field in part.model_fields.items():
        if not field.is_required():
            names |= _names(name, field)
    return frozenset(names)


def _names(name: str, field: FieldInfo) -> set[str]:
    choices = field.validation_alias
    if isinstance(choices, AliasChoices):
        return {choice for choice in choices.choices if isinstance(choice, str)}
    return {field.alias or name}


Condition = Annotated[SerializeAsAny[Plugin], plugin_of("condition"), plugin_schema("condition")]
TaskRunner = Annotated[SerializeAsAny[Plugin], plugin_of("runner"), plugin_schema("runner")]
