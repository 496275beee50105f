"""Flows as the data of charts (E124)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from flowtide.model.dashboards.data import KpiSource, RowSource
from flowtide.model.dashboards.filters import DataField, ValueType


class FlowField(StrEnum):
    """What is known of a flow."""

    ID = "ID"
    NAMESPACE = "NAMESPACE"
    REVISION = "REVISION"


_FIELDS: Mapping[str, DataField] = {
    FlowField.ID: DataField(path="id"),
    FlowField.NAMESPACE: DataField(path="namespace"),
    FlowField.REVISION: DataField(path="revision", type=ValueType.INTEGER),
}


class Flows(RowSource[FlowField]):
    """Flows as they are now; no time window limits them."""

    title = "Flows that are saved"
    example = """\
title: Flows
charts:
  - id: flows_per_namespace
    type: io.kestra.plugin.core.dashboard.chart.Bar
    chartOptions:
      displayName: Flows per namespace
      column: namespace
    data:
      type: io.kestra.plugin.core.dashboard.data.Flows
      columns:
        namespace:
          field: NAMESPACE
        total:
          agg: COUNT
"""
    documents = "flows"
    fields = _FIELDS


class FlowsKPI(KpiSource[FlowField]):
    """A number of flows."""

    title = "A number of flows, or their ratio"
    example = """\
title: Flows
charts:
  - id: flows
    type: io.kestra.plugin.core.dashboard.chart.KPI
    chartOptions:
      displayName: Flows
    data:
      type: io.kestra.plugin.core.dashboard.data.FlowsKPI
      columns:
        field: ID
        agg: COUNT
"""
    documents = "flows"
    fields = _FIELDS
