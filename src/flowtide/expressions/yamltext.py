"""YAML in and out in the form that upstream's library has: only true/false are booleans, dates stay text."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import yaml

from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import to_json

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # a PyYAML without the C library reads the same, slowly
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]  # same interface

_MAX_NODES: Final = 1_000_000
_MAX_DEPTH: Final = 100


class _Loader(_BaseLoader):
    """A safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: Any = {}


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?(?:0|[1-9][0-9]{0,600})$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,4})?$",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", "~nN"),
    ("tag:yaml.org,2002:merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(
        _tag, re.compile(_pattern), [*_first, *([""] if _tag.endswith("null") else [])]
    )


def load(text: str) -> Any:
    """The value of a YAML document; raises Fault, also for one that aliases make too large."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _weigh(node, {}, 0)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1} of it" if mark is not None else ""
        raise Fault(f"Invalid yaml: {error.problem or 'not well formed'}{place}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError):
        raise Fault("Invalid yaml") from None


def _weigh(node: Any, known: dict[int, int], depth: int) -> int:
    """The number of nodes with aliases written out, so that a few lines cannot become a billion."""
    if depth > _MAX_DEPTH:
        raise Fault(f"the yaml is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        if not known[id(node)]:
            raise Fault("the yaml contains itself")
        return known[id(node)]
    known[id(node)] = 0
    total = 1
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):
            total += _weigh(child, known, depth + 1)
            if total > _MAX_NODES:
                raise Fault(f"the yaml has more than {_MAX_NODES} values")
    known[id(node)] = total
    return total


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, shared parts are written out."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    """Text of several lines is written as a block, as upstream does."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_text)
# Dates are text for the loader above, so they need no quotes.
_Dumper.yaml_implicit_resolvers = {
    first: [entry for entry in entries if not entry[0].endswith(":timestamp")]
    for first, entries in yaml.SafeDumper.yaml_implicit_resolvers.items()
}


def dump(value: Any) -> str:
    """Block YAML of a value, with a newline at the end."""
    try:
        plain = json.loads(to_json(value))
        if isinstance(plain, list) and plain:
            # A list at the top is indented by one as well, as upstream writes it.
            return "".join(f" {line}\n" for line in _dump(plain).splitlines())
        return _dump(plain)
    except (yaml.YAMLError, RecursionError):
        raise Fault("cannot write the value as YAML") from None


def _dump(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True, width=2**30
    )
    return text.removesuffix("...\n")
