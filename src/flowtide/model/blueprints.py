"""Blueprints: flows and dashboards to start from, and templates that make a flow of arguments (E162 to E170).

A template is text with `<< expression >>` and `<% statement %>`, which need not be YAML before it is filled in; its
`extend` block declares the arguments as inputs.  Everything else, `{{ }}` too, goes into the flow as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from pydantic import ValidationError

from flowtide.errors import FlowInvalid, Violation
from flowtide.model.documents import DocumentError, read_document
from flowtide.model.inputs import INPUT_ADAPTER, Input
from flowtide.model.plugin import Registry
from flowtide.model.records import Value
from flowtide.model.source import violations_of


class BlueprintKind(StrEnum):
    """What a blueprint is a start for."""

    FLOW = "FLOW"
    DASHBOARD = "DASHBOARD"
    APP = "APP"


class SavedBlueprint(Value, frozen=True, omit_defaults=True):
    """The body of a saved blueprint."""

    title: str
    source: str  # byte for byte as it came
    created: datetime
    kind: str = BlueprintKind.FLOW  # a BlueprintKind
    description: str | None = None
    tags: list[str] = []


SAVED_BLUEPRINT_DECODER: msgspec.json.Decoder[SavedBlueprint] = msgspec.json.Decoder(SavedBlueprint)

_EXTEND = re.compile(r"^extend[ \t]*:")
_TYPE = re.compile(r"(?:^[ \t-]*|[{,]\s*)type:[ \t]*[\"']?([A-Za-z]\w*(?:\.\w+){2,})", re.MULTILINE)
_STATEMENT_LINE = re.compile(r"^[ \t]*(<%(?:(?!%>).)*%>)[ \t]*(?:\n|\Z)", re.MULTILINE)
_PART = re.compile(r"<%(-?)((?:(?!%>).)*?)(-?)%>|<<(?!<)[ \t]*(\S(?:(?!>>).)*?)[ \t]*>>")
_BRACE = "\ue000"  # stands for a brace of the text; private use, so that no text has it


@dataclass(frozen=True, kw_only=True, slots=True)
class BlueprintTemplate:
    """A blueprint that takes arguments."""

    text: str  # without `extend`
    arguments: tuple[Input, ...]

    @property
    def expression(self) -> str:
        """The same in the delimiters of expressions; what `restored` makes of its rendering is the flow."""
        lines = _STATEMENT_LINE.sub(r"\1", self.text)  # a line that only holds a statement leaves none
        pieces: list[str] = []
        end = 0
        for found in _PART.finditer(lines):
            pieces.append(lines[end : found.start()].replace("{", _BRACE))
            trim_before, statement, trim_after, expression = found.groups()
            if statement is None:
                pieces.append(f"{{{{ {expression} }}}}")
            else:
                pieces.append(f"{{%{trim_before}{statement}{trim_after}%}}")
            end = found.end()
        pieces.append(lines[end:].replace("{", _BRACE))
        return "".join(pieces)


def restored(rendered: str) -> str:
    """The flow, from the rendering of `BlueprintTemplate.expression`."""
    return rendered.replace(_BRACE, "{")


def without_extend(source: str) -> tuple[str, str]:
    """The `extend` block of a source, empty when there is none, and the source without it; no YAML is read."""
    kept: list[str] = []
    block: list[str] = []
    inside = False
    for line in source.splitlines(keepends=True):
        if _EXTEND.match(line):
            inside = True
        elif inside and line[:1].strip() and not line.startswith("#"):
            inside = False
        (block if inside else kept).append(line)
    return "".join(block), "".join(kept)


def template_of(source: str) -> BlueprintTemplate | None:
    """The template that a source is; None when it declares no arguments.

    Raises FlowInvalid when the declaration is wrong, with the lines of the block.
    """
    block, text = without_extend(source)
    if not block:
        return None
    first = source.splitlines().index(block.splitlines()[0])
    try:
        document = read_document(block)
    except DocumentError as error:
        raise FlowInvalid([_moved(each, first) for each in error.violations]) from None
    extend = document.value.get("extend") if isinstance(document.value, dict) else None
    declared = extend.get("templateArguments") if isinstance(extend, dict) else None
    if declared is None:
        return None
    path = ("extend", "templateArguments")
    if not isinstance(declared, list):
        line, _ = document.place(path)
        raise FlowInvalid(
            [Violation(path=".".join(path), message="must be a list of inputs", line=first + line)]
        )
    arguments: list[Input] = []
    violations: list[Violation] = []
    for index, each in enumerate(declared):
        try:
            arguments.append(INPUT_ADAPTER.validate_python(each))
        except ValidationError as error:
            details = error.errors(include_url=False)
            for detail in details:
                detail["loc"] = (*path, index, *detail["loc"])
            violations += [_moved(found, first) for found in violations_of(details, document, Registry({}))]
    if violations:
        raise FlowInvalid(violations)
    return BlueprintTemplate(text=text, arguments=tuple(arguments))


def _moved(violation: Violation, lines: int) -> Violation:
    return Violation(
        path=violation.path,
        message=violation.message,
        line=violation.line + lines if violation.line else 0,
        column=violation.column,
    )


def arguments_wire(arguments: Sequence[Input]) -> dict[str, Any]:
    """Declared arguments by their ids, as a form needs them."""
    return {each.id: each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in arguments}


def included_types(source: str) -> list[str]:
    """The types that a source names, in its order; no YAML is read."""
    return list(dict.fromkeys(_TYPE.findall(source)))


def given_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of arguments as clients send them: plain, or each wrapped as `{"value": ...}`."""
    return {
        name: value["value"] if isinstance(value, dict) and value.keys() == {"value"} else value
        for name, value in given.items()
    }
