"""Small changes to the source of a flow that leave the rest of the text as it was written, comments included.

The YAML comes in, the YAML with one thing changed goes out; what the change gives is read again before it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flowtide.model.documents import Document, DocumentError, read_document, read_scalar

_TASK_LISTS: Final = ("tasks", "errors", "finally", "afterExecution", "listeners")
Path = tuple[Any, ...]
_TAIL = re.compile(r"(?:\n[ \t]*(?:#[^\n]*)?)*\Z")


def with_disabled(source: str, disabled: bool) -> str:
    """The source of a flow that is switched off, or on.  Raises DocumentError when the source is not YAML."""
    document = read_document(source)
    root = document.root
    text = "true" if disabled else "false"
    if not isinstance(root, MappingNode):
        return source
    changed: list[str] = []
    for key, value in root.value:
        if isinstance(key, ScalarNode) and key.value == "disabled":
            changed.append(_replaced(source, value, text))
    if not changed:
        ending = "" if source.endswith("\n") else "\n"
        changed.append(f"{source}{ending}disabled: {text}\n")
        start = root.start_mark.index
        if root.flow_style:
            changed.append(f"{source[: start + 1]}disabled: {text}, {source[start + 1 :]}")
        else:
            changed.append(
                f"{source[:start]}disabled: {text}\n{' ' * root.start_mark.column}{source[start:]}"
            )
    wanted = {**document.value, "disabled": disabled}
    return _first(changed, wanted) or _dumped(wanted)


def with_task(source: str, task_id: str, task: Mapping[str, Any]) -> str:
    """The source with a task replaced.  Raises LookupError when there is no such task, DocumentError."""
    document = read_document(source)
    _, node = next(_tasks(document, task_id), ((), None))
    if node is None:
        raise LookupError(task_id)
    if node.flow_style:
        return _replaced(source, node, _dumped(task, flow_style=True))
    indent = "\n" + " " * node.start_mark.column
    text = indent.join(_dumped(task).rstrip("\n").split("\n"))
    tail = _TAIL.search(source[node.start_mark.index : node.end_mark.index])
    kept = tail.group() if tail is not None else ""
    start, end = source[: node.start_mark.index], source[node.end_mark.index :]
    for ending in (kept, "\n" if end or source.endswith("\n") else ""):
        changed = start + text + ending + end
        if _has_task(changed, task_id, task):
            return changed
    raise LookupError(task_id)


def _has_task(source: str, task_id: str, task: Mapping[str, Any]) -> bool:
    try:
        document = read_document(source)
    except DocumentError:
        return False
    path, node = next(_tasks(document, task_id), ((), None))
    value: Any = document.value
    for step in path:
        value = value[step]
    return node is not None and value == task


def _tasks(document: Document, task_id: str) -> Iterator[tuple[Path, MappingNode]]:
    root = document.root
    if isinstance(root, MappingNode):
        for key, value in root.value:
            if isinstance(key, ScalarNode) and key.value in _TASK_LISTS:
                yield from _tasks_in(value, (key.value,), task_id)


def _tasks_in(node: Node, path: Path, task_id: str) -> Iterator[tuple[Path, MappingNode]]:
    if isinstance(node, SequenceNode):
        for index, each in enumerate(node.value):
            yield from _tasks_in(each, (*path, index), task_id)
    elif isinstance(node, MappingNode):
        values = {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}
        identifier = values.get("id")
        if "type" in values and isinstance(identifier, ScalarNode) and identifier.value == task_id:
            yield path, node
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                step = read_scalar(key.value) if key.style is None else key.value
                yield from _tasks_in(value, (*path, step), task_id)


def _replaced(source: str, node: Node, text: str) -> str:
    return source[: node.start_mark.index] + text + source[node.end_mark.index :]


def _first(sources: list[str], wanted: Any) -> str | None:
    """The first source that reads as is wanted."""
    for source in sources:
        try:
            if read_document(source).value == wanted:
                return source
        except DocumentError:
            continue
    return None


def _dumped(value: Any, *, flow_style: bool = False) -> str:
    text: str = yaml.safe_dump(
        dict(value),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow_style,
        width=float("inf") if flow_style else 110,
    )
    return text.strip() if flow_style else text
