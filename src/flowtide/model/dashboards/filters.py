"""Filters of charts: what a row must be like to be counted (E129); what is wrong with one, with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from flowtide.model.durations import parse_duration
from flowtide.model.plugin import Part

FieldName = TypeVar("FieldName", bound=StrEnum)

Fault = tuple[tuple[str | int, ...], str]
"""Where something is wrong, relative to the part that was asked, and what."""


class ValueType(StrEnum):
    """What a field of a data source holds; decides how it is compared and what can be computed of it."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    SECONDS = "seconds"  # a duration: a number of seconds, compared also with `PT1M`
    DATE = "date"
    LEVEL = "level"  # of a log line: TRACE to ERROR, in the order of their gravity
    SCOPE = "scope"  # USER or SYSTEM: follows from the namespace
    LABELS = "labels"
    WORDS = "words"  # long text that is found by its words only
    SHOWN = "shown"  # text that is in the documents, but that the index cannot compare


@dataclass(frozen=True, kw_only=True, slots=True)
class DataField:
    """A field of a data source."""

    path: str  # its name in the documents of the index
    type: ValueType = ValueType.TEXT


class FilterType(StrEnum):
    """How a field is compared."""

    CONTAINS = "CONTAINS"
    ENDS_WITH = "ENDS_WITH"
    EQUAL_TO = "EQUAL_TO"
    GREATER_THAN = "GREATER_THAN"
    GREATER_THAN_OR_EQUAL_TO = "GREATER_THAN_OR_EQUAL_TO"
    IN = "IN"
    IS_FALSE = "IS_FALSE"
    IS_NOT_NULL = "IS_NOT_NULL"
    IS_NULL = "IS_NULL"
    IS_TRUE = "IS_TRUE"
    LESS_THAN = "LESS_THAN"
    LESS_THAN_OR_EQUAL_TO = "LESS_THAN_OR_EQUAL_TO"
    NOT_EQUAL_TO = "NOT_EQUAL_TO"
    NOT_IN = "NOT_IN"
    OR = "OR"
    REGEX = "REGEX"
    STARTS_WITH = "STARTS_WITH"


_LISTS = frozenset({FilterType.IN, FilterType.NOT_IN})
_PRESENCE = frozenset({FilterType.IS_NULL, FilterType.IS_NOT_NULL})
_TRUTH = frozenset({FilterType.IS_TRUE, FilterType.IS_FALSE})
_WITHOUT_VALUE = _PRESENCE | _TRUTH
_ORDER = frozenset(
    {
        FilterType.GREATER_THAN,
        FilterType.GREATER_THAN_OR_EQUAL_TO,
        FilterType.LESS_THAN,
        FilterType.LESS_THAN_OR_EQUAL_TO,
    }
)
_EQUALITY = frozenset({FilterType.EQUAL_TO, FilterType.NOT_EQUAL_TO}) | _LISTS
_TEXTUAL = frozenset({FilterType.CONTAINS, FilterType.ENDS_WITH, FilterType.REGEX, FilterType.STARTS_WITH})
_MEASURABLE = _EQUALITY | _ORDER | _PRESENCE
POSSIBLE: Mapping[ValueType, frozenset[FilterType]] = {
    ValueType.TEXT: _EQUALITY | _ORDER | _TEXTUAL | _WITHOUT_VALUE,
    ValueType.INTEGER: _MEASURABLE,
    ValueType.NUMBER: _MEASURABLE,
    ValueType.SECONDS: _MEASURABLE,
    ValueType.DATE: _MEASURABLE,
    ValueType.LEVEL: _EQUALITY | _ORDER | _PRESENCE,
    ValueType.SCOPE: _EQUALITY,
    ValueType.LABELS: _EQUALITY | _WITHOUT_VALUE | {FilterType.CONTAINS},
    ValueType.WORDS: frozenset({FilterType.CONTAINS}),
    ValueType.SHOWN: frozenset(),
}
"""The filters that each type of field takes."""

Scalar = str | int | float | bool


class Where(Part, Generic[FieldName]):
    """One filter; those of a list must all hold, those below an OR at least one."""

    type: FilterType
    field: FieldName | None = None  # below OR, that of the OR where it is left out
    label_key: str | None = None  # with LABELS: the key whose value is compared
    value: Scalar | dict[str, str] | None = None  # with LABELS without `labelKey`: a map of keys and values
    values: tuple[Where[FieldName] | Scalar, ...] = ()  # of IN and NOT_IN; below OR, filters

    @property
    def alternatives(self) -> tuple[Self, ...]:
        """The filters below an OR; those without a field take that of the OR."""
        nested = [each for each in self.values if isinstance(each, Where)]
        return tuple(
            each if each.field is not None else each.model_copy(update={"field": self.field})  # type: ignore[misc]  # they are of the same data source
            for each in nested
        )

    def faults(self, fields: Mapping[str, DataField]) -> Iterator[Fault]:
        """What is wrong with it, where `fields` are those of the data source."""
        if self.type is FilterType.OR:
            yield from self._faults_of_or(fields)
            return
        if self.field is None:
            yield ("field",), "is required: the field to compare"
            return
        field = fields[self.field]
        if self.type not in POSSIBLE[field.type]:
            known = ", ".join(sorted(POSSIBLE[field.type])) or "none: it can only be shown"
            yield ("type",), f"{self.field} cannot be compared by {self.type}; there are {known}"
        if self.label_key is not None and field.type is not ValueType.LABELS:
            yield ("labelKey",), "belongs to the field LABELS"
        yield from self._faults_of_operands(field)

    def _faults_of_or(self, fields: Mapping[str, DataField]) -> Iterator[Fault]:
        if not self.values:
            yield ("values",), "is required: the filters of which one must hold"
        for index, each in enumerate(self.values):
            if not isinstance(each, Where):
                yield ("values", index), "must be a filter, with `type` and `field`"
        for index, nested in enumerate(self.alternatives):
            for path, message in nested.faults(fields):
                yield ("values", index, *path), message

    def _faults_of_operands(self, field: DataField) -> Iterator[Fault]:
        if self.type in _LISTS:
            if not self.values:
                yield ("values",), f"{self.type} needs `values`, a list"
            for index, each in enumerate(self.values):
                reason = (
                    "is a filter, which only OR takes" if isinstance(each, Where) else _wrong(field, each)
                )
                if reason is not None:
                    yield ("values", index), reason
        elif self.type in _WITHOUT_VALUE:
            if self.value is not None or self.values:
                yield ("value" if self.value is not None else "values",), f"{self.type} takes no value"
        elif self.value is None:
            yield ("value",), f"{self.type} needs a `value`"
        elif field.type is not ValueType.LABELS and (reason := _wrong(field, self.value)) is not None:
            yield ("value",), reason
        if field.type is ValueType.LABELS and self.label_key is None:
            yield from self._faults_of_labels()

    def _faults_of_labels(self) -> Iterator[Fault]:
        value = self.value
        if isinstance(value, dict) or (isinstance(value, str) and ":" in value):
            return
        yield ("labelKey",), "is required: the key of the label; or give `value` as a map of keys and values"


def _wrong(field: DataField, value: Any) -> str | None:
    """Why a value cannot be compared with a field."""
    if isinstance(value, dict):
        return "must be a text or a number, and not a map"
    if field.type in (ValueType.NUMBER, ValueType.INTEGER):
        try:
            float(value)
        except ValueError:
            return f"must be a number, and not {value!r}"
    elif field.type is ValueType.DATE:
        try:
            datetime.fromisoformat(str(value))
        except ValueError:
            return f"must be an ISO-8601 date, and not {value!r}"
    elif field.type is ValueType.SECONDS:
        try:
            seconds_of(value)
        except ValueError:
            return f"must be a number of seconds or a duration such as PT1M, and not {value!r}"
    elif field.type is ValueType.LEVEL and str(value).upper() not in LEVELS:
        return f"must be one of {', '.join(LEVELS)}"
    elif field.type is ValueType.SCOPE and str(value).upper() not in ("USER", "SYSTEM"):
        return "must be USER or SYSTEM"
    return None


LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


def seconds_of(value: Any) -> float:
    """A duration as a number of seconds.  Raises ValueError."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and value.strip()[:1] in ("P", "p", "-", "+") and "P" in value.upper():
        return parse_duration(value).total_seconds()
    return float(value)
