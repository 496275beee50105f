"""Metrics of tasks as the data of charts (E126)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from flowtide.model.dashboards.data import KpiSource, RowSource
from flowtide.model.dashboards.filters import DataField, ValueType


class MetricField(StrEnum):
    """What is known of a metric."""

    NAMESPACE = "NAMESPACE"
    FLOW_ID = "FLOW_ID"
    TASK_ID = "TASK_ID"
    EXECUTION_ID = "EXECUTION_ID"
    TASK_RUN_ID = "TASK_RUN_ID"
    TYPE = "TYPE"
    NAME = "NAME"
    VALUE = "VALUE"
    DATE = "DATE"


_FIELDS: Mapping[str, DataField] = {
    MetricField.NAMESPACE: DataField(path="namespace"),
    MetricField.FLOW_ID: DataField(path="flowId"),
    MetricField.TASK_ID: DataField(path="taskId"),
    MetricField.EXECUTION_ID: DataField(path="executionId"),
    MetricField.TASK_RUN_ID: DataField(path="taskRunId"),
    MetricField.TYPE: DataField(path="type"),
    MetricField.NAME: DataField(path="name"),
    MetricField.VALUE: DataField(path="value", type=ValueType.NUMBER),
    MetricField.DATE: DataField(path="timestamp", type=ValueType.DATE),
}


class Metrics(RowSource[MetricField]):
    """Numbers that tasks reported."""

    title = "Metrics that tasks report"
    example = """\
title: Sales
charts:
  - id: sales
    type: io.kestra.plugin.core.dashboard.chart.Table
    chartOptions:
      displayName: Sales per namespace
    data:
      type: io.kestra.plugin.core.dashboard.data.Metrics
      columns:
        namespace:
          field: NAMESPACE
        value:
          field: VALUE
          agg: SUM
          columnAlignment: RIGHT
      where:
        - field: NAME
          type: EQUAL_TO
          value: sales_count
      orderBy:
        - column: value
          order: DESC
"""
    documents = "metrics"
    fields = _FIELDS
    date = MetricField.DATE
    hidden_kinds = "executionKind"


class MetricsKPI(KpiSource[MetricField]):
    """A number computed of metrics."""

    title = "A number computed of metrics"
    example = """\
title: Sales
charts:
  - id: sales
    type: io.kestra.plugin.core.dashboard.chart.KPI
    chartOptions:
      displayName: Sales
    data:
      type: io.kestra.plugin.core.dashboard.data.MetricsKPI
      columns:
        field: VALUE
        agg: SUM
      where:
        - field: NAME
          type: EQUAL_TO
          value: sales_count
"""
    documents = "metrics"
    fields = _FIELDS
    date = MetricField.DATE
    hidden_kinds = "executionKind"
