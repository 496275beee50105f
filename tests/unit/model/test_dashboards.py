"""What is wrong with dashboards and charts, with its place (E114 to E130, traps 1 and 24)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from flowtide.errors import DashboardInvalid
from flowtide.model.dashboards.source import parse_chart, parse_dashboard
from flowtide.services.plugins import discover_plugins

_REGISTRY = discover_plugins()
_COUNT = {"agg": "COUNT"}
_STATE = {"field": "STATE"}
_DATE = {"field": "START_DATE"}


def _chart(kind: str, data: Mapping[str, Any] | None, **options: Any) -> str:
    document: dict[str, Any] = {
        "id": "tried",
        "type": f"io.kestra.plugin.core.dashboard.chart.{kind}",
        "chartOptions": {"displayName": "Tried", **options},
    }
    if data is not None:
        source = {"type": f"io.kestra.plugin.core.dashboard.data.{data['type']}"}
        document["data"] = {**data, **source}
    return yaml.safe_dump(document, sort_keys=False)


def _of(source: str, columns: Any, **data: Any) -> dict[str, Any]:
    return {"type": source, "columns": columns, **data}


def _where(**where: Any) -> dict[str, Any]:
    return _of("Executions", {"n": _COUNT}, where=[where])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            _chart("Bar", _of("Executions", {"s": _STATE}), column="s"),
            "data.columns: a Bar chart needs 1 column",
        ),
        (
            _chart("Bar", _of("Executions", {"s": _STATE, "a": _COUNT, "b": _COUNT}), column="s"),
            "data.columns: a Bar chart needs 1 column with `agg`, and not 2",
        ),
        (_chart("Pie", _of("Executions", {"s": _STATE})), "data.columns: a Pie chart needs 1 column"),
        (
            _chart(
                "TimeSeries",
                _of("Executions", {"d": _DATE, "a": _COUNT, "b": _COUNT, "c": _COUNT}),
                column="d",
            ),
            "data.columns: a TimeSeries chart needs 1 to 2 columns with `agg`, and not 3",
        ),
        (
            _chart("Bar", _of("Executions", {"n": _COUNT}), column="x"),
            "chartOptions.column: there is no column `x`",
        ),
        (_chart("Bar", _of("Executions", {"n": _COUNT})), "chartOptions.column: is required"),
        (
            _chart("TimeSeries", _of("Executions", {"s": _STATE, "n": _COUNT}), column="s"),
            "chartOptions.column: must name a column with a date",
        ),
        (
            _chart("Pie", _of("Executions", {"n": _COUNT}), colorByColumn="x"),
            "chartOptions.colorByColumn: there is no column `x`",
        ),
        (
            _chart("Table", _of("ExecutionsKPI", _COUNT)),
            "data.type: `io.kestra.plugin.core.dashboard.data.Execu",
        ),
        (_chart("KPI", _of("Executions", {"n": _COUNT})), "data.type: a KPI chart needs data such as"),
        (_chart("KPI", _of("ExecutionsKPI", {"field": "ID"})), "data.columns.agg: is required"),
        (_chart("KPI", _of("ExecutionsKPI", {"n": _COUNT})), "data.columns.n: there is no such property"),
        (
            _chart("KPI", _of("ExecutionsKPI", {"field": "DURATION", "agg": "AVG"}), numberType="PERCENTAGE"),
            "data.columns.agg: a percentage needs COUNT or SUM",
        ),
        (_chart("Table", _of("Executions", {})), "data.columns: must have at least one column"),
        (_chart("Table", _of("Executions", {"a": {"agg": "SUM"}})), "data.columns.a.field: is required"),
        (
            _chart("Table", _of("Executions", {"a": {"field": "MESSAGE"}})),
            "data.columns.a.field: must be `ID`",
        ),
        (
            _chart("Table", _of("Logs", {"a": {"field": "MESSAGE", "agg": "COUNT"}})),
            "data.columns.a.agg: MESSAGE cannot be aggregated",
        ),
        (
            _chart("Table", _of("Logs", {"a": {"field": "MESSAGE"}, "n": _COUNT})),
            "data.columns.a.field: rows cannot be grouped by MESSAGE",
        ),
        (
            _chart("Table", _of("Executions", {"a": {"field": "STATE", "agg": "SUM"}})),
            "data.columns.a.agg: SUM needs a number, and STATE is none",
        ),
        (
            _chart("Table", _of("Executions", {"a": {"field": "STATE", "agg": "MAX"}})),
            "data.columns.a.agg: MAX needs a number or a date",
        ),
        (
            _chart("Table", _of("Executions", {"a": {"field": "LABELS"}, "n": _COUNT})),
            "data.columns.a.labelKey: is required",
        ),
        (
            _chart("Table", _of("Executions", {"a": {"field": "STATE", "labelKey": "x"}})),
            "data.columns.a.labelKey: belongs to the field LABELS",
        ),
        (
            _chart("Table", _of("Executions", {"n": _COUNT}, orderBy=[{"column": "x"}])),
            "data.orderBy[0].column: there is no column `x`; there are n",
        ),
        (
            _chart("Table", _of("Executions", {"l": {"field": "LABELS"}}, orderBy=[{"column": "l"}])),
            "data.orderBy[0].column: rows cannot be sorted by LABELS",
        ),
        (
            _chart("Table", _where(field="STATE", type="IN")),
            "data.where[0].values: IN needs `values`, a list",
        ),
        (
            _chart("Table", _where(field="STATE", type="EQUAL_TO")),
            "data.where[0].value: EQUAL_TO needs a `value`",
        ),
        (_chart("Table", _where(type="EQUAL_TO", value="a")), "data.where[0].field: is required"),
        (
            _chart("Table", _where(field="STATE", type="IS_NULL", value="a")),
            "data.where[0].value: IS_NULL takes no value",
        ),
        (
            _chart("Table", _where(field="STATE", type="LIKE", value="a")),
            "data.where[0].type: must be `CONTAINS`",
        ),
        (
            _chart("Table", _where(field="DURATION", type="CONTAINS", value="1")),
            "data.where[0].type: DURATION cannot be compared by CONTAINS",
        ),
        (
            _chart("Table", _where(field="DURATION", type="LESS_THAN", value="long")),
            "data.where[0].value: must be a number of seconds or a duration",
        ),
        (
            _chart("Table", _where(field="START_DATE", type="LESS_THAN", value="soon")),
            "data.where[0].value: must be an ISO-8601 date",
        ),
        (
            _chart("Table", _where(field="FLOW_REVISION", type="IN", values=["a"])),
            "data.where[0].values[0]: must be a number",
        ),
        (
            _chart("Table", _where(field="LABELS", type="EQUAL_TO", value="red")),
            "data.where[0].labelKey: is required",
        ),
        (_chart("Table", _where(type="OR")), "data.where[0].values: is required"),
        (_chart("Table", _where(type="OR", values=["a"])), "data.where[0].values[0]: must be a filter"),
        (
            _chart("Table", _where(type="OR", values=[{"field": "STATE", "type": "IN"}])),
            "data.where[0].values[0].values: IN needs `values`",
        ),
        (
            _chart("Table", _of("Triggers", {"w": {"field": "WORKER_ID"}, "n": _COUNT})),
            "data.columns.w.field: rows cannot be grouped by WORKER_ID",
        ),
        (
            _chart("Table", _of("Flows", {"n": _COUNT}), width=13),
            "chartOptions.width: must be less than or equal",
        ),
        (_chart("Markdown", None), "source: is required"),
        (_chart("Funnel", None), "type: there is no chart of type"),
    ],
)
def test_what_is_wrong_with_a_chart(source: str, expected: str) -> None:
    """One fault a chart, at its place."""
    violations = parse_chart(source, _REGISTRY).violations
    assert any(
        f"{each.path}: {each.message}".startswith(expected) and each.line > 0 for each in violations
    ), [str(each) for each in violations]


def test_what_is_wrong_with_a_dashboard() -> None:
    """Its window and its charts; a valid one comes back as it was written."""
    for source, expected in (
        ("charts: []", "line 1, title: is required"),
        ("title: x\nid: _default\ncharts: []", "line 2, id: must match the pattern"),
        ("title: x\ntimeWindow: {default: P400D}", "must be more than nothing and at most P366D"),
        ("title: x\ntimeWindow: {max: PT0S}", "must be more than nothing"),
        ("title: x\ncolour: red", "line 2, colour: there is no such property"),
        ("- a", "a dashboard must be a mapping"),
        ("title: [", "is not YAML"),
    ):
        with pytest.raises(DashboardInvalid) as refused:
            parse_dashboard(source, _REGISTRY).valid()
        assert expected in str(refused.value), source
    chart = "- {id: a, type: io.kestra.plugin.core.dashboard.chart.Markdown, content: x}\n"
    twice = parse_dashboard(f"title: x\ncharts:\n{chart}{chart}", _REGISTRY)
    assert [str(each) for each in twice.violations] == [
        "line 4, charts[1].id: there is another chart with the id `a`"
    ]
    assert twice.warnings
    dashboard = parse_dashboard(f"title: x\ncharts:\n{chart}", _REGISTRY).valid()
    assert (dashboard.time_window.default.days, dashboard.time_window.max.days) == (30, 366)
    many = parse_dashboard(
        "title: x\ncharts:\n" + "".join(chart.replace("a,", f"a{n},") for n in range(201)), _REGISTRY
    )
    assert "at most 200 charts" in str(many.violations[0])
