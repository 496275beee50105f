"""The source of a flow: YAML text in; a Flow out, or all that is wrong with it, with paths and lines.

Steps: (1) read the YAML with places, (2) validate it against the classes, plugin defaults applied on the way,
(3) check what concerns several parts (ids, dependencies), (4) let the caller's check compile every template.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml.nodes import ScalarNode

from flowtide.errors import FlowInvalid, FlowtideError, Violation
from flowtide.model.condition_places import misplaced_conditions
from flowtide.model.defaults import PluginDefaults
from flowtide.model.deprecations import deprecations
from flowtide.model.documents import (
    Document,
    DocumentError,
    DocumentLimits,
    PathStep,
    path_text,
    read_document,
)
from flowtide.model.flow import Flow, PluginDefault
from flowtide.model.flowables.dag import Dag, dependency_faults
from flowtide.model.flowables.for_each_item import HELPER_SUFFIXES, ForEachItem
from flowtide.model.inputs import dependency_cycle
from flowtide.model.labels import OF_FLOWS, is_system
from flowtide.model.plugin import Plugin, PluginContext, PluginKind, Registry, found_plugin, properties
from flowtide.model.task import FlowableTask

_TASK_LISTS = ("tasks", "errors", "finally", "afterExecution")
_NO_TASKS = frozenset(
    {"onResume", "inputs", "labels", "retry", "checkFrequency", "batch", "args", "values", "value"}
)
_NOT_RENDERED = frozenset({"description", "displayName", "validator"})  # texts for people, and patterns
_OUTPUT_DIRECTORY = re.compile(r"\{\{[^{}]*\boutputDir\b")
_TEMPLATE = r"\{"  # what a text must match that stands in the place of a number
_MOST_VIOLATIONS = 100  # more of them help nobody
_KINDS: Mapping[str, PluginKind] = {"triggers": "trigger", "conditions": "condition", "taskRunner": "runner"}

_EXPECTED = {
    "sequence_str": "a list",
    "is_instance_of": "a list",
    "list_type": "a list",
    "tuple_type": "a list",
    "mapping_type": "a map",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
}

Path = tuple[PathStep, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedFlow:
    """What came of a source: a flow, or violations; warnings in either case."""

    flow: Flow | None
    document: Mapping[str, Any]  # the source as plain values, plugin defaults not applied
    violations: list[Violation]
    warnings: list[str]
    deprecated: list[str] = field(default_factory=list)  # paths of what has a present form
    relocated: list[tuple[str, str]] = field(
        default_factory=list
    )  # former types, and what they are called now

    def valid(self) -> Flow:
        """The flow.  Raises FlowInvalid when there are violations."""
        if self.flow is None:
            raise FlowInvalid(self.violations)
        return self.flow


def parse_flow(
    source: str,
    registry: Registry,
    *,
    plugin_defaults: Sequence[PluginDefault] = (),
    namespace_defaults: Callable[[str], Sequence[Sequence[PluginDefault]]] | None = None,
    check: Callable[[str], None] | None = None,
    limits: DocumentLimits | None = None,
) -> ParsedFlow:
    """Read a flow.  Never raises for what a person wrote; nothing is cached.

    `plugin_defaults` are the instance's (PLD-03); `namespace_defaults` gives those of a namespace and of the ones
    above it, the nearest first (PLD-04); the flow's own come from the source.  `check`
    is called with every text that holds a template, and raises a FlowtideError (with `line` and `column` where
    it knows them) for one that does not compile.
    """
    try:
        document = read_document(source, limits)
    except DocumentError as error:
        if error.document is None:
            return ParsedFlow(flow=None, document={}, violations=list(error.violations), warnings=[])
        document, faults = (
            error.document,
            error.violations,
        )  # such as keys that come twice: the rest is read on
    else:
        faults = ()
    root = document.value
    if not isinstance(root, dict):
        message = "a flow must be a mapping with `id`, `namespace` and `tasks`"
        violation = Violation(path="", message=message, line=1, column=1)
        return ParsedFlow(flow=None, document={}, violations=[*faults, violation], warnings=[])
    given = {key: value for key, value in root.items() if value is not None}
    former = list(deprecations(given, Flow, registry))
    warnings = [each.sentence for each in former if each.sentence is not None]
    warnings += _without_effect(given)
    namespace = given.get("namespace")
    inherited: Sequence[Sequence[PluginDefault]] = ()
    if namespace_defaults is not None and isinstance(namespace, str):
        inherited = namespace_defaults(namespace)
    defaults = PluginDefaults(_own_defaults(given), plugin_defaults, inherited)
    context = PluginContext(registry=registry, warn=warnings.append)
    if defaults:
        context["defaults"] = defaults.apply
    flow: Flow | None = None
    violations: list[Violation] = list(faults)
    try:
        flow = Flow.model_validate(given, context=context)
    except ValidationError as error:
        violations += violations_of(error.errors(include_url=False), document, registry)
    violations += _duplicates(given, document, registry)
    violations += _input_dependencies(given, flow, document)
    violations += _labels(given, document)
    violations += _conditions(flow, document)
    if check is not None:
        violations += _templates(given, document, check)
    violations.sort(key=lambda violation: (violation.line, violation.column))
    if len(violations) > _MOST_VIOLATIONS:
        left = len(violations) - _MOST_VIOLATIONS
        violations[_MOST_VIOLATIONS:] = [Violation(path="", message=f"and {left} more violations")]
    return ParsedFlow(
        flow=None if violations else flow,
        document=given,
        violations=violations,
        warnings=list(dict.fromkeys(warnings)),
        deprecated=list(dict.fromkeys(path_text(each.path) for each in former)),
        relocated=[
            (each.former, each.current)
            for each in former
            if each.former is not None and each.current is not None
        ],
    )


def _own_defaults(given: Mapping[str, Any]) -> list[PluginDefault]:
    """The flow's own plugin defaults; wrong ones are left to the validation."""
    defaults = []
    entries = given.get("pluginDefaults", given.get("taskDefaults"))
    for entry in entries if isinstance(entries, list) else ():
        try:
            defaults.append(PluginDefault.model_validate(entry))
        except ValidationError:
            continue
    return defaults


def _without_effect(given: Mapping[str, Any]) -> Iterator[str]:
    """What is accepted, and does nothing any more."""
    triggers = given.get("triggers")
    for index, each in enumerate(triggers if isinstance(triggers, list) else ()):
        if isinstance(each, dict) and each.get("backfill") is not None:
            yield f"triggers[{index}].backfill has no effect: remove it, and start a backfill on the trigger"
    for path, text in _texts(given, ()):
        if "outputDir" in text and _OUTPUT_DIRECTORY.search(text):
            yield (
                f"{path_text(path)}: `outputDir` is deprecated: write into the working directory, and name the files "
                "in `outputFiles`"
            )


def violations_of(errors: list[ErrorDetails], document: Document, registry: Registry) -> list[Violation]:
    """Pydantic's errors as violations; those of a union's members at one place become one."""
    messages: dict[Path, list[str]] = {}
    for error in errors:
        path, missing = _path(error["loc"], document.value)
        kind = error["type"]
        if kind in ("plugin_unknown", "plugin_unavailable", "union_tag_invalid"):
            path = (*path, "type")
        if missing and kind not in ("missing", "union_tag_not_found", "extra_forbidden"):
            missing = ()
        message = _message(error, (*path, *missing), document.value, registry)
        if kind == "extra_forbidden" and missing:
            message += "; it comes from the plugin defaults"
        found = messages.setdefault((*path, *missing), [])
        if message not in found:
            found.append(message)
    violations = []
    for path, texts in messages.items():
        line, column = document.place(path)
        message = _one_of(texts)
        violations.append(Violation(path=path_text(path), message=message, line=line, column=column))
    return violations


def _path(location: tuple[int | str, ...], value: Any) -> tuple[Path, Path]:
    """The steps of a location that are in the document, and the last step when it is missing there.

    A location also names members of unions and validators, which no document contains.
    """
    path: list[PathStep] = []
    missing: list[PathStep] = []
    for index, step in enumerate(location):
        missing = []
        if isinstance(value, dict) and step in value:
            # The name of a union's member may equal a key; the tag `type` tells them apart.
            path.append(step)
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path.append(step)
            value = value[step]
        elif index == len(location) - 1:
            missing = [step]
    return tuple(path), tuple(missing)


def _message(error: ErrorDetails, path: Path, root: Any, registry: Registry) -> str:
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "there is no such property" + _suggestion(path, root, registry)
    if kind == "union_tag_invalid":
        expected = context["expected_tags"].replace("'", "")
        return f"there is no type `{context['tag']}` here; there are {expected}"
    if kind == "union_tag_not_found":
        return "needs a `type`"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected'].replace(chr(39), '`')}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} entry"
    if kind == "string_pattern_mismatch" and context["pattern"] == _TEMPLATE:
        return "must be an expression"
    if kind == "string_pattern_mismatch":
        return f"must match the pattern `{context['pattern']}`"
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}"
    text = error["msg"].removeprefix("Value error, ")
    for prefix in ("Input should be ", "Input must be "):
        if text.startswith(prefix):
            return f"must be {text.removeprefix(prefix)}"
    for prefix in ("String should have ", "List should have ", "Input should have "):
        if text.startswith(prefix):
            return f"must have {text.removeprefix(prefix)}"
    return text


def _one_of(messages: list[str]) -> str:
    if len(messages) > 1 and all(message.startswith("must be ") for message in messages):
        return "must be " + " or ".join(message.removeprefix("must be ") for message in messages)
    return "; ".join(messages)


def _suggestion(path: Path, root: Any, registry: Registry) -> str:
    """The property that the writer may have meant."""
    if not path or not isinstance(path[-1], str):
        return ""
    part: type[BaseModel] | None = Flow if len(path) == 1 else None
    owner = root
    kind: PluginKind = "task"
    for step in path[:-1]:
        kind = _KINDS.get(str(step), "task" if isinstance(step, str) else kind)
        owner = _step(owner, step)
    if part is None and isinstance(owner, dict):
        part = found_plugin(registry, kind, owner.get("type"))
    if part is None or not issubclass(part, Flow | Plugin):
        return ""
    close = difflib.get_close_matches(path[-1], properties(part) - {path[-1]}, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _step(value: Any, step: PathStep) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) else None


def _duplicates(given: Mapping[str, Any], document: Document, registry: Registry) -> Iterator[Violation]:
    """Ids that come twice among tasks, triggers, inputs or outputs, and subflows that are the flow itself."""
    seen: dict[str, Path] = {}
    helpers: dict[str, Path] = {}  # ids of the tasks that a ForEachItem consists of
    for path, task in _tasks(given, registry):
        identifier = _identifier(task)
        if identifier is not None:
            if identifier in seen:
                yield _duplicate("task", identifier, path, seen[identifier], document)
            seen.setdefault(identifier, path)
        plugin = found_plugin(registry, "task", task.get("type"))
        if plugin is ForEachItem and identifier is not None:
            for suffix in HELPER_SUFFIXES:
                helpers[f"{identifier}{suffix}"] = (*path, "id")
        if plugin is Dag:
            nodes = task.get("tasks")
            for place, message in dependency_faults(nodes if isinstance(nodes, list) else ()):
                fault: Path = (*path, "tasks", *place)
                line, column = document.place(fault)
                yield Violation(path=path_text(fault), message=message, line=line, column=column)
        if (
            plugin is not None
            and getattr(plugin, "construct", None) == "subflow"
            and (task.get("namespace"), task.get("flowId")) == (given.get("namespace"), given.get("id"))
        ):
            line, column = document.place((*path, "flowId"))
            message = "a flow must not run itself as a subflow"
            yield Violation(path=path_text((*path, "flowId")), message=message, line=line, column=column)
    for identifier, owner in helpers.items():
        if identifier in seen:
            yield _duplicate("task", identifier, seen[identifier], owner[:-1], document)
    for name, noun in (("triggers", "trigger"), ("inputs", "input"), ("outputs", "output")):
        entries = given.get(name)
        places: dict[str, Path] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if not isinstance(entry, dict):
                continue
            identifier = _identifier(entry, former="name" if name == "inputs" else "id")
            if identifier is not None:
                if identifier in places:
                    yield _duplicate(noun, identifier, (name, index), places[identifier], document)
                places.setdefault(identifier, (name, index))


def _identifier(part: Mapping[str, Any], *, former: str = "id") -> str | None:
    """The id as text, because `1` and "1" name the same."""
    identifier = part.get("id", part.get(former))
    return str(identifier) if isinstance(identifier, str | int | float) else None


def _duplicate(noun: str, identifier: str, path: Path, first: Path, document: Document) -> Violation:
    line, column = document.place((*path, "id"))
    message = f"the {noun} id `{identifier}` is used twice, first in line {document.place((*first, 'id'))[0]}"
    return Violation(path=path_text((*path, "id")), message=message, line=line, column=column)


def _tasks(given: Mapping[str, Any], registry: Registry) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every mapping of the document that is a task, with its path."""
    for name in _TASK_LISTS:
        yield from _tasks_in(given.get(name), (name,), registry)
    listeners = given.get("listeners")
    for index, each in enumerate(listeners if isinstance(listeners, list) else ()):
        if isinstance(each, dict):
            yield from _tasks_in(each.get("tasks"), ("listeners", index, "tasks"), registry)


def _tasks_in(value: Any, path: Path, registry: Registry) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _tasks_in(entry, (*path, index), registry)
    elif isinstance(value, dict):
        plugin = found_plugin(registry, "task", value.get("type"))
        if plugin is not None or (len(path) == 2 and path[0] in _TASK_LISTS):
            yield path, value
            if plugin is None or not issubclass(plugin, FlowableTask):
                return  # properties of other tasks are theirs, whatever they look like
        for key, child in value.items():
            if isinstance(child, list | dict) and key not in _NO_TASKS:
                yield from _tasks_in(child, (*path, key), registry)


def _labels(given: Mapping[str, Any], document: Document) -> Iterator[Violation]:
    """Labels that only the system may set (LAB-10)."""
    labels = given.get("labels")
    found: list[tuple[Path, Any]] = []
    if isinstance(labels, dict):
        found = [(("labels", key), key) for key in labels]
    elif isinstance(labels, list):
        found = [
            (("labels", index, "key"), each.get("key"))
            for index, each in enumerate(labels)
            if isinstance(each, dict)
        ]
    for path, key in found:
        if isinstance(key, str) and is_system(key) and key not in OF_FLOWS:
            line, column = document.place(path)
            allowed = " and ".join(sorted(OF_FLOWS))
            message = f"the label `{key}` is set by the system only; of those, a flow may have {allowed}"
            yield Violation(path=path_text(path), message=message, line=line, column=column)


def _input_dependencies(
    given: Mapping[str, Any], flow: Flow | None, document: Document
) -> Iterator[Violation]:
    """Inputs that depend on what does not exist, or on each other in a circle."""
    inputs = given.get("inputs")
    written = [each if isinstance(each, dict) else {} for each in inputs] if isinstance(inputs, list) else []
    known = {_identifier(each, former="name") for each in written}
    for index, each in enumerate(written):
        depends = each.get("dependsOn")
        names = depends.get("inputs") if isinstance(depends, dict) else None
        for position, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str) and name not in known:
                path: Path = ("inputs", index, "dependsOn", "inputs", position)
                line, column = document.place(path)
                message = f"there is no input `{name}`"
                yield Violation(path=path_text(path), message=message, line=line, column=column)
    cycle = dependency_cycle(flow.inputs) if flow is not None else None
    if cycle is not None:
        line, column = document.place(("inputs",))
        message = f"inputs depend on each other in a circle: {' -> '.join(cycle)}"
        yield Violation(path="inputs", message=message, line=line, column=column)


def _conditions(flow: Flow | None, document: Document) -> Iterator[Violation]:
    """Conditions that can never be decided where they stand."""
    for path, message in misplaced_conditions(flow) if flow is not None else ():
        line, column = document.place(path)
        yield Violation(path=path_text(path), message=message, line=line, column=column)


def _templates(
    given: Mapping[str, Any], document: Document, check: Callable[[str], None]
) -> Iterator[Violation]:
    """Templates that do not compile."""
    for path, text in _texts(given, ()):
        try:
            check(text)
        except FlowtideError as error:
            line, column = _template_place(document, path, text, error)
            yield Violation(path=path_text(path), message=_complaint(error), line=line, column=column)


def _complaint(error: FlowtideError) -> str:
    """What is wrong with a template, without the place within it: the violation has that of the document."""
    inner = f" at line {getattr(error, 'line', 0)}, column {getattr(error, 'column', 0)}"
    return error.message.partition("\n")[0].replace(inner, "")


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():
            if key not in _NOT_RENDERED:
                yield from _texts(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _texts(child, (*path, index))


def _template_place(document: Document, path: Path, text: str, error: FlowtideError) -> tuple[int, int]:
    """Where in the document a template is wrong; exact for literal blocks and texts of one line."""
    node = document.node(path)
    inner_line: int = getattr(error, "line", 0)
    inner_column: int = getattr(error, "column", 0)
    if not isinstance(node, ScalarNode) or inner_line < 1:
        return document.place(path)
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if node.style == "|":
        return line + inner_line, 1
    if node.end_mark.line == node.start_mark.line and "\n" not in text:
        return line, column + max(inner_column - 1, 0) + (1 if node.style else 0)
    return line, column
