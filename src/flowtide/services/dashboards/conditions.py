"""From the filters of a chart, and those that its reader set for a whole dashboard, to filters of the index (E129)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flowtide.errors import ChartRefused
from flowtide.index.port import at_least
from flowtide.index.queries import AllOf, AnyOf, Filter, HasLabel, Match, Operation, Words
from flowtide.model.dashboards.data import AnySource
from flowtide.model.dashboards.filters import DataField, FilterType, ValueType, Where, seconds_of
from flowtide.model.durations import format_duration
from flowtide.model.entries import Level

_OPERATIONS = {
    FilterType.EQUAL_TO: Operation.EQUALS,
    FilterType.NOT_EQUAL_TO: Operation.NOT_EQUALS,
    **{
        FilterType(name): Operation(name)
        for name in (
            "CONTAINS", "ENDS_WITH", "GREATER_THAN", "GREATER_THAN_OR_EQUAL_TO", "IN", "IS_NOT_NULL", "IS_NULL",
            "LESS_THAN", "LESS_THAN_OR_EQUAL_TO", "NOT_IN", "REGEX", "STARTS_WITH",
        )
    },
}  # fmt: skip  # reads better as a paragraph
_NEGATIONS = frozenset({Operation.NOT_EQUALS, Operation.NOT_IN, Operation.NOT_CONTAINS})
_OTHER_NAMES = {
    "executions": {"EXECUTION_ID": "ID", "PARENT_ID": "TRIGGER_EXECUTION_ID"},
    "flows": {"FLOW_ID": "ID"},
}
"""What the fields of filters for all charts are called in single data sources."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalFilter:
    """A filter that the reader set for all charts; charts whose data has no such field are not limited by it."""

    field: str  # e.g. "FLOW_ID"
    operation: Operation
    value: Any = None
    key: str | None = None  # with LABELS


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeWindow:
    """How far back a chart looks when nobody says otherwise, and at most; None: as far as one likes."""

    default: timedelta
    maximum: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What the reader of a chart chose; the filters replace those of the chart on the same field."""

    start: datetime | None = None
    end: datetime | None = None
    filters: tuple[GlobalFilter, ...] = field(default=())
    page: int | None = None  # from 1
    size: int | None = None

    @property
    def has_dates(self) -> bool:
        """Whether the reader chose the time."""
        return self.start is not None or self.end is not None

    def chosen(self, name: str) -> str | None:
        """The one value that a field must be equal to; None when the reader did not say."""
        for each in self.filters:
            if each.field == name and each.operation in (Operation.EQUALS, Operation.PREFIX):
                return str(each.value)
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """The time that a chart shows."""

    start: datetime
    end: datetime
    open: bool  # whether the end is just now, and what comes meanwhile belongs to it

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start


def period_of(overrides: Overrides, window: TimeWindow, now: datetime) -> Period:
    """The time to show.  Raises ChartRefused when it ends before it begins, or is longer than is allowed."""
    end = overrides.end or now
    try:
        start = overrides.start or end - window.default
    except OverflowError:
        raise ChartRefused("`endDate` is too early") from None
    if end < start:
        raise ChartRefused("`endDate` must be after `startDate`")
    if window.maximum is not None and end - start > window.maximum:
        raise ChartRefused(
            f"the dashboard shows at most {format_duration(window.maximum)} at once (`timeWindow.max`),"
            f" and not {format_duration(end - start)}"
        )
    return Period(start=start, end=end, open=overrides.end is None)


def conditions_of(
    source: AnySource, overrides: Overrides, period: Period, *, system_namespace: str
) -> list[Filter]:
    """Everything that a row must fulfil, the numerator aside."""
    parts: list[Filter] = []
    replaced: set[str] = set()
    for each in overrides.filters:
        name, found = _global(source, each, system_namespace)
        if found is not None:
            parts.append(found)
            replaced.add(name)
    if source.date is not None:
        path = source.fields[source.date].path
        parts.append(Match(path, Operation.GREATER_THAN_OR_EQUAL_TO, period.start))
        if not period.open:
            parts.append(Match(path, Operation.LESS_THAN_OR_EQUAL_TO, period.end))
        if overrides.has_dates:
            replaced |= {name for name, each in source.fields.items() if each.type is ValueType.DATE}
    if source.hidden_kinds is not None:
        parts.append(Match(source.hidden_kinds, Operation.NOT_IN, ["TEST", "PLAYGROUND"]))
    kept = [where for where in source.where if where.field is None or where.field not in replaced]
    return [*parts, *filters_of(source, kept, system_namespace)]


def filters_of(source: AnySource, wheres: Iterable[Where[Any]], system_namespace: str) -> list[Filter]:
    """The filters of a chart as the index takes them."""
    return [_filter(source, where, system_namespace) for where in wheres]


def _filter(source: AnySource, where: Where[Any], system_namespace: str) -> Filter:
    if where.type is FilterType.OR:
        return AnyOf(tuple(_filter(source, each, system_namespace) for each in where.alternatives))
    assert where.field is not None, "a filter was checked when the dashboard was read"
    data_field = source.fields[where.field]
    if data_field.type is ValueType.LABELS:
        return _labels(where)
    if where.type in (FilterType.IS_TRUE, FilterType.IS_FALSE):
        return Match(
            data_field.path, Operation.EQUALS, "true" if where.type is FilterType.IS_TRUE else "false"
        )
    operation = _OPERATIONS[where.type]
    given = list(where.values) if operation in (Operation.IN, Operation.NOT_IN) else where.value
    return _comparison(data_field, operation, given, system_namespace)


def _comparison(data_field: DataField, operation: Operation, value: Any, system_namespace: str) -> Filter:
    path, kind = data_field.path, data_field.type
    if operation in (Operation.IS_NULL, Operation.IS_NOT_NULL):
        return Match(path, operation)
    if kind is ValueType.WORDS:
        return Words(str(value))
    if kind is ValueType.SCOPE:
        return scope_filter(value, system_namespace, negated=operation in _NEGATIONS)
    if kind is ValueType.LEVEL:
        return _level(path, operation, value)
    if kind is ValueType.SECONDS:
        value = [seconds_of(each) for each in value] if isinstance(value, list) else seconds_of(value)
    return Match(path, operation, value)


def _level(path: str, operation: Operation, value: Any) -> Filter:
    """Levels are ordered by their gravity, and not as texts."""
    if isinstance(value, list):
        return Match(path, operation, [str(each).upper() for each in value])
    given = str(value).upper()
    if operation in (Operation.EQUALS, Operation.NOT_EQUALS):
        return Match(path, operation, given)
    limit = _read_level(given).severity
    matching = {
        Operation.GREATER_THAN: lambda each: each > limit,
        Operation.GREATER_THAN_OR_EQUAL_TO: lambda each: each >= limit,
        Operation.LESS_THAN: lambda each: each < limit,
        Operation.LESS_THAN_OR_EQUAL_TO: lambda each: each <= limit,
    }.get(operation)
    if matching is None:
        return Match(path, operation, given)
    return Match(path, Operation.IN, [level.value for level in Level if matching(level.severity)])


def scope_filter(value: Any, system_namespace: str, *, negated: bool = False) -> Filter:
    """Rows of the system's namespace, or of all others, or both.  Raises ChartRefused for another scope."""
    scopes = {str(each).upper() for each in (value if isinstance(value, list) else str(value).split(","))}
    if not scopes <= {"USER", "SYSTEM"}:
        raise ChartRefused("a scope is USER or SYSTEM")
    if negated:
        scopes = {"USER", "SYSTEM"} - scopes
    if len(scopes) == 2:
        return AllOf(())
    if not scopes:
        return AnyOf(())
    operation = Operation.EQUALS if "SYSTEM" in scopes else Operation.NOT_EQUALS
    return Match("namespace", operation, system_namespace)


def _labels(where: Where[Any]) -> Filter:
    key = where.label_key
    if key is None:
        pairs = _pairs(where.value)
        if where.type is FilterType.NOT_EQUAL_TO:
            return AnyOf(tuple(HasLabel(name, value, negated=True) for name, value in pairs))
        return AllOf(tuple(HasLabel(name, value) for name, value in pairs))
    match where.type:
        case FilterType.IS_NULL:
            return HasLabel(key, negated=True)
        case FilterType.IS_NOT_NULL:
            return HasLabel(key)
        case FilterType.IS_TRUE | FilterType.IS_FALSE:
            return HasLabel(key, "true" if where.type is FilterType.IS_TRUE else "false")
        case FilterType.IN:
            return AnyOf(tuple(HasLabel(key, str(each)) for each in where.values))
        case FilterType.NOT_IN:
            return AllOf(tuple(HasLabel(key, str(each), negated=True) for each in where.values))
        case _:
            return HasLabel(key, str(where.value), negated=where.type is FilterType.NOT_EQUAL_TO)


def _pairs(value: Any) -> Sequence[tuple[str, str]]:
    if isinstance(value, dict):
        return [(str(name), str(each)) for name, each in value.items()]
    name, _, text = str(value).partition(":")
    return [(name, text)]


def _global(source: AnySource, each: GlobalFilter, system_namespace: str) -> tuple[str, Filter | None]:
    """The field of the data source that a filter for all charts means, and the filter; None when it has none."""
    name = _OTHER_NAMES.get(source.documents, {}).get(each.field, each.field)
    if each.field == "QUERY":
        return name, Words(str(each.value)) if str(each.value).strip() else AllOf(())
    if each.field == "SCOPE":
        negated = each.operation in _NEGATIONS
        return name, scope_filter(each.value, system_namespace, negated=negated)
    if each.field == "MIN_LEVEL":
        level = source.fields.get("LEVEL")
        return "LEVEL", None if level is None else at_least(_read_level(each.value))
    if each.field == "CHILD_FILTER":
        if source.documents != "executions":
            return name, None
        is_child = str(each.value).upper() == "CHILD"
        return name, Match("parentId", Operation.IS_NOT_NULL if is_child else Operation.IS_NULL)
    data_field = source.fields.get(name)
    if data_field is None or data_field.type in (ValueType.SHOWN, ValueType.WORDS):
        return name, None
    if data_field.type is ValueType.LABELS:
        negated = each.operation in _NEGATIONS
        pairs = [(each.key, str(each.value))] if each.key is not None else _pairs(each.value)
        return name, AllOf(tuple(HasLabel(key, value, negated=negated) for key, value in pairs))
    operation, value = each.operation, each.value
    if operation in (Operation.IN, Operation.NOT_IN) and not isinstance(value, list):
        value = str(value).split(",")
    elif isinstance(value, list):
        operation = Operation.NOT_IN if operation in _NEGATIONS else Operation.IN
    return name, _comparison(data_field, operation, value, system_namespace)


def _read_level(value: Any) -> Level:
    try:
        return Level(str(value).upper())
    except ValueError:
        raise ChartRefused(f"a level is one of {', '.join(Level)}") from None
