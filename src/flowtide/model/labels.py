"""Labels in documents: a map, or a list of `{key, value}` (FLW-20), read to a tuple of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from flowtide.model.records import Label

CORRELATION = "system.correlationId"
RESTARTED = "system.restarted"
REPLAY = "system.replay"
REPLAYED = "system.replayed"
READ_ONLY = "system.readOnly"
SYSTEM_PREFIX = "system."
OF_FLOWS = frozenset({READ_ONLY, CORRELATION})  # the system labels that a person may give to a flow (LAB-10)


def is_system(key: str) -> bool:
    """Whether the label of this key is set by the system only (LAB-05)."""
    return key.startswith(SYSTEM_PREFIX)


def read_labels(value: Any) -> tuple[Label, ...]:
    """Read a map or a list; values become text, a key that comes twice keeps its last value.

    Raises PydanticCustomError, which pydantic turns into an error with its place.
    """
    labels: dict[str, Label] = {}
    if value is None:
        return ()
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = []
        for entry in value:
            if isinstance(entry, Label):
                pairs.append((entry.key, entry.value))
            elif isinstance(entry, Mapping) and set(entry) == {"key", "value"}:
                pairs.append((entry["key"], entry["value"]))
            else:
                raise PydanticCustomError("labels", "each label must be a mapping with `key` and `value`")
    else:
        raise PydanticCustomError("labels", "must be a map, or a list of mappings with `key` and `value`")
    for key, text in pairs:
        if key is None or str(key) == "":
            raise PydanticCustomError("labels", "a label's key must not be empty")
        if text is None or isinstance(text, Mapping | list) or str(text) == "":
            raise PydanticCustomError(
                "labels", "the label `{key}` needs a text as its value", {"key": str(key)}
            )
        labels[str(key)] = Label(key=str(key), value=_text(text))
    return tuple(labels.values())


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _write(labels: Sequence[Label]) -> list[dict[str, str]]:
    return [{"key": label.key, "value": label.value} for label in labels]


Labels = Annotated[
    tuple[InstanceOf[Label], ...],
    BeforeValidator(read_labels),
    PlainSerializer(_write),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "key": {"type": "string"},
                            "value": {"type": ["string", "number", "boolean"]},
                        },
                        "required": ["key", "value"],
                        "additionalProperties": False,
                    },
                },
            ]
        }
    ),
]
