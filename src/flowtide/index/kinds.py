"""What the index holds, as one table: every kind of document with the fields that queries may name.

Both adapters, the mapping files and the SQL schema follow this table; a test compares them with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from flowtide.errors import IndexQueryInvalid

SYSTEM_TENANT = "_system"
"""The tenant of what belongs to no tenant (servers); no tenant's own id starts with an underscore."""

Scalar = str | int | float | bool | None


class FieldType(StrEnum):
    """How a field is compared and sorted."""

    KEYWORD = "keyword"  # text compared as a whole, case matters
    DATE = "date"  # in the document ISO-8601 text, in `Write.values` microseconds since 1970
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"  # only searched by words


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a kind of document."""

    path: str  # where it stands in the document, with a dot for each level; also its name in queries
    type: FieldType = FieldType.KEYWORD
    aliases: tuple[str, ...] = ()  # further names in queries
    required: bool = False  # whether every document has it

    @property
    def column(self) -> str:
        """Its name in SQL."""
        return _snake(self.path)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of document."""

    name: str
    fields: tuple[Field, ...]
    created: str | None = None  # the field that dates the document for index rotation and never changes
    words: tuple[str, ...] = ()  # the fields that free text is looked for in
    labels: bool = False  # whether documents carry `labels`, a list of {key, value}
    fixed: bool = False  # whether a document never changes once it is written
    numbered: bool = False  # whether ids are `numbered_id`s, unique over all tenants

    def field(self, name: str) -> Field:
        """The field of this name or alias.  Raises IndexQueryInvalid when there is none."""
        found = _BY_NAME[self.name].get(name)
        if found is None:
            known = ", ".join(field.path for field in self.fields)
            raise IndexQueryInvalid(f"{self.name} have no field {name}; they have {known}", field=name)
        return found


def _snake(path: str) -> str:
    text = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in path.replace(".", "_"))
    return _RENAMED.get(text, text)


_RENAMED = {"order": "ordinal", "version": "release"}  # SQL's own word; the document's version


def _keywords(*paths: str, required: bool = False) -> tuple[Field, ...]:
    return tuple(Field(path=path, required=required) for path in paths)


_FLOW = _keywords("namespace", "flowId", required=True)
_STATE = (
    Field(path="state.current", aliases=("state",), required=True),
    Field(path="state.startDate", type=FieldType.DATE, aliases=("startDate",), required=True),
    Field(path="state.endDate", type=FieldType.DATE, aliases=("endDate",)),
    Field(path="durationSeconds", type=FieldType.NUMBER, aliases=("state.duration", "duration")),
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="executions",
            fields=(
                Field(path="id", required=True, aliases=("executionId",)),
                *_FLOW,
                Field(path="flowRevision", type=FieldType.INTEGER, required=True),
                *_STATE,
                Field(path="kind"),
                Field(path="parentId", aliases=("triggerExecutionId",)),
                Field(path="originalId"),
                Field(path="trigger.id", aliases=("triggerId",)),
                Field(path="scheduleDate", type=FieldType.DATE),
            ),
            created="state.startDate",
            words=("id", "namespace", "flowId"),
            labels=True,
        ),
        Kind(
            name="task_runs",
            fields=(
                Field(path="id", required=True, aliases=("taskRunId",)),
                Field(path="executionId", required=True),
                Field(path="order", type=FieldType.INTEGER, required=True),
                *_FLOW,
                Field(path="taskId", required=True),
                Field(path="parentTaskRunId"),
                *_STATE,
                Field(path="value"),
                Field(path="iteration", type=FieldType.INTEGER),
                Field(path="lastEvent", type=FieldType.INTEGER, required=True),
            ),
            created="state.startDate",
            words=("id", "taskId", "namespace", "flowId"),
        ),
        Kind(
            name="events",
            fields=(
                Field(path="executionId", required=True),
                Field(path="number", type=FieldType.INTEGER, required=True),
                Field(path="type", required=True),
                Field(path="at", type=FieldType.DATE, required=True, aliases=("date",)),
                Field(path="runId", aliases=("taskRunId",)),
                Field(path="state"),
                Field(path="cause.event", type=FieldType.INTEGER, aliases=("causedBy",)),
            ),
            created="at",
            fixed=True,
        ),
        Kind(
            name="logs",
            fields=(
                *_FLOW,
                Field(
                    path="timestamp",
                    type=FieldType.DATE,
                    required=True,
                    aliases=("startDate", "endDate", "date"),
                ),
                Field(path="level", required=True),
                *_keywords("executionId", "taskId", "taskRunId"),
                Field(path="attemptNumber", type=FieldType.INTEGER),
                *_keywords("triggerId", "executionKind"),
                Field(path="message", type=FieldType.TEXT, required=True),
            ),
            created="timestamp",
            words=("message",),
            fixed=True,
            numbered=True,
        ),
        Kind(
            name="metrics",
            fields=(
                *_FLOW,
                *_keywords("executionId", "taskId", "taskRunId", "name", "type", required=True),
                Field(path="value", type=FieldType.NUMBER, required=True),
                Field(path="timestamp", type=FieldType.DATE, required=True, aliases=("date",)),
                Field(path="executionKind"),
            ),
            created="timestamp",
            words=("name", "taskId"),
            fixed=True,
            numbered=True,
        ),
        Kind(
            name="flows",
            fields=(
                Field(path="id", required=True, aliases=("flowId",)),
                Field(path="namespace", required=True),
                Field(path="revision", type=FieldType.INTEGER, required=True),
                Field(path="disabled", type=FieldType.BOOLEAN, required=True),
                Field(path="updated", type=FieldType.DATE, required=True),
                Field(path="description"),
            ),
            words=("id", "namespace", "description"),
            labels=True,
        ),
        Kind(
            name="audit_logs",
            fields=(
                Field(path="id", required=True),
                Field(path="date", type=FieldType.DATE, required=True, aliases=("startDate", "endDate")),
                Field(path="action", required=True, aliases=("type",)),
                Field(path="resource", required=True, aliases=("resources",)),
                Field(path="actor.id", required=True, aliases=("userId",)),
                *_keywords("actor.type", "actor.ipAddress", "actor.impersonatedBy", "detailId", "namespace"),
            ),
            created="date",
            words=("id", "resource", "actor.id", "detailId", "namespace"),
            labels=True,
        ),
        Kind(
            name="triggers",
            fields=(
                *_FLOW,
                Field(path="triggerId", required=True),
                Field(path="flowRevision", type=FieldType.INTEGER, required=True),
                Field(path="type", required=True),
                Field(path="disabled", type=FieldType.BOOLEAN, required=True),
                Field(path="updated", type=FieldType.DATE, required=True, aliases=("updatedDate",)),
                Field(path="date", type=FieldType.DATE),
                Field(path="nextExecutionDate", type=FieldType.DATE),
                Field(path="executionId"),
            ),
            words=("namespace", "flowId", "triggerId"),
        ),
        Kind(
            name="services",
            fields=(
                *_keywords("id", "type", "state", "host", "version", required=True),
                Field(path="started", type=FieldType.DATE, required=True, aliases=("startDate",)),
                Field(path="heartbeat", type=FieldType.DATE, required=True),
            ),
            words=("id", "host"),
        ),
    )
}

_BY_NAME: Mapping[str, Mapping[str, Field]] = {
    kind.name: {name: field for field in kind.fields for name in (*field.aliases, field.path)}
    for kind in KINDS.values()
}


def kind_of(name: str) -> Kind:
    """The kind of this name.  Raises IndexQueryInvalid when there is none."""
    kind = KINDS.get(name)
    if kind is None:
        raise IndexQueryInvalid(f"the index holds no {name}; it holds {', '.join(KINDS)}")
    return kind


def numbered_id(partition: int, offset: int) -> str:
    """The id of a document that is a record of the log (log lines, metrics): its position, sortable as text."""
    return f"{(partition << 44) | offset:019d}"


def position_of(numbered: str) -> tuple[int, int]:
    """The partition and offset that a `numbered_id` was made of."""
    number = int(numbered)
    return number >> 44, number & ((1 << 44) - 1)


def event_id(execution_id: str, number: int) -> str:
    """The id of an event's document."""
    return f"{execution_id}/{number:010d}"


def microseconds(moment: datetime) -> int:
    """A moment as microseconds since 1970-01-01T00:00Z, as `Write.values` carries dates."""
    return round(moment.timestamp() * 1_000_000)


def parse_microseconds(text: str) -> int:
    """An ISO-8601 date, in UTC where it names no zone, as microseconds since 1970.  Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _getter(field: Field) -> Callable[[Mapping[str, Any]], Scalar]:
    head, _, tail = field.path.partition(".")
    dated = field.type is FieldType.DATE

    def value(document: Mapping[str, Any]) -> Any:
        found = document.get(head)
        if tail and found is not None:
            found = found.get(tail)
        return parse_microseconds(found) if dated and found is not None else found

    return value


_GETTERS: Mapping[str, tuple[Callable[[Mapping[str, Any]], Scalar], ...]] = {
    kind.name: tuple(_getter(field) for field in kind.fields) for kind in KINDS.values()
}


def values_of(kind: str, document: Mapping[str, Any]) -> tuple[Scalar, ...]:
    """The fields of a document in the order of its kind's table, as `Write.values` carries them."""
    return tuple([value(document) for value in _GETTERS[kind]])
