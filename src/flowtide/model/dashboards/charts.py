"""Charts with data: Bar, Pie, TimeSeries, Table and KPI, with their options (E115 to E120)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, SerializeAsAny

from flowtide.model.dashboards.data import Aggregation, DataSource, KpiSource, RowSource
from flowtide.model.dashboards.filters import Fault, ValueType
from flowtide.model.plugin import Part, Plugin, plugin_of, plugin_schema

AnyData = Annotated[
    SerializeAsAny[DataSource], plugin_of("data"), plugin_schema("data"), Field(title="What it shows")
]

ChartId = Annotated[
    str, Field(title="Its name in the dashboard", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$", max_length=256)
]


class Switch(Part):
    """Something that is shown or not."""

    enabled: bool = True


class Tooltip(StrEnum):
    """What a tooltip tells of."""

    NONE = "NONE"
    ALL = "ALL"
    SINGLE = "SINGLE"


class ChartOptions(Part):
    """What every chart has."""

    display_name: str
    description: str | None = None
    width: Annotated[int, Field(ge=1, le=12)] = 6  # of the twelve columns of the page


class Chart(Plugin):
    """The base of all charts."""

    kind = "chart"

    id: ChartId

    def faults(self) -> Iterator[Fault]:
        """What is wrong beyond the types of the properties."""
        yield from ()


class RowChart(Chart):
    """The base of charts that show rows."""

    least_aggregations: ClassVar[int] = 0
    most_aggregations: ClassVar[int | None] = None

    data: AnyData

    def named_columns(self) -> Iterator[tuple[str, str | None]]:
        """The options that name a column, with the name."""
        yield from ()

    def faults(self) -> Iterator[Fault]:
        source = self.data
        if not isinstance(source, RowSource):
            yield ("data", "type"), f"`{source.type}` is the data of a KPI chart"
            return
        for path, message in source.faults():
            yield ("data", *path), message
        count = len(source.aggregates)
        if count < self.least_aggregations or (
            self.most_aggregations is not None and count > self.most_aggregations
        ):
            name = self.type.rpartition(".")[2]
            wanted = str(self.least_aggregations)
            if self.most_aggregations != self.least_aggregations:
                wanted += f" to {self.most_aggregations}"
            yield (
                ("data", "columns"),
                f"a {name} chart needs {wanted} column{'' if wanted == '1' else 's'} with `agg`, and not {count}",
            )
        for option, column in self.named_columns():
            if column is not None and column not in source.columns:
                known = ", ".join(source.columns)
                yield ("chartOptions", option), f"there is no column `{column}`; there are {known}"


class BarOptions(ChartOptions):
    """Options of a Bar chart."""

    column: str  # the column of the x-axis
    legend: Switch = Switch()
    tooltip: Tooltip = Tooltip.ALL


class Bar(RowChart):
    """Bars: a number per value of a column; further columns divide the bars."""

    title = "Compare categories by bars"
    least_aggregations = most_aggregations = 1
    example = """\
title: Executions per namespace
charts:
  - id: executions_per_namespace
    type: io.kestra.plugin.core.dashboard.chart.Bar
    chartOptions:
      displayName: Executions per namespace
      column: namespace
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns:
        namespace:
          field: NAMESPACE
        state:
          field: STATE
        total:
          displayName: Executions
          agg: COUNT
"""

    chart_options: Annotated[BarOptions, Field(title="How it looks")]

    def named_columns(self) -> Iterator[tuple[str, str | None]]:
        yield "column", self.chart_options.column


class PieStyle(StrEnum):
    """Whether a Pie has a hole."""

    PIE = "PIE"
    DONUT = "DONUT"


class PieOptions(ChartOptions):
    """Options of a Pie chart."""

    graph_style: PieStyle = PieStyle.DONUT
    color_by_column: str | None = None  # the column whose values have colours
    legend: Switch = Switch()
    tooltip: Tooltip = Tooltip.ALL


class Pie(RowChart):
    """Shares of a whole."""

    title = "Show the shares of a whole"
    least_aggregations = most_aggregations = 1
    example = """\
title: States
charts:
  - id: executions_by_state
    type: io.kestra.plugin.core.dashboard.chart.Pie
    chartOptions:
      displayName: Executions by state
      colorByColumn: state
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns:
        state:
          field: STATE
        total:
          agg: COUNT
"""

    chart_options: Annotated[PieOptions, Field(title="How it looks")]

    def named_columns(self) -> Iterator[tuple[str, str | None]]:
        yield "colorByColumn", self.chart_options.color_by_column


class TimeSeriesOptions(ChartOptions):
    """Options of a TimeSeries chart."""

    column: str  # the column of the time axis
    color_by_column: str | None = None  # the column whose values are series
    legend: Switch = Switch()
    tooltip: Tooltip = Tooltip.ALL


class TimeSeries(RowChart):
    """One or two numbers over time."""

    title = "Follow numbers over time"
    least_aggregations = 1
    most_aggregations = 2
    example = """\
title: Executions over time
charts:
  - id: executions_over_time
    type: io.kestra.plugin.core.dashboard.chart.TimeSeries
    chartOptions:
      displayName: Executions
      column: date
      colorByColumn: state
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns:
        date:
          field: START_DATE
        state:
          field: STATE
        total:
          agg: COUNT
          graphStyle: BARS
        duration:
          field: DURATION
          agg: SUM
          graphStyle: LINES
"""

    chart_options: Annotated[TimeSeriesOptions, Field(title="How it looks")]

    def named_columns(self) -> Iterator[tuple[str, str | None]]:
        yield "column", self.chart_options.column
        yield "colorByColumn", self.chart_options.color_by_column

    def faults(self) -> Iterator[Fault]:
        yield from super().faults()
        source = self.data
        if not isinstance(source, RowSource):
            return
        axis = source.columns.get(self.chart_options.column)
        if axis is None:
            return
        if axis.field is None or axis.agg is not None or source.fields[axis.field].type is not ValueType.DATE:
            yield ("chartOptions", "column"), "must name a column with a date and without `agg`"


class TableOptions(ChartOptions):
    """Options of a Table."""

    header: Switch = Switch()
    pagination: Switch = Switch()


class Table(RowChart):
    """Rows; with aggregations, a row per group."""

    title = "List rows, page by page"
    example = """\
title: Latest executions
charts:
  - id: latest_failures
    type: io.kestra.plugin.core.dashboard.chart.Table
    chartOptions:
      displayName: Latest failures
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns:
        id:
          field: ID
        flow:
          field: FLOW_ID
        start:
          field: START_DATE
      where:
        - field: STATE
          type: EQUAL_TO
          value: FAILED
      orderBy:
        - column: start
          order: DESC
"""

    chart_options: Annotated[TableOptions | None, Field(title="How it looks")] = None


class NumberType(StrEnum):
    """How a KPI shows its number."""

    FLAT = "FLAT"
    PERCENTAGE = "PERCENTAGE"  # the numerator's share


class KpiOptions(ChartOptions):
    """Options of a KPI chart."""

    number_type: NumberType = NumberType.FLAT


class KPI(Chart):
    """One number; with a numerator, a part of it or its share."""

    title = "Show one number or ratio"
    example = """\
title: Success
charts:
  - id: success_ratio
    type: io.kestra.plugin.core.dashboard.chart.KPI
    chartOptions:
      displayName: Success ratio
      numberType: PERCENTAGE
      width: 3
    data:
      type: io.kestra.plugin.core.dashboard.data.ExecutionsKPI
      columns:
        field: ID
        agg: COUNT
      numerator:
        - field: STATE
          type: IN
          values:
            - SUCCESS
"""

    chart_options: Annotated[KpiOptions | None, Field(title="How it looks")] = None
    data: AnyData

    def faults(self) -> Iterator[Fault]:
        source = self.data
        if not isinstance(source, KpiSource):
            yield ("data", "type"), f"a KPI chart needs data such as `{source.type}KPI`"
            return
        for path, message in source.faults():
            yield ("data", *path), message
        percentage = (
            self.chart_options is not None and self.chart_options.number_type is NumberType.PERCENTAGE
        )
        if percentage and source.columns.agg in (Aggregation.AVG, Aggregation.MAX, Aggregation.MIN):
            yield ("data", "columns", "agg"), "a percentage needs COUNT or SUM: of others there are no shares"
