"""The data of charts: a chart and what its reader chose come in, rows computed by the index go out.

Every chart with aggregations is one aggregation of the index (two where rows are grouped by scope), a table without
them one search.  State: none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flowtide.errors import ChartRefused, FlowInvalid
from flowtide.index.port import Index
from flowtide.index.queries import (
    AllOf,
    AnyOf,
    Bucket,
    Dates,
    Group,
    Interval,
    LabelValues,
    Match,
    Measure,
    Operation,
    Query,
    Sort,
    Terms,
    beginning,
)
from flowtide.model.dashboards.charts import KPI, Chart, NumberType, RowChart
from flowtide.model.dashboards.data import Aggregation, AnySource, Column, KpiSource, Order, RowSource
from flowtide.model.dashboards.filters import ValueType
from flowtide.model.dashboards.markdown import FlowDescriptionSource, Markdown
from flowtide.model.records import format_date
from flowtide.services.catalog import Catalog
from flowtide.services.dashboards.conditions import (
    Overrides,
    Period,
    TimeWindow,
    conditions_of,
    filters_of,
    period_of,
    scope_filter,
)

MOST_GROUPS = 10_000
DEFAULT_SIZE = 100
_PORTION = 1_000
_FUNCTIONS: Mapping[Aggregation, Any] = {
    Aggregation.AVG: "average",
    Aggregation.COUNT: "count",
    Aggregation.MAX: "maximum",
    Aggregation.MIN: "minimum",
    Aggregation.SUM: "sum",
}
_SCOPES = ("SYSTEM", "USER")

Row = dict[str, Any]
Namespaces = Callable[[str], frozenset[str] | None]
"""The namespaces, each with all below it, of whose documents of a kind the reader may know; None: all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartRequest:
    """A chart that somebody wants to see."""

    tenant: str
    chart: Chart
    window: TimeWindow
    overrides: Overrides = field(default_factory=Overrides)
    namespaces: Namespaces = lambda documents: None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartData:
    """Rows by the names of the columns, and how many there are altogether."""

    rows: list[Row]
    total: int


class ChartReader:
    """Computes the data of charts."""

    def __init__(
        self,
        index: Index,
        catalog: Catalog,
        *,
        clock: Callable[[], datetime],
        system_namespace: str = "system",
    ) -> None:
        self._index = index
        self._catalog = catalog
        self._clock = clock
        self._system_namespace = system_namespace

    async def read(self, request: ChartRequest) -> ChartData:
        """A page of a chart's data, or all of it where nobody asked for a page.

        Rows that nothing is computed of come DEFAULT_SIZE at once.  Raises ChartRefused, IndexQueryInvalid,
        IndexUnavailable.
        """
        chart = request.chart
        if isinstance(chart, Markdown):
            rows = [{"description": self._text(request, chart)}]
            return ChartData(rows=rows, total=1)
        source, period, conditions = self._prepared(request)
        if isinstance(source, KpiSource):
            percentage = (
                isinstance(chart, KPI)
                and chart.chart_options is not None
                and chart.chart_options.number_type is NumberType.PERCENTAGE
            )
            value = await self._number(request.tenant, source, conditions, percentage)
            return ChartData(rows=[{"value": value}], total=1)
        page, size = request.overrides.page or 1, request.overrides.size
        if not source.aggregates:
            query = self._query(source, conditions, page=page, size=size or DEFAULT_SIZE)
            found = await self._index.search(request.tenant, query)
            documents = [self._row(source, each.document) for each in found.results]
            return ChartData(rows=documents, total=found.total or 0)
        groups = await self._groups(request.tenant, source, conditions, period)
        shown = groups if size is None else groups[(page - 1) * size : page * size]
        return ChartData(rows=shown, total=len(groups))

    async def portions(self, request: ChartRequest) -> AsyncIterator[list[Row]]:
        """All of a chart's data, whatever the page, in portions.  Raises as `read`."""
        chart = request.chart
        if isinstance(chart, RowChart):
            source, _, conditions = self._prepared(request)
            if isinstance(source, RowSource) and not source.aggregates:
                after: str | None = None
                while True:
                    query = self._query(source, conditions, size=_PORTION, after=after, count=False)
                    found = await self._index.search(request.tenant, query)
                    if found.results:
                        yield [self._row(source, each.document) for each in found.results]
                    after = found.next
                    if after is None:
                        return
        yield (await self.read(_without_page(request))).rows

    def _prepared(self, request: ChartRequest) -> tuple[AnySource, Period, AllOf]:
        chart = request.chart
        source = chart.data if isinstance(chart, RowChart | KPI) else None
        if not isinstance(source, RowSource | KpiSource):
            raise ChartRefused(f"the chart `{chart.id}` has no data that could be computed")
        period = period_of(request.overrides, request.window, self._clock())
        parts = conditions_of(source, request.overrides, period, system_namespace=self._system_namespace)
        allowed = request.namespaces(source.documents)
        if allowed is not None:
            names = tuple(Match("namespace", Operation.PREFIX, name) for name in sorted(allowed))
            parts.append(AnyOf(names))
        return source, period, AllOf(tuple(parts))

    # --- rows as they are ---------------------------------------------------------------------------------------

    def _query(self, source: RowSource[Any], conditions: AllOf, **fields: Any) -> Query:
        order = tuple(
            Sort(source.fields[column.field].path, descending=each.order is Order.DESC)
            for each in source.order_by
            if (column := source.columns[each.column]).field is not None
        )
        if not order and source.date is not None:
            order = (Sort(source.fields[source.date].path, descending=True),)  # the latest first
        return Query(kind=source.documents, filter=conditions, sort=order, **fields)

    def _row(self, source: RowSource[Any], document: Mapping[str, Any]) -> Row:
        return {name: self._value(source, column, document) for name, column in source.columns.items()}

    def _value(self, source: RowSource[Any], column: Column[Any], document: Mapping[str, Any]) -> Any:
        assert column.field is not None, "a row has no numbers that are computed"
        data_field = source.fields[column.field]
        value: Any = document
        for step in data_field.path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if data_field.type is ValueType.SCOPE:
            return "SYSTEM" if value == self._system_namespace else "USER"
        if data_field.type is ValueType.LABELS:
            labels = {each["key"]: each["value"] for each in value or ()}
            return labels if column.label_key is None else labels.get(column.label_key)
        return value

    # --- what is computed ---------------------------------------------------------------------------------------

    async def _groups(
        self, tenant: str, source: RowSource[Any], conditions: AllOf, period: Period
    ) -> list[Row]:
        keys = {name: column for name, column in source.columns.items() if column.agg is None}
        scopes = [name for name, column in keys.items() if _type(source, column) is ValueType.SCOPE]
        grouped = {name: column for name, column in keys.items() if name not in scopes}
        groups = [_group(source, column, period) for column in grouped.values()]
        rows: list[Row] = []
        for scope in _SCOPES if scopes else (None,):
            parts = conditions
            if scope is not None:
                parts = AllOf((*conditions.parts, scope_filter(scope, self._system_namespace)))
            for bucket in await self._buckets(tenant, source, parts, groups):
                values = dict(zip(grouped, map(_key, bucket.keys), strict=True))
                values.update(dict.fromkeys(scopes, scope))
                values.update(_measured(source, bucket))
                if scope is None or bucket.count:
                    rows.append({name: values[name] for name in source.columns})
        for order in reversed(source.order_by):
            _sort(rows, order.column, descending=order.order is Order.DESC)
        return rows

    async def _buckets(
        self, tenant: str, source: AnySource, conditions: AllOf, groups: Sequence[Group]
    ) -> list[Bucket]:
        buckets = await self._index.aggregate(
            tenant,
            source.documents,
            filter=conditions,
            groups=groups,
            measures=_measures(source),
            limit=MOST_GROUPS + 1,
        )
        if len(buckets) > MOST_GROUPS:
            raise ChartRefused(
                f"the chart has more than {MOST_GROUPS:,} groups: choose a shorter time, filter its rows,"
                " or leave out a column without `agg`"
            )
        return buckets

    async def _number(self, tenant: str, source: KpiSource[Any], conditions: AllOf, percentage: bool) -> Any:
        numerator = filters_of(source, source.numerator, self._system_namespace)
        part = await self._computed(tenant, source, AllOf((*conditions.parts, *numerator)))
        if not percentage:
            return part
        whole = await self._computed(tenant, source, conditions) if numerator else part
        return round(100 * (part or 0) / whole, 2) if whole else 0

    async def _computed(self, tenant: str, source: KpiSource[Any], conditions: AllOf) -> Any:
        [bucket] = await self._buckets(tenant, source, conditions, ())
        return _measured(source, bucket)[""]

    # --- text ---------------------------------------------------------------------------------------------------

    def _text(self, request: ChartRequest, chart: Markdown) -> str:
        described = chart.source
        if not isinstance(described, FlowDescriptionSource):
            return (described.content if described is not None else chart.content) or ""
        namespace, flow_id = described.namespace, described.flow_id
        if namespace == "--NAMESPACE--":
            namespace = request.overrides.chosen("NAMESPACE") or ""
        if flow_id == "--FLOW--":
            flow_id = request.overrides.chosen("FLOW_ID") or ""
        saved = self._catalog.flow(request.tenant, namespace, flow_id)
        allowed = request.namespaces("flows")
        seen = allowed is None or any(
            namespace == each or namespace.startswith(f"{each}.") for each in allowed
        )
        if saved is None or saved.deleted or not seen:
            raise ChartRefused(f"Flow not found: {namespace}/{flow_id}")
        try:
            return saved.flow.description or ""
        except FlowInvalid:
            return ""


def interval_of(length: timedelta) -> Interval:
    """The intervals that a time is divided into: fine enough to see something, few enough to be drawn."""
    if length > timedelta(days=365):
        return "month"
    if length > timedelta(days=180):
        return "week"
    if length > timedelta(days=1):
        return "day"
    return "hour" if length > timedelta(hours=6) else "minute"


def _type(source: AnySource, column: Column[Any]) -> ValueType | None:
    return None if column.field is None else source.fields[column.field].type


def _group(source: AnySource, column: Column[Any], period: Period) -> Group:
    assert column.field is not None, "only numbers are computed without a field"
    data_field = source.fields[column.field]
    if data_field.type is ValueType.DATE:
        # A date that the time of the dashboard does not limit is grouped by days.
        return Dates(data_field.path, "day" if source.date is None else interval_of(period.length))
    if data_field.type is ValueType.LABELS:
        assert column.label_key is not None, "a column was checked when the dashboard was read"
        return LabelValues(column.label_key)
    return Terms(data_field.path, absent=True)


def _key(value: Any) -> Any:
    return format_date(value) if isinstance(value, datetime) else value


def _computed_columns(source: AnySource) -> Mapping[str, Column[Any]]:
    return source.aggregates if isinstance(source, RowSource) else {"": source.columns}


def _measures(source: AnySource) -> list[Measure]:
    return [
        Measure(_FUNCTIONS[column.agg], source.fields[column.field].path)
        for column in _computed_columns(source).values()
        if column.agg is not None and column.field is not None
    ]


def _measured(source: AnySource, bucket: Bucket) -> Row:
    measured = iter(bucket.values)
    row: Row = {}
    for name, column in _computed_columns(source).items():
        if column.field is None:
            row[name] = bucket.count
            continue
        value, kind = next(measured), source.fields[column.field].type
        if value is None:
            row[name] = None
        elif column.agg is Aggregation.COUNT:
            row[name] = int(value)
        elif kind is ValueType.DATE:
            row[name] = format_date(beginning(round(value)))
        elif kind is ValueType.INTEGER and column.agg is not Aggregation.AVG:
            row[name] = int(value)
        else:
            row[name] = value
    return row


def _sort(rows: list[Row], column: str, *, descending: bool) -> None:
    """Sort in place; rows without a value come last either way."""
    with_value = [row for row in rows if row[column] is not None]
    without = [row for row in rows if row[column] is None]
    with_value.sort(key=lambda row: row[column], reverse=descending)
    rows[:] = [*with_value, *without]


def _without_page(request: ChartRequest) -> ChartRequest:
    overrides = request.overrides
    return ChartRequest(
        tenant=request.tenant,
        chart=request.chart,
        window=request.window,
        overrides=Overrides(start=overrides.start, end=overrides.end, filters=overrides.filters),
        namespaces=request.namespaces,
    )
