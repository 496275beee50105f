"""Executions as the data of charts (E123)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from flowtide.model.dashboards.charts import KPI, Pie
from flowtide.model.dashboards.data import KpiSource, RowSource
from flowtide.model.dashboards.filters import DataField, ValueType


class ExecutionField(StrEnum):
    """What is known of an execution."""

    ID = "ID"
    NAMESPACE = "NAMESPACE"
    FLOW_ID = "FLOW_ID"
    FLOW_REVISION = "FLOW_REVISION"
    STATE = "STATE"
    DURATION = "DURATION"  # seconds; none while it runs
    LABELS = "LABELS"
    START_DATE = "START_DATE"
    END_DATE = "END_DATE"
    TRIGGER_EXECUTION_ID = "TRIGGER_EXECUTION_ID"
    SCOPE = "SCOPE"


_FIELDS: Mapping[str, DataField] = {
    ExecutionField.ID: DataField(path="id"),
    ExecutionField.NAMESPACE: DataField(path="namespace"),
    ExecutionField.FLOW_ID: DataField(path="flowId"),
    ExecutionField.FLOW_REVISION: DataField(path="flowRevision", type=ValueType.INTEGER),
    ExecutionField.STATE: DataField(path="state.current"),
    ExecutionField.DURATION: DataField(path="durationSeconds", type=ValueType.SECONDS),
    ExecutionField.LABELS: DataField(path="labels", type=ValueType.LABELS),
    ExecutionField.START_DATE: DataField(path="state.startDate", type=ValueType.DATE),
    ExecutionField.END_DATE: DataField(path="state.endDate", type=ValueType.DATE),
    ExecutionField.TRIGGER_EXECUTION_ID: DataField(path="parentId"),
    ExecutionField.SCOPE: DataField(path="namespace", type=ValueType.SCOPE),
}


class Executions(RowSource[ExecutionField]):
    """Executions, those of tests and of the playground left out."""

    title = "Executions of flows"
    example = Pie.example
    documents = "executions"
    fields = _FIELDS
    date = ExecutionField.START_DATE
    hidden_kinds = "kind"


class ExecutionsKPI(KpiSource[ExecutionField]):
    """A number of executions."""

    title = "A number of executions, or their ratio"
    example = KPI.example
    documents = "executions"
    fields = _FIELDS
    date = ExecutionField.START_DATE
    hidden_kinds = "kind"
