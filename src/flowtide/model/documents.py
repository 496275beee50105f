"""YAML documents: text in, plain values and the place of each of them out.

The rules are those of YAML 1.2, which is also what flows of Kestra were written for: only `true` and `false`
are booleans (`yes`, `no`, `on` are text), dates and `1:30` and `0123` stay text, aliases and `<<` work within
limits.  The C parser of PyYAML does the reading; what it makes of scalars is decided here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flowtide.errors import FlowtideError, Violation

PathStep = str | int

_STRING = "tag:yaml.org,2002:str"
_PLAIN = "!plain"  # a scalar without quotes and tag, to be read below
_ALIAS_NODES = 20_000  # how many nodes aliases may repeat: enough for people, too few for a bomb
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_RADIX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    ".inf": math.inf,
    ".Inf": math.inf,
    ".INF": math.inf,
    "+.inf": math.inf,
    "-.inf": -math.inf,
    "-.Inf": -math.inf,
    "-.INF": -math.inf,
    ".nan": math.nan,
    ".NaN": math.nan,
    ".NAN": math.nan,
}
_NUMBER_STARTS = frozenset("+-.0123456789")


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentLimits:
    """How large a document may be; a larger one is refused before it costs time."""

    bytes: int = 10_000_000  # of the text in UTF-8
    nodes: int = 50_000  # keys, values and collections; a task of five properties has about a dozen
    depth: int = 100  # collections within collections


class DocumentError(FlowtideError):
    """The text is not a document that can be used; `violations` has the places."""

    code = "document-invalid"

    def __init__(self, violations: Sequence[Violation], document: Document | None = None) -> None:
        self.violations = tuple(violations)
        self.document = document  # what could be read nevertheless
        super().__init__("\n".join(str(violation) for violation in self.violations))


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read: its value, and the nodes that know the places."""

    value: Any
    root: Node | None

    def place(self, path: Sequence[PathStep]) -> tuple[int, int]:
        """Line and column, from 1, of what stands at `path`, or of the nearest thing around it."""
        node = self.root
        if node is None:
            return 1, 1
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            node = found
        return node.start_mark.line + 1, node.start_mark.column + 1

    def node(self, path: Sequence[PathStep]) -> Node | None:
        """The node at `path`; None when there is none, or when it came in by `<<`."""
        node = self.root
        for step in path:
            node = None if node is None else _child(node, step)
        return node


def read_document(text: str, limits: DocumentLimits | None = None) -> Document:
    """Read one YAML document.

    Raises DocumentError for what is not YAML, for keys that come twice, for more than one document, and for
    one beyond the limits (defaults: 10 MB, 50,000 nodes, 100 levels).
    """
    limits = limits or DocumentLimits()
    if len(text) > limits.bytes or len(text.encode(errors="replace")) > limits.bytes:
        raise DocumentError([Violation(path="", message=f"the document is larger than {limits.bytes} bytes")])
    try:
        loader = _Loader(text, limits)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError([_at(mark, f"is not YAML: {message}")]) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise DocumentError([Violation(path="", message=f"is not YAML: {error}")]) from None
    if root is None:
        return Document(None, None)
    reader = _Reader(limits)
    value = reader.read(root, 1)
    if reader.violations:
        raise DocumentError(reader.violations, Document(value, root))
    return Document(value, root)


def path_text(path: Sequence[PathStep]) -> str:
    """Write a path as people do: `tasks[0].then[1].message`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def _child(node: Node, step: PathStep) -> Node | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value  # type: ignore[no-any-return]  # PyYAML's stubs leave the content of nodes open
    elif isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step]  # type: ignore[no-any-return]  # as above
    return None


def _at(mark: Any, message: str) -> Violation:
    if mark is None:
        return Violation(path="", message=message)
    return Violation(path="", message=message, line=mark.line + 1, column=mark.column + 1)


class _Loader(yaml.CSafeLoader):
    """Composes nodes; counts them, and leaves plain scalars to the reader."""

    def __init__(self, text: str, limits: DocumentLimits) -> None:
        super().__init__(text)
        self._limit = limits.nodes
        self._count = 0
        self._deepest = limits.depth + 1  # scalars of the deepest collection stand one level below it
        self._level = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Called by the C parser when it enters a node; its own recursion would end in a crash."""
        self._level += 1
        if self._level > self._deepest:
            raise DocumentError(
                [Violation(path="", message=f"the document is nested deeper than {self._deepest - 1} levels")]
            )

    def ascend_resolver(self) -> None:
        """Called by the C parser when it leaves a node."""
        self._level -= 1

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Called by the C parser for each node without a tag."""
        self._count += 1
        if self._count > self._limit:
            raise DocumentError(
                [Violation(path="", message=f"the document has more than {self._limit} keys and values")]
            )
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _STRING
        return "tag:yaml.org,2002:map" if kind is MappingNode else "tag:yaml.org,2002:seq"


class _Reader:
    """Turns nodes into values; collects what is wrong."""

    def __init__(self, limits: DocumentLimits) -> None:
        self._depth = limits.depth
        self._seen: set[int] = set()
        self._repeated = 0
        self.violations: list[Violation] = []

    def read(self, node: Node, depth: int) -> Any:
        """The value of a node; `depth` counts from 1."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if depth > self._depth:
            raise DocumentError([_at(node.start_mark, f"is nested deeper than {self._depth} levels")])
        identity = id(node)
        if identity in self._seen:
            self._repeated += len(node.value) + 1
            if self._repeated > _ALIAS_NODES:
                message = f"aliases repeat more than {_ALIAS_NODES} keys and values"
                raise DocumentError([_at(node.start_mark, message)])
        self._seen.add(identity)
        if isinstance(node, SequenceNode):
            self._check_tag(node, "tag:yaml.org,2002:seq")
            return [self.read(child, depth + 1) for child in node.value]
        self._check_tag(node, "tag:yaml.org,2002:map")
        return self._mapping(node, depth)

    def _mapping(self, node: Any, depth: int) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.violations.append(_at(key_node.start_mark, "a key must be a text"))
                continue
            key: str = key_node.value  # keys are texts: `on`, `1` and `null` are names here
            if key == "<<" and key_node.tag == _PLAIN:
                sources = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                for source in sources:
                    if not isinstance(source, MappingNode):
                        self.violations.append(_at(value_node.start_mark, "`<<` takes mappings only"))
                        continue
                    for name, value in self.read(source, depth + 1).items():
                        merged.setdefault(name, value)
                continue
            if key in mapping:
                self.violations.append(_at(key_node.start_mark, f"the key `{key}` comes twice"))
            mapping[key] = self.read(value_node, depth + 1)
        for key, value in merged.items():
            mapping.setdefault(key, value)
        return mapping

    def _scalar(self, node: Any) -> Any:
        tag, text = node.tag, node.value
        if tag == _PLAIN:
            return read_scalar(text)
        if tag == _STRING:
            return text
        value = read_scalar(text)
        expected = {"bool": bool, "int": int, "float": (int, float), "null": type(None)}
        kind = expected.get(tag.removeprefix("tag:yaml.org,2002:"))
        if kind is None:
            self.violations.append(_at(node.start_mark, f"the tag `{tag}` is not supported"))
        elif not isinstance(value, kind):  # type: ignore[arg-type]  # a table of types, checked by tests
            self.violations.append(_at(node.start_mark, f"is not what its tag `{tag}` says"))
        return value

    def _check_tag(self, node: Node, expected: str) -> None:
        if node.tag != expected:
            self.violations.append(_at(node.start_mark, f"the tag `{node.tag}` is not supported"))


def read_scalar(text: str) -> Any:
    """What a scalar without quotes means: null, a boolean, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_STARTS:
        # Python refuses to read integers of thousands of digits, and JSON readers lose what is beyond 64 bits
        # anyway: such a number stays the text that was written.
        if len(text) <= 400 and _INTEGER.match(text):
            return int(text)
        if len(text) <= 400 and _FLOAT.match(text):
            return float(text)
        if len(text) <= 18 and _RADIX.match(text):
            return int(text, 0)
    return text
