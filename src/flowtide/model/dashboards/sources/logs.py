"""Log lines as the data of charts (E125)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from flowtide.model.dashboards.data import KpiSource, RowSource
from flowtide.model.dashboards.filters import DataField, ValueType


class LogField(StrEnum):
    """What is known of a log line."""

    NAMESPACE = "NAMESPACE"
    FLOW_ID = "FLOW_ID"
    EXECUTION_ID = "EXECUTION_ID"
    TASK_ID = "TASK_ID"
    DATE = "DATE"
    TASK_RUN_ID = "TASK_RUN_ID"
    ATTEMPT_NUMBER = "ATTEMPT_NUMBER"
    TRIGGER_ID = "TRIGGER_ID"
    LEVEL = "LEVEL"
    MESSAGE = "MESSAGE"  # found by its words; cannot be aggregated


_FIELDS: Mapping[str, DataField] = {
    LogField.NAMESPACE: DataField(path="namespace"),
    LogField.FLOW_ID: DataField(path="flowId"),
    LogField.EXECUTION_ID: DataField(path="executionId"),
    LogField.TASK_ID: DataField(path="taskId"),
    LogField.DATE: DataField(path="timestamp", type=ValueType.DATE),
    LogField.TASK_RUN_ID: DataField(path="taskRunId"),
    LogField.ATTEMPT_NUMBER: DataField(path="attemptNumber", type=ValueType.INTEGER),
    LogField.TRIGGER_ID: DataField(path="triggerId"),
    LogField.LEVEL: DataField(path="level", type=ValueType.LEVEL),
    LogField.MESSAGE: DataField(path="message", type=ValueType.WORDS),
}


class Logs(RowSource[LogField]):
    """Log lines of executions and triggers."""

    title = "Log lines"
    example = """\
title: Log lines
charts:
  - id: lines_per_level
    type: io.kestra.plugin.core.dashboard.chart.TimeSeries
    chartOptions:
      displayName: Log lines per level
      column: date
      colorByColumn: level
    data:
      type: io.kestra.plugin.core.dashboard.data.Logs
      columns:
        date:
          field: DATE
        level:
          field: LEVEL
        total:
          agg: COUNT
          graphStyle: BARS
"""
    documents = "logs"
    fields = _FIELDS
    date = LogField.DATE
    hidden_kinds = "executionKind"


class LogsKPI(KpiSource[LogField]):
    """A number of log lines."""

    title = "A number of log lines, or their ratio"
    example = """\
title: Errors
charts:
  - id: errors
    type: io.kestra.plugin.core.dashboard.chart.KPI
    chartOptions:
      displayName: Errors
    data:
      type: io.kestra.plugin.core.dashboard.data.LogsKPI
      columns:
        field: LEVEL
        agg: COUNT
      where:
        - field: LEVEL
          type: EQUAL_TO
          value: ERROR
"""
    documents = "logs"
    fields = _FIELDS
    date = LogField.DATE
    hidden_kinds = "executionKind"
