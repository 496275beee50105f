"""Data sources of charts: which documents are read, which columns come of them, and in which order (E122 to E130)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic

from pydantic import Field

from flowtide.model.dashboards.filters import DataField, Fault, FieldName, ValueType, Where
from flowtide.model.plugin import Part, Plugin


class Aggregation(StrEnum):
    """What is computed of the rows of a group."""

    AVG = "AVG"
    COUNT = "COUNT"  # of rows; with a field, of those that have it
    MAX = "MAX"
    MIN = "MIN"
    SUM = "SUM"


class GraphStyle(StrEnum):
    """How a series of a TimeSeries is drawn."""

    LINES = "LINES"
    BARS = "BARS"
    POINTS = "POINTS"


class ColumnAlignment(StrEnum):
    """On which side the texts of a Table's column stand."""

    LEFT = "LEFT"
    RIGHT = "RIGHT"
    CENTER = "CENTER"


_NUMERIC = frozenset({ValueType.NUMBER, ValueType.INTEGER, ValueType.SECONDS})


class Column(Part, Generic[FieldName]):
    """One column of the result: a value of each row, or with `agg` one computed of many."""

    field: FieldName | None = None  # only COUNT can do without
    display_name: str | None = None
    agg: Aggregation | None = None
    label_key: str | None = None  # with LABELS: the key whose value is meant
    graph_style: GraphStyle | None = None  # in a TimeSeries; with `agg` LINES unless said otherwise
    column_alignment: ColumnAlignment | None = None  # in a Table; LEFT unless said otherwise

    def faults(self, fields: Mapping[str, DataField]) -> Iterator[Fault]:
        """What is wrong with it."""
        if self.field is None:
            if self.agg is not Aggregation.COUNT:
                yield ("field",), "is required; only `agg: COUNT` can do without"
            return
        kind = fields[self.field].type
        if self.label_key is not None and kind is not ValueType.LABELS:
            yield ("labelKey",), "belongs to the field LABELS"
        if self.agg is None:
            return
        if kind in (ValueType.WORDS, ValueType.SHOWN, ValueType.SCOPE):
            yield ("agg",), f"{self.field} cannot be aggregated"
        elif kind is ValueType.LABELS:
            yield ("agg",), "LABELS cannot be aggregated; count the rows, and filter them by the label"
        elif self.agg in (Aggregation.SUM, Aggregation.AVG) and kind not in _NUMERIC:
            yield ("agg",), f"{self.agg} needs a number, and {self.field} is none"
        elif self.agg in (Aggregation.MIN, Aggregation.MAX) and kind not in (*_NUMERIC, ValueType.DATE):
            yield ("agg",), f"{self.agg} needs a number or a date, and {self.field} is neither"


class Order(StrEnum):
    """In which direction rows are sorted."""

    ASC = "ASC"
    DESC = "DESC"


class OrderBy(Part):
    """A column to sort by."""

    column: str  # its name in `columns`
    order: Order = Order.ASC


class DataSource(Plugin):
    """The base of all data sources."""

    kind = "data"
    documents: ClassVar[str]  # the kind of documents in the index
    fields: ClassVar[Mapping[str, DataField]]
    date: ClassVar[str | None] = None  # the field that the time window of a dashboard limits
    hidden_kinds: ClassVar[str | None] = None  # where documents say that they are of a test or the playground

    def faults(self) -> Iterator[Fault]:
        """What is wrong beyond the types of the properties."""
        yield from ()


class FilteredSource(DataSource, Generic[FieldName]):
    """A data source whose fields have the names of an enumeration."""

    where: Annotated[tuple[Where[FieldName], ...], Field(title="Which rows count; all of it must hold")] = ()

    def faults(self) -> Iterator[Fault]:
        for index, each in enumerate(self.where):
            for path, message in each.faults(self.fields):
                yield ("where", index, *path), message


class RowSource(FilteredSource[FieldName], Generic[FieldName]):
    """Data of every chart but KPI: rows, or groups of rows where a column has `agg`."""

    columns: Annotated[dict[str, Column[FieldName]], Field(title="The columns by name")]
    order_by: Annotated[tuple[OrderBy, ...], Field(title="The columns that rows are sorted by")] = ()

    @property
    def aggregates(self) -> dict[str, Column[FieldName]]:
        """The columns that are computed."""
        return {name: column for name, column in self.columns.items() if column.agg is not None}

    def faults(self) -> Iterator[Fault]:
        if not self.columns:
            yield ("columns",), "must have at least one column"
        for name, column in self.columns.items():
            for path, message in column.faults(self.fields):
                yield ("columns", name, *path), message
        yield from super().faults()
        grouped = bool(self.aggregates)
        for name, column in self.columns.items() if grouped else ():
            kind = None if column.field is None else self.fields[column.field].type
            if column.agg is None and kind in (ValueType.WORDS, ValueType.SHOWN):
                yield ("columns", name, "field"), f"rows cannot be grouped by {column.field}"
            if column.agg is None and kind is ValueType.LABELS and column.label_key is None:
                yield ("columns", name, "labelKey"), "is required: the key of the label to group rows by"
        for index, order in enumerate(self.order_by):
            sorted_by = self.columns.get(order.column)
            if sorted_by is None:
                known = ", ".join(self.columns)
                yield ("orderBy", index, "column"), f"there is no column `{order.column}`; there are {known}"
            elif (
                not grouped
                and sorted_by.field is not None
                and self.fields[sorted_by.field].type
                in (ValueType.LABELS, ValueType.WORDS, ValueType.SHOWN, ValueType.SCOPE)
            ):
                yield ("orderBy", index, "column"), f"rows cannot be sorted by {sorted_by.field}"


class KpiSource(FilteredSource[FieldName], Generic[FieldName]):
    """Data of a KPI chart: one number, computed of the rows that match `where`, and with `numerator` of a part."""

    columns: Annotated[Column[FieldName], Field(title="How the number is computed")]
    numerator: Annotated[
        tuple[Where[FieldName], ...], Field(title="Which of these rows are the part, when a ratio is shown")
    ] = ()

    def faults(self) -> Iterator[Fault]:
        if self.columns.agg is None:
            yield ("columns", "agg"), "is required: a KPI chart shows exactly one aggregation"
        for path, message in self.columns.faults(self.fields):
            yield ("columns", *path), message
        yield from super().faults()
        for index, each in enumerate(self.numerator):
            for path, message in each.faults(self.fields):
                yield ("numerator", index, *path), message


AnySource = RowSource[Any] | KpiSource[Any]
