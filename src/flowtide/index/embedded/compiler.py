"""From queries to SQL: each filter, group and sort becomes a piece of text and its parameters.

Names in the text come only from the table of kinds; everything that a person gave travels as a parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from flowtide.errors import IndexQueryInvalid
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
    Terms,
    Words,
    check_pattern,
    comparable,
    members,
    words_of,
)

Piece = tuple[str, list[Any]]

_COMPARISONS = {
    Operation.GREATER_THAN: ">",
    Operation.GREATER_THAN_OR_EQUAL_TO: ">=",
    Operation.LESS_THAN: "<",
    Operation.LESS_THAN_OR_EQUAL_TO: "<=",
}
_SECOND = 1_000_000
_INTERVALS = {"second": _SECOND, "minute": 60 * _SECOND, "hour": 3_600 * _SECOND, "day": 86_400 * _SECOND}
_WEEK = 7 * 86_400 * _SECOND
_MONDAY = 3 * 86_400 * _SECOND  # 1970-01-01 was a Thursday


def scoped(
    kind: Kind, tenant: str, condition: Filter | None, common: Collection[Filter] = frozenset()
) -> Piece:
    """The whole condition of a statement: THE place where the tenant enters every read and delete.

    The parts in `common` are looked at document by document; others may be where the search begins.
    """
    if condition is None:
        return "tenant = ?", [tenant]
    text, parameters = _condition(kind, tenant, condition, common)
    return f"tenant = ? AND {text}", [tenant, *parameters]


def _condition(kind: Kind, tenant: str, condition: Filter, common: Collection[Filter]) -> Piece:
    if isinstance(condition, Match):
        return _match(kind.field(condition.field), condition)
    if isinstance(condition, HasLabel):
        return _label(kind, tenant, condition, is_common=condition in common)
    if isinstance(condition, Words):
        return _words(kind, tenant, condition.text, is_common=condition in common)
    if not condition.parts:
        return ("1" if isinstance(condition, AllOf) else "0"), []
    joined = " AND " if isinstance(condition, AllOf) else " OR "
    pieces = [_condition(kind, tenant, part, common) for part in condition.parts]
    return f"({joined.join(text for text, _ in pieces)})", [value for _, values in pieces for value in values]


def _match(field: Field, match: Match) -> Piece:
    column, operation = field.column, match.operation
    if operation is Operation.IS_NULL:
        return f"{column} IS NULL", []
    if operation is Operation.IS_NOT_NULL:
        return f"{column} IS NOT NULL", []
    if operation in (Operation.IN, Operation.NOT_IN):
        values: list[Any] = [comparable(field, value) for value in members(match)]
        marks = ", ".join("?" * len(values))
        if operation is Operation.IN:
            return f"{column} IN ({marks})", values
        return f"({column} IS NULL OR {column} NOT IN ({marks}))", values
    value = comparable(field, match.value)
    if operation is Operation.EQUALS:
        return f"{column} = ?", [value]
    if operation is Operation.NOT_EQUALS:
        return f"{column} IS NOT ?", [value]
    if operation in _COMPARISONS:
        return f"{column} {_COMPARISONS[operation]} ?", [value]
    assert operation in TEXTUAL
    if field.type not in (FieldType.KEYWORD, FieldType.TEXT):
        raise IndexQueryInvalid(
            f"{operation} needs text, and {field.path} is a {field.type}", field=field.path
        )
    return _textual(column, operation, str(value))


def _textual(column: str, operation: Operation, text: str) -> Piece:
    if operation is Operation.CONTAINS:
        return f"instr({column}, ?) > 0", [text]
    if operation is Operation.NOT_CONTAINS:
        return f"({column} IS NULL OR instr({column}, ?) = 0)", [text]
    if operation is Operation.ENDS_WITH:
        return f"substr({column}, -length(?)) = ?", [text, text]
    if operation is Operation.REGEX:
        check_pattern(text)
        return f"{column} REGEXP ?", [text]
    if operation is Operation.PREFIX:
        # No range that an index could take: a namespace near the root is nearly everything, and in the order of
        # dates the first page of it is found at once.
        return f"substr({column} || '.', 1, length(?)) = ?", [f"{text}.", f"{text}."]
    # The upper bound is larger than all texts of this prefix, because no text contains U+10FFFF.
    return f"({column} >= ? AND {column} < ?)", [text, f"{text}\U0010ffff"]


def _label(kind: Kind, tenant: str, label: HasLabel, *, is_common: bool) -> Piece:
    if not kind.labels:
        raise IndexQueryInvalid(f"{kind.name} have no labels", field="labels")
    condition, parameters = "tenant = ? AND key = ?", [tenant, label.key]
    if label.value is not None:
        condition += " AND value = ?"
        parameters.append(label.value)
    if is_common:
        having = f"{condition} AND row = {kind.name}.row"
        return f"EXISTS (SELECT 1 FROM {kind.name}_labels WHERE {having})", parameters  # noqa: S608 - names are ours
    negation = "NOT " if label.negated else ""
    return f"row {negation}IN (SELECT row FROM {kind.name}_labels WHERE {condition})", parameters  # noqa: S608 - names are ours


def _words(kind: Kind, tenant: str, text: str, *, is_common: bool) -> Piece:
    if not kind.words:
        raise IndexQueryInvalid(f"{kind.name} have no text to search", field="q")
    if kind.name == "logs":
        tokens = words_of(text)
        if not tokens:
            return "1", []
        sought = " AND ".join(f'"{token}"*' for token in tokens)
        return "row IN (SELECT rowid FROM logs_words WHERE logs_words MATCH ?)", [sought]
    columns = [kind.field(name).column for name in kind.words]
    pieces: list[str] = []
    parameters: list[Any] = []
    for word in text.lower().split():
        pattern = like(word)
        alternatives = [rf"{column} LIKE ? ESCAPE '\'" for column in columns]
        pieces.append(f"({' OR '.join(alternatives)})")
        parameters += [pattern] * len(columns)
        if kind.name == "executions" and len(word) >= TRIGRAM and not is_common:
            # The trigrams find candidates by the index; that they stand side by side is what LIKE then checks.
            pieces.append(f"row IN ({_WORDED})")
            parameters += [trigrams(word), tenant, tenant, pattern, pattern]
    return f"({' AND '.join(pieces)})" if pieces else "1", parameters


_WORDED = r"""SELECT rowid FROM executions_words WHERE executions_words MATCH ?
    UNION ALL SELECT row FROM executions WHERE tenant = ? AND (namespace, flow_id) IN (
        SELECT namespace, flow_id FROM executions_totals
        WHERE tenant = ? AND (namespace LIKE ? ESCAPE '\' OR flow_id LIKE ? ESCAPE '\'))"""

TRIGRAM = 3
"""The shortest part of an id that is found by the index, in letters."""


def like(word: str) -> str:
    """The pattern of texts that contain a word."""
    return "%" + word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"


def trigrams(word: str) -> str:
    """What the index of ids is asked for: all parts of three letters, in any order."""
    parts = dict.fromkeys(word[at : at + TRIGRAM] for at in range(len(word) - TRIGRAM + 1))
    return " AND ".join('"' + part.replace('"', '""') + '"' for part in parts)


class Order:
    """A total order over a kind's documents: the fields that were asked for, then the id."""

    def __init__(self, fields: Sequence[tuple[Field, bool]], identity: str) -> None:
        self._keys = [(field.column, descending, not field.required) for field, descending in fields]
        self._keys.append((identity, False, False))

    @property
    def columns(self) -> str:
        """What to select for the cursor."""
        return ", ".join(expression for expression, _, _ in self._keys)

    @property
    def length(self) -> int:
        """How many columns that are."""
        return len(self._keys)

    @property
    def clause(self) -> str:
        """What stands after ORDER BY."""
        return ", ".join(
            (f"{expression} IS NULL, " if nullable else "") + expression + (" DESC" if descending else "")
            for expression, descending, nullable in self._keys
        )

    def after(self, values: Sequence[Any]) -> Piece:
        """The condition that a document comes after the one with these values."""
        alternatives: list[str] = []
        parameters: list[Any] = []
        equal: list[str] = []
        equals: list[Any] = []
        for (expression, descending, nullable), value in zip(self._keys, values, strict=True):
            if value is not None:
                beyond = f"{expression} {'<' if descending else '>'} ?"
                if nullable:
                    beyond = f"({beyond} OR {expression} IS NULL)"
                alternatives.append(" AND ".join([*equal, beyond]))
                parameters.extend([*equals, value])
                equal.append(f"{expression} = ?")
                equals.append(value)
            else:
                equal.append(f"{expression} IS NULL")
        if not alternatives:
            return "0", []
        text = f"({' OR '.join(f'({alternative})' for alternative in alternatives)})"
        expression, descending, nullable = self._keys[0]
        if not nullable:  # redundant, but a range that an index understands
            text = f"{expression} {'<=' if descending else '>='} ? AND {text}"
            parameters.insert(0, values[0])
        return text, parameters


def grouping(kind: Kind, tenant: str, group: Group, number: int) -> tuple[str, str, list[Any], str]:
    """A group as its expression, the join that it needs with that join's parameters, and its condition."""
    if isinstance(group, LabelValues):
        if not kind.labels:
            raise IndexQueryInvalid(f"{kind.name} have no labels", field="labels")
        name = f"label{number}"
        join = (
            f" JOIN {kind.name}_labels AS {name}"
            f" ON {name}.tenant = ? AND {name}.key = ? AND {name}.row = documents.row"
        )
        return f"{name}.value", join, [tenant, group.key], "1"
    field = kind.field(group.field)
    column = f"documents.{field.column}"
    if isinstance(group, Terms):
        # With a sign it is no order that an index could give: reading many rows in it costs more than sorting groups.
        return f"+{column}", "", [], "1" if group.absent else f"{column} IS NOT NULL"
    assert isinstance(group, Dates | Slices)
    if field.type is not FieldType.DATE:
        raise IndexQueryInvalid(f"{field.path} is no date", field=field.path)
    if isinstance(group, Slices):
        first = microseconds(group.start)
        expression = f"({column} - {first}) / {group.width_ms * 1_000}"
        return expression, "", [], f"{column} >= {first}"
    if group.interval == "week":
        expression = f"{column} - ({column} + {_MONDAY}) % {_WEEK}"
    elif group.interval in _INTERVALS:
        expression = f"{column} - {column} % {_INTERVALS[group.interval]}"
    else:
        start = f"strftime('%s', {column} / {_SECOND}, 'unixepoch', 'start of {group.interval}')"
        expression = f"CAST({start} AS INTEGER) * {_SECOND}"
    return expression, "", [], f"{column} IS NOT NULL"
