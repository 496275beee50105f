"""From queries to the query language of Elasticsearch; only what its core has, no scripts."""

from __future__ import annotations

from typing import Any

from flowtide.errors import IndexQueryInvalid
from flowtide.index.elasticsearch.indices import LABEL_SEPARATOR
from flowtide.index.kinds import Field, FieldType, Kind, microseconds
from flowtide.index.queries import (
    TEXTUAL,
    AllOf,
    Dates,
    Filter,
    Group,
    HasLabel,
    LabelValues,
    Match,
    Operation,
    Slices,
    Sort,
    Terms,
    Words,
    beginning,
    check_pattern,
    comparable,
    members,
    words_of,
)

Clause = dict[str, Any]

_COMPARISONS = {
    Operation.GREATER_THAN: "gt",
    Operation.GREATER_THAN_OR_EQUAL_TO: "gte",
    Operation.LESS_THAN: "lt",
    Operation.LESS_THAN_OR_EQUAL_TO: "lte",
}
_ALL: Clause = {"match_all": {}}
_NONE: Clause = {"match_none": {}}


def scoped(kind: Kind, tenant: str, condition: Filter | None) -> Clause:
    """The whole query of a search: THE place where the tenant enters every search, count and delete."""
    clauses: list[Clause] = [{"term": {"docTenant": tenant}}]
    if condition is not None:
        clauses.append(_condition(kind, condition))
    return {"bool": {"filter": clauses}}


def _condition(kind: Kind, condition: Filter) -> Clause:
    if isinstance(condition, Match):
        return _match(kind.field(condition.field), condition)
    if isinstance(condition, HasLabel):
        return _label(kind, condition)
    if isinstance(condition, Words):
        return _words(kind, condition.text)
    if isinstance(condition, AllOf):
        return _all([_condition(kind, part) for part in condition.parts])
    return _any([_condition(kind, part) for part in condition.parts])


def _all(clauses: list[Clause]) -> Clause:
    return {"bool": {"filter": clauses}} if clauses else _ALL


def _any(clauses: list[Clause]) -> Clause:
    return {"bool": {"should": clauses, "minimum_should_match": 1}} if clauses else _NONE


def _not(clause: Clause) -> Clause:
    return {"bool": {"must_not": [clause]}}


def _match(field: Field, match: Match) -> Clause:
    path, operation = field.path, match.operation
    if operation is Operation.IS_NULL:
        return _not({"exists": {"field": path}})
    if operation is Operation.IS_NOT_NULL:
        return {"exists": {"field": path}}
    if operation in (Operation.IN, Operation.NOT_IN):
        clause = {"terms": {path: [_value(field, value) for value in members(match)]}}
        return clause if operation is Operation.IN else _not(clause)
    if operation in TEXTUAL:
        if field.type not in (FieldType.KEYWORD, FieldType.TEXT):
            raise IndexQueryInvalid(f"{operation} needs text, and {path} is a {field.type}", field=path)
        return _textual(path, operation, str(comparable(field, match.value)))
    value = _value(field, match.value)
    if operation in _COMPARISONS:
        return {"range": {path: {_COMPARISONS[operation]: value}}}
    clause = {"term": {path: value}}
    return clause if operation is Operation.EQUALS else _not(clause)


def _value(field: Field, given: Any) -> Any:
    value = comparable(field, given)
    if field.type is FieldType.DATE:
        assert isinstance(value, int)
        return beginning(value).isoformat()
    return bool(value) if field.type is FieldType.BOOLEAN else value


def _textual(path: str, operation: Operation, text: str) -> Clause:
    if operation is Operation.STARTS_WITH:
        return {"prefix": {path: {"value": text}}}
    if operation is Operation.PREFIX:
        return _any([{"term": {path: text}}, {"prefix": {path: {"value": f"{text}."}}}])
    if operation is Operation.NOT_CONTAINS:
        return _not(_textual(path, Operation.CONTAINS, text))
    if operation is Operation.REGEX:
        check_pattern(text)
        return {"regexp": {path: {"value": text}}}
    pattern = f"*{_literal(text)}" + ("*" if operation is Operation.CONTAINS else "")
    return {"wildcard": {path: {"value": pattern}}}


def _literal(text: str) -> str:
    return text.replace("\\", r"\\").replace("*", r"\*").replace("?", r"\?")


def _label(kind: Kind, label: HasLabel) -> Clause:
    if not kind.labels:
        raise IndexQueryInvalid(f"{kind.name} have no labels", field="labels")
    start = f"{label.key}{LABEL_SEPARATOR}"
    clause: Clause
    if label.value is None:
        clause = {"prefix": {"docLabels": {"value": start}}}
    else:
        clause = {"term": {"docLabels": f"{start}{label.value}"}}
    return _not(clause) if label.negated else clause


def _words(kind: Kind, text: str) -> Clause:
    if not kind.words:
        raise IndexQueryInvalid(f"{kind.name} have no text to search", field="q")
    if kind.name == "logs":
        return _all([{"prefix": {"message": {"value": word}}} for word in words_of(text)])
    words = text.lower().split()
    return _all([{"wildcard": {"docText": {"value": f"*{_literal(word)}*"}}} for word in words])


def order(kind: Kind, sort: tuple[Sort, ...]) -> list[Clause]:
    """The whole sorting: what was asked for, then the id.

    Dates come back as numbers: formatted, an absent one would be null, which `search_after` does not take.
    """
    clauses: list[Clause] = []
    for key in sort:
        field = kind.field(key.field)
        clause: Clause = {"order": "desc" if key.descending else "asc", "missing": "_last"}
        clauses.append({field.path: clause})
    clauses.append({"docId": {"order": "asc"}})
    return clauses


def source(kind: Kind, group: Group) -> Clause:
    """A group as a source of a composite aggregation."""
    if isinstance(group, LabelValues):
        if not kind.labels:
            raise IndexQueryInvalid(f"{kind.name} have no labels", field="labels")
        return {"terms": {"field": "docLabels"}}
    field = kind.field(group.field)
    if isinstance(group, Terms):
        terms: Clause = {"field": field.path}
        if group.absent:
            terms["missing_bucket"] = True  # comes first unless said otherwise
        return {"terms": terms}
    assert isinstance(group, Dates | Slices)
    if field.type is not FieldType.DATE:
        raise IndexQueryInvalid(f"{field.path} is no date", field=field.path)
    if isinstance(group, Slices):
        offset_ms = microseconds(group.start) // 1_000 % group.width_ms
        histogram = {"field": field.path, "fixed_interval": f"{group.width_ms}ms", "offset": f"{offset_ms}ms"}
        return {"date_histogram": histogram}
    if group.interval == "second":
        return {"date_histogram": {"field": field.path, "fixed_interval": "1s"}}
    return {"date_histogram": {"field": field.path, "calendar_interval": group.interval}}


class OtherGroup(ValueError):
    """A bucket belongs to a label that was not asked for, or stands before the first slice."""


def key_of(group: Group, value: Any) -> Any:
    """The key of a bucket as the port gives it.  Raises OtherGroup."""
    if isinstance(group, Dates):
        return beginning(value * 1_000)
    if isinstance(group, Slices):
        number = (int(value) - microseconds(group.start) // 1_000) // group.width_ms
        if number < 0:
            raise OtherGroup(str(number))
        return number
    if isinstance(group, LabelValues):
        key, _, text = str(value).partition(LABEL_SEPARATOR)
        if key != group.key:
            raise OtherGroup(key)
        return text
    return value
