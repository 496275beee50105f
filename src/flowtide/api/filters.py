"""Filters of searches as they stand in a query string: text in, filters of the index out (G_models, QueryFilter).

`filters[namespace][EQUALS]=a.b`, `filters[labels][EQUALS][env]=prod`, lists joined by commas; the brackets may be
percent-encoded.  All filters of a request must hold, unless they stand in a group of which one suffices:
`filters[or][0][namespace][EQUALS]=a`, also within one that all must hold: `filters[and][1][or][0]...`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from multidict import MultiMapping

from flowtide.api.problems import Problem
from flowtide.index.port import at_least
from flowtide.index.queries import AllOf, AnyOf, Filter, HasLabel, Match, Operation, Words
from flowtide.model.durations import parse_duration
from flowtide.model.entries import Level

_EQUALITY = frozenset({Operation.EQUALS, Operation.NOT_EQUALS})
_LISTS = _EQUALITY | {Operation.IN, Operation.NOT_IN}
_TEXT = _LISTS | {
    Operation.CONTAINS, Operation.NOT_CONTAINS, Operation.STARTS_WITH, Operation.ENDS_WITH, Operation.REGEX,
    Operation.PREFIX,
}  # fmt: skip  # reads better as a paragraph
_PRESENCE = frozenset({Operation.IS_NULL, Operation.IS_NOT_NULL})
_ORDER = _EQUALITY | {
    Operation.GREATER_THAN, Operation.GREATER_THAN_OR_EQUAL_TO, Operation.LESS_THAN,
    Operation.LESS_THAN_OR_EQUAL_TO,
}  # fmt: skip  # reads better as a paragraph

EXECUTION_FIELDS: Mapping[str, Collection[Operation]] = {
    "q": {Operation.EQUALS},
    "scope": _LISTS,
    "namespace": _TEXT,
    "flowId": _TEXT,
    "flowRevision": _LISTS | _ORDER,
    "id": _TEXT,
    "kind": _LISTS,
    "labels": _EQUALITY,
    "state": _LISTS,
    "startDate": _ORDER,
    "endDate": _ORDER | _PRESENCE,
    "timeRange": {Operation.EQUALS},
    "parentId": _TEXT | _PRESENCE,
    "triggerExecutionId": _TEXT | _PRESENCE,
    "triggerId": _TEXT | _PRESENCE,
    "childFilter": {Operation.EQUALS},
}
LOG_FIELDS: Mapping[str, Collection[Operation]] = {
    "q": {Operation.EQUALS},
    "scope": _LISTS,
    "namespace": _TEXT,
    "flowId": _TEXT,
    "executionId": _TEXT | _PRESENCE,
    "triggerId": _TEXT | _PRESENCE,
    "taskId": _TEXT | _PRESENCE,
    "taskRunId": _TEXT | _PRESENCE,
    "attemptNumber": _LISTS | _ORDER | _PRESENCE,
    "minLevel": {Operation.EQUALS, Operation.GREATER_THAN_OR_EQUAL_TO},
    "level": _LISTS | _ORDER,
    "startDate": _ORDER,
    "endDate": _ORDER,
    "timeRange": {Operation.EQUALS},
}
TRIGGER_FIELDS: Mapping[str, Collection[Operation]] = {
    "q": {Operation.EQUALS},
    "scope": _LISTS,
    "namespace": _TEXT,
    "flowId": _TEXT,
    "triggerId": _TEXT,
    "triggerState": _LISTS,
}
FLOW_FIELDS: Mapping[str, Collection[Operation]] = {
    "q": {Operation.EQUALS},
    "scope": _LISTS,
    "namespace": _TEXT,
    "flowId": _TEXT,
    "labels": _EQUALITY,
}

_NAME = re.compile(r"filters(?P<brackets>(?:\[[^\[\]]*\])+)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_NUMBER = re.compile(r"[0-9]{1,3}")
_DEEPEST_GROUP = 2
_MOST_FILTERS = 50
_LONGEST_VALUE = 10_000
_OFFSET = re.compile(r"([+-][0-9]{2})([0-9]{2})$")
_FRACTION = re.compile(r"\.([0-9]{6})[0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One filter as it was written."""

    field: str  # camelCase, "q" for the free text
    operation: Operation
    value: str
    key: str | None = None  # of a map such as the labels

    @property
    def values(self) -> list[str]:
        """The value as a list, split at commas."""
        return [part for part in self.value.split(",") if part]


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Several filters of which one suffices, or all must hold."""

    one_suffices: bool
    parts: tuple[Condition | Group, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterContext:
    """What some filters depend on."""

    now: datetime
    system_namespace: str = "system"


def read_conditions(query: MultiMapping[str], fields: Mapping[str, Collection[Operation]]) -> list[Condition]:
    """The filters of a query string, for searches that know no groups.

    `fields` says which fields this search knows, with the operations of each.  Raises Problem 400 for any other
    field or operation, naming those that are known.
    """
    conditions: list[Condition] = []
    for part in read_filters(query, fields):
        if isinstance(part, Group):
            raise Problem(400, "filters cannot be grouped here: use the form filters[field][OPERATION]=value")
        conditions.append(part)
    return conditions


def read_filters(
    query: MultiMapping[str], fields: Mapping[str, Collection[Operation]]
) -> list[Condition | Group]:
    """The filters of a query string, all of which must hold; raises as `read_conditions`."""
    root = _Element()
    count = 0
    for name, value in query.items():
        if not name.startswith("filters"):
            continue
        match = _NAME.fullmatch(name)
        parts = _PART.findall(match["brackets"]) if match else []
        element = root
        depth = 0
        while len(parts) > 3 and parts[0] in ("or", "and") and _NUMBER.fullmatch(parts[1]):
            depth += 1
            group = element.groups.setdefault(parts[0], {})
            element = group.setdefault(int(parts[1]), _Element())
            parts = parts[2:]
        if len(parts) not in (2, 3) or parts[0] in ("or", "and"):
            raise Problem(
                400, f"the filter `{name[:200]}` is not of the form filters[field][OPERATION]=value"
            )
        if depth > _DEEPEST_GROUP:
            raise Problem(400, "a group of filters may stand in another one, and no deeper")
        count += 1
        if count > _MOST_FILTERS or len(value) > _LONGEST_VALUE:
            raise Problem(
                400, f"there are at most {_MOST_FILTERS} filters, of {_LONGEST_VALUE} characters each"
            )
        if "\0" in value or "\0" in name:
            raise Problem(400, "a filter must not contain NUL characters")
        element.conditions.append(_condition(parts, value, fields))
    return root.parts()


@dataclass(slots=True)
class _Element:
    """What stands at one place of a group, while it is being read."""

    conditions: list[Condition] = field(default_factory=list)
    groups: dict[str, dict[int, _Element]] = field(default_factory=dict)

    def parts(self) -> list[Condition | Group]:
        found: list[Condition | Group] = [*self.conditions]
        for logical, elements in self.groups.items():
            members: list[Condition | Group] = []
            for _, element in sorted(elements.items()):
                inner = element.parts()
                members.append(inner[0] if len(inner) == 1 else Group(one_suffices=False, parts=tuple(inner)))
            found.append(Group(one_suffices=logical == "or", parts=tuple(members)))
        return found


def _condition(parts: list[str], value: str, fields: Mapping[str, Collection[Operation]]) -> Condition:
    name = camel_case(parts[0])
    if name == "query":
        name = "q"
    known = fields.get(name)
    if known is None:
        raise Problem(400, f"the filter field `{name[:100]}` is not known here; known are {_listed(fields)}")
    try:
        operation = Operation(parts[1])
    except ValueError:
        raise Problem(400, f"the filter operation `{parts[1][:100]}` is not known") from None
    if operation not in known:
        raise Problem(400, f"the filter field `{name}` takes {_listed(known)} and not {operation.value}")
    if len(parts) == 3 and name not in ("labels", "details"):
        raise Problem(400, f"the filter field `{name}` has no keys")
    key = parts[2] if len(parts) == 3 else None
    return Condition(field=name, operation=operation, value=value, key=key)


_Thing = TypeVar("_Thing")


def tested(
    part: Condition | Group, test: Callable[[Condition], Callable[[_Thing], bool]]
) -> Callable[[_Thing], bool]:
    """What things in memory are filtered with; `test` says what a single condition asks of them."""
    if isinstance(part, Condition):
        return test(part)
    tests = [tested(each, test) for each in part.parts]
    if part.one_suffices:
        return lambda thing: any(each(thing) for each in tests)
    return lambda thing: all(each(thing) for each in tests)


def fields_of(parts: Collection[Condition | Group]) -> set[str]:
    """The fields that filters name, in groups too."""
    found: set[str] = set()
    for part in parts:
        found |= {part.field} if isinstance(part, Condition) else fields_of(part.parts)
    return found


def index_filter(conditions: Collection[Condition | Group], context: FilterContext) -> AllOf:
    """What the index is asked.  Raises Problem 400 for a value that its field cannot have."""
    return AllOf(tuple(_index_filter(condition, context) for condition in conditions))


def _index_filter(condition: Condition | Group, context: FilterContext) -> Filter:
    if isinstance(condition, Group):
        parts = tuple(_index_filter(each, context) for each in condition.parts)
        return AnyOf(parts) if condition.one_suffices else AllOf(parts)
    special = _SPECIAL.get(condition.field)
    if special is not None:
        return special(condition, context)
    value: object = condition.value
    if condition.operation in (Operation.IN, Operation.NOT_IN):
        value = condition.values
    elif condition.operation is Operation.EQUALS and condition.field == "state" and "," in condition.value:
        return Match(condition.field, Operation.IN, condition.values)  # old clients send lists so
    elif condition.operation in _PRESENCE:
        value = None
    elif condition.field in ("startDate", "endDate"):
        value = read_moment(condition.value, condition.field)
    return Match(condition.field, condition.operation, value)


def _words(condition: Condition, context: FilterContext) -> Filter:
    return Words(condition.value) if condition.value.strip() else AllOf(())


def _label(condition: Condition, context: FilterContext) -> Filter:
    key, value = condition.key, condition.value
    if key is None:
        key, colon, value = condition.value.partition(":")
        if not key or not colon:
            raise Problem(400, "a filter by label is filters[labels][EQUALS][key]=value")
    return HasLabel(key, value, negated=condition.operation is Operation.NOT_EQUALS)


def _scope(condition: Condition, context: FilterContext) -> Filter:
    scopes = {scope.upper() for scope in condition.values}
    if not scopes <= {"USER", "SYSTEM"}:
        raise Problem(400, "`scope` must be USER or SYSTEM")
    if condition.operation in (Operation.NOT_EQUALS, Operation.NOT_IN):
        scopes = {"USER", "SYSTEM"} - scopes
    if len(scopes) == 2:
        return AllOf(())
    operation = Operation.EQUALS if "SYSTEM" in scopes else Operation.NOT_EQUALS
    return Match("namespace", operation, context.system_namespace)


def _time_range(condition: Condition, context: FilterContext) -> Filter:
    try:
        start = context.now - abs(parse_duration(condition.value))
    except (ValueError, OverflowError):
        raise Problem(400, "`timeRange` must be an ISO-8601 duration, such as PT24H") from None
    return Match("startDate", Operation.GREATER_THAN_OR_EQUAL_TO, start)


def _child(condition: Condition, context: FilterContext) -> Filter:
    if condition.value.upper() not in ("CHILD", "MAIN"):
        raise Problem(400, "`childFilter` must be CHILD or MAIN")
    is_child = condition.value.upper() == "CHILD"
    return Match("parentId", Operation.IS_NOT_NULL if is_child else Operation.IS_NULL)


def _kind(condition: Condition, context: FilterContext) -> Filter:
    """A normal execution has no kind in its document."""
    values = [value.upper() for value in condition.values]
    parts: list[Filter] = [Match("kind", Operation.IN, values)]
    if "NORMAL" in values:
        parts.append(Match("kind", Operation.IS_NULL))
    if condition.operation in (Operation.EQUALS, Operation.IN):
        return AnyOf(tuple(parts))
    absent = [Match("kind", Operation.IS_NOT_NULL)] if "NORMAL" in values else []
    return AllOf((Match("kind", Operation.NOT_IN, values), *absent))


def _trigger_state(condition: Condition, context: FilterContext) -> Filter:
    states = {state.upper() for state in condition.values}
    if not states <= {"ENABLED", "DISABLED"}:
        raise Problem(400, "`triggerState` must be ENABLED or DISABLED")
    if condition.operation in (Operation.NOT_EQUALS, Operation.NOT_IN):
        states = {"ENABLED", "DISABLED"} - states
    return Match("disabled", Operation.IN, [state == "DISABLED" for state in sorted(states)])


def _minimum_level(condition: Condition, context: FilterContext) -> Filter:
    return at_least(read_level(condition.value))


def _level(condition: Condition, context: FilterContext) -> Filter:
    """Levels are ordered by their gravity, and not as texts."""
    if condition.operation not in _LEVELS:
        return Match("level", condition.operation, [value.upper() for value in condition.values])
    level = read_level(condition.value)
    fits = _LEVELS[condition.operation]
    return Match("level", Operation.IN, [each.value for each in Level if fits(each.severity, level.severity)])


_LEVELS: Mapping[Operation, Callable[[int, int], bool]] = {
    Operation.EQUALS: operator.eq,
    Operation.NOT_EQUALS: operator.ne,
    Operation.GREATER_THAN: operator.gt,
    Operation.GREATER_THAN_OR_EQUAL_TO: operator.ge,
    Operation.LESS_THAN: operator.lt,
    Operation.LESS_THAN_OR_EQUAL_TO: operator.le,
}


_SPECIAL = {
    "q": _words,
    "labels": _label,
    "scope": _scope,
    "timeRange": _time_range,
    "childFilter": _child,
    "minLevel": _minimum_level,
    "level": _level,
    "kind": _kind,
    "triggerState": _trigger_state,
}

_BARE = {
    "q": Operation.EQUALS,
    "scope": Operation.IN,
    "namespace": Operation.PREFIX,
    "flowId": Operation.EQUALS,
    "startDate": Operation.GREATER_THAN_OR_EQUAL_TO,
    "endDate": Operation.LESS_THAN_OR_EQUAL_TO,
    "timeRange": Operation.EQUALS,
    "state": Operation.IN,
    "labels": Operation.EQUALS,
    "triggerExecutionId": Operation.EQUALS,
    "triggerId": Operation.EQUALS,
    "executionId": Operation.EQUALS,
    "childFilter": Operation.EQUALS,
    "minLevel": Operation.EQUALS,
}
"""The former spelling, without `filters[...]`, and what each parameter means."""


def bare_conditions(query: MultiMapping[str], fields: Collection[str]) -> list[Condition]:
    """The conditions in the former spelling, such as `namespace=a.b&state=FAILED&labels=k:v`."""
    conditions = []
    for name, operation in _BARE.items():
        if name not in fields:
            continue
        values = [value for value in query.getall(name, []) if value]
        if any("\0" in value or len(value) > _LONGEST_VALUE for value in values):
            raise Problem(400, f"`{name}` is too long or has NUL characters")
        if operation is Operation.IN and values:
            values = [",".join(values)]
        conditions += [Condition(field=name, operation=operation, value=value) for value in values]
    return conditions


def read_level(text: str) -> Level:
    """A level of log lines.  Raises Problem 400."""
    try:
        return Level(text.upper())
    except ValueError:
        raise Problem(400, f"a level is one of {', '.join(Level)}") from None


def read_moment(text: str, name: str) -> datetime:
    """Read an ISO-8601 date-time with an offset; without one it means UTC.  Raises Problem 400."""
    cleaned = _OFFSET.sub(r"\1:\2", _FRACTION.sub(r".\1", text.strip().replace(" ", "+")))
    try:
        moment = datetime.fromisoformat(cleaned)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(400, f"`{name}` must be an ISO-8601 date-time, such as 2026-01-31T08:00:00Z") from None


def camel_case(name: str) -> str:
    """`FLOW_ID` and `flowId` are the same field."""
    if name.isupper() or "_" in name:
        first, *others = name.lower().split("_")
        return first + "".join(other.capitalize() for other in others)
    return name


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
