"""Triggers as the data of charts (E127)."""

from __future__ import annotations

from enum import StrEnum

from flowtide.model.dashboards.data import RowSource
from flowtide.model.dashboards.filters import DataField, ValueType


class TriggerField(StrEnum):
    """What is known of a trigger."""

    ID = "ID"
    NAMESPACE = "NAMESPACE"
    FLOW_ID = "FLOW_ID"
    TRIGGER_ID = "TRIGGER_ID"
    EXECUTION_ID = "EXECUTION_ID"  # the last one that it started, while that runs
    NEXT_EXECUTION_DATE = "NEXT_EXECUTION_DATE"
    WORKER_ID = "WORKER_ID"


class Triggers(RowSource[TriggerField]):
    """Triggers as they are now; no time window limits them."""

    title = "Triggers and when they start next"
    example = """\
title: Next executions
charts:
  - id: next_executions
    type: io.kestra.plugin.core.dashboard.chart.Table
    chartOptions:
      displayName: Next executions
    data:
      type: io.kestra.plugin.core.dashboard.data.Triggers
      columns:
        flow:
          field: FLOW_ID
        trigger:
          field: TRIGGER_ID
        next:
          field: NEXT_EXECUTION_DATE
      where:
        - field: NEXT_EXECUTION_DATE
          type: IS_NOT_NULL
      orderBy:
        - column: next
"""
    documents = "triggers"
    fields = {
        TriggerField.ID: DataField(path="triggerId"),
        TriggerField.NAMESPACE: DataField(path="namespace"),
        TriggerField.FLOW_ID: DataField(path="flowId"),
        TriggerField.TRIGGER_ID: DataField(path="triggerId"),
        TriggerField.EXECUTION_ID: DataField(path="executionId"),
        TriggerField.NEXT_EXECUTION_DATE: DataField(path="nextExecutionDate", type=ValueType.DATE),
        TriggerField.WORKER_ID: DataField(path="workerId", type=ValueType.SHOWN),
    }
