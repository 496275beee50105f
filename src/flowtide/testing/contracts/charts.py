"""What charts show, whatever index they are computed on.

A test module derives a class from `ChartContract` and gives it the fixture `index`: a started, empty index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
import yaml

from flowtide.errors import ChartRefused
from flowtide.index import documents
from flowtide.index.flow_documents import flow_document
from flowtide.index.port import Index, Write
from flowtide.index.queries import Operation
from flowtide.log.port import Log
from flowtide.model.dashboards.charts import Chart
from flowtide.model.dashboards.source import parse_chart, parse_dashboard
from flowtide.model.entries import Level, MetricEntry
from flowtide.model.flow import Flow
from flowtide.model.records import ENCODER, Label
from flowtide.model.resources import FlowBody, Resource
from flowtide.model.states import State
from flowtide.model.trigger_records import TriggerState
from flowtide.services.catalog import Catalog
from flowtide.services.dashboards.conditions import GlobalFilter, Overrides, TimeWindow
from flowtide.services.dashboards.evaluation import ChartReader, ChartRequest
from flowtide.services.plugins import discover_plugins
from flowtide.testing.contracts.index_samples import START, execution, line, put

_CHART = "io.kestra.plugin.core.dashboard.chart."
_DATA = "io.kestra.plugin.core.dashboard.data."
NOW = START + timedelta(hours=1)
REGISTRY = discover_plugins()

Rows = list[dict[str, Any]]


def chart(kind: str, data: Mapping[str, Any], **options: Any) -> Chart:
    """A chart of this kind; `data` has a short `type`."""
    document = {
        "id": "tried",
        "type": _CHART + kind,
        "data": {**data, "type": _DATA + data["type"]},
        "chartOptions": {"displayName": "Tried", **options},
    }
    return parse_chart(yaml.safe_dump(document, sort_keys=False), REGISTRY).valid()


def table(source: str, columns: Mapping[str, Any], **data: Any) -> Chart:
    """A table of a data source."""
    return chart("Table", {"type": source, "columns": columns, **data})


def metric(number: int, value: float, **fields: Any) -> Write:
    """The write of a metric; they come a minute apart."""
    given: dict[str, Any] = {
        "tenant_id": "main",
        "namespace": "company.team",
        "flow_id": "hello",
        "execution_id": "execution000",
        "task_id": "count",
        "task_run_id": "run",
        "name": "sales_count",
        "type": "counter",
        "value": value,
        "timestamp": START + timedelta(minutes=number),
    }
    entry = MetricEntry(**{**given, **fields})
    return documents.metric_write(entry, ENCODER.encode(entry), 0, number)


def flow(identifier: str, namespace: str = "company.team", revision: int = 1) -> Write:
    """The write of a flow."""
    source = f"id: {identifier}\nnamespace: {namespace}\ntasks: []\n"
    resource = Resource(
        revision=revision, updated=START, body=msgspec.Raw(ENCODER.encode(FlowBody(source=source)))
    )
    document = flow_document(resource, tenant="main", namespace=namespace, flow_id=identifier)
    return documents.write_of(
        "flows", tenant="main", id=f"{namespace}/{identifier}", version=1, document=document
    )


def trigger(identifier: str, next_date: datetime | None = None, **fields: Any) -> Write:
    """The write of a trigger."""
    given: dict[str, Any] = {
        "tenant_id": "main",
        "namespace": "company.team",
        "flow_id": "hello",
        "trigger_id": identifier,
        "flow_revision": 1,
        "type": "io.kestra.plugin.core.trigger.Schedule",
        "updated": START,
        "next_execution_date": next_date,
    }
    return documents.trigger_write(TriggerState(**{**given, **fields}), 1)


EXECUTIONS: Sequence[Write] = (
    execution(
        1, ended=State.SUCCESS, labels=[Label(key="team", value="red"), Label(key="pii", value="true")]
    ),
    execution(2, ended=State.FAILED, labels=[Label(key="team", value="blue")]),
    execution(3, ended=State.SUCCESS, flow_id="world", flow_revision=2),
    execution(4, ended=State.SUCCESS, namespace="company.other", flow_id="world"),
    execution(5, namespace="system", flow_id="purge"),
    execution(6, ended=State.SUCCESS, kind="TEST"),
    execution(7, ended=State.SUCCESS, tenant_id="another"),
)

WHERE: Sequence[tuple[dict[str, Any], str]] = (
    ({"field": "ID", "type": "EQUAL_TO", "value": "execution003"}, "3"),
    ({"field": "ID", "type": "NOT_EQUAL_TO", "value": "execution003"}, "1245"),
    ({"field": "NAMESPACE", "type": "CONTAINS", "value": "other"}, "4"),
    ({"field": "NAMESPACE", "type": "STARTS_WITH", "value": "company."}, "1234"),
    ({"field": "FLOW_ID", "type": "ENDS_WITH", "value": "ld"}, "34"),
    ({"field": "FLOW_ID", "type": "REGEX", "value": "(hello|purge)"}, "125"),
    ({"field": "STATE", "type": "IN", "values": ["FAILED", "CREATED"]}, "25"),
    ({"field": "STATE", "type": "NOT_IN", "values": ["SUCCESS"]}, "25"),
    ({"field": "FLOW_REVISION", "type": "GREATER_THAN", "value": 1}, "3"),
    ({"field": "FLOW_REVISION", "type": "LESS_THAN_OR_EQUAL_TO", "value": "1"}, "1245"),
    ({"field": "DURATION", "type": "GREATER_THAN_OR_EQUAL_TO", "value": "PT3S"}, "34"),
    ({"field": "DURATION", "type": "LESS_THAN", "value": 2}, "1"),
    ({"field": "END_DATE", "type": "IS_NULL"}, "5"),
    ({"field": "END_DATE", "type": "IS_NOT_NULL"}, "1234"),
    ({"field": "START_DATE", "type": "GREATER_THAN", "value": "2026-03-01T12:03:30Z"}, "45"),
    ({"field": "LABELS", "labelKey": "team", "type": "EQUAL_TO", "value": "red"}, "1"),
    ({"field": "LABELS", "labelKey": "team", "type": "NOT_EQUAL_TO", "value": "red"}, "2345"),
    ({"field": "LABELS", "labelKey": "team", "type": "IN", "values": ["red", "blue"]}, "12"),
    ({"field": "LABELS", "labelKey": "team", "type": "NOT_IN", "values": ["red", "blue"]}, "345"),
    ({"field": "LABELS", "labelKey": "team", "type": "IS_NULL"}, "345"),
    ({"field": "LABELS", "labelKey": "team", "type": "IS_NOT_NULL"}, "12"),
    ({"field": "LABELS", "labelKey": "pii", "type": "IS_TRUE"}, "1"),
    ({"field": "LABELS", "labelKey": "pii", "type": "IS_FALSE"}, ""),
    ({"field": "LABELS", "type": "CONTAINS", "value": {"team": "blue"}}, "2"),
    ({"field": "LABELS", "type": "EQUAL_TO", "value": "team:blue"}, "2"),
    ({"field": "SCOPE", "type": "EQUAL_TO", "value": "SYSTEM"}, "5"),
    ({"field": "SCOPE", "type": "NOT_IN", "values": ["SYSTEM"]}, "1234"),
    (
        {
            "type": "OR",
            "values": [
                {"field": "STATE", "type": "EQUAL_TO", "value": "FAILED"},
                {"field": "NAMESPACE", "type": "EQUAL_TO", "value": "system"},
            ],
        },
        "25",
    ),
    (
        {
            "type": "OR",
            "field": "ID",
            "values": [{"type": "ENDS_WITH", "value": "1"}, {"type": "ENDS_WITH", "value": "2"}],
        },
        "12",
    ),
)
"""Filters, and the last digits of the executions that they leave."""


class ChartContract:
    """What is computed of documents."""

    @pytest.fixture
    def index(self) -> Index:
        """A started, empty index, closed afterwards."""
        raise NotImplementedError

    async def rows(
        self,
        index: Index,
        wanted: Chart,
        overrides: Overrides | None = None,
        *,
        window: TimeWindow | None = None,
        namespaces: frozenset[str] | None = None,
    ) -> Rows:
        """The data of a chart an hour after the documents began."""
        return (await self.page(index, wanted, overrides, window=window, namespaces=namespaces))[0]

    async def page(
        self,
        index: Index,
        wanted: Chart,
        overrides: Overrides | None = None,
        *,
        window: TimeWindow | None = None,
        namespaces: frozenset[str] | None = None,
    ) -> tuple[Rows, int]:
        """The same, with the total."""
        request = ChartRequest(
            tenant="main",
            chart=wanted,
            window=window or TimeWindow(default=timedelta(days=7)),
            overrides=overrides or Overrides(),
            namespaces=lambda documents: namespaces,
        )
        found = await self.reader(index).read(request)
        return found.rows, found.total

    def reader(self, index: Index) -> ChartReader:
        """Reads charts; no flow is saved: a catalog that was not started asks nothing of its log."""
        return ChartReader(index, Catalog(cast("Log", None), _unread), clock=lambda: NOW)

    # --- groups -------------------------------------------------------------------------------------------------

    async def test_counts_by_group(self, index: Index) -> None:
        """One row a group, with the columns in their order; other tenants and tests are not counted."""
        await put(index, *EXECUTIONS)
        bar = chart(
            "Bar",
            {
                "type": "Executions",
                "columns": {
                    "total": {"agg": "COUNT"},
                    "ns": {"field": "NAMESPACE"},
                    "state": {"field": "STATE"},
                },
            },
            column="ns",
        )
        rows = await self.rows(index, bar)
        assert [list(row) for row in rows] == [["total", "ns", "state"]] * 4
        assert [tuple(row.values()) for row in rows] == [
            (1, "company.other", "SUCCESS"),
            (1, "company.team", "FAILED"),
            (2, "company.team", "SUCCESS"),
            (1, "system", "CREATED"),
        ]

    async def test_every_aggregation(self, index: Index) -> None:
        """Of numbers and of dates; a field that no row has gives nothing."""
        await put(index, *EXECUTIONS)
        columns: dict[str, Any] = {
            name.lower(): {"field": "DURATION", "agg": name} for name in ("SUM", "AVG", "MIN", "MAX", "COUNT")
        }
        columns["ended"] = {"field": "END_DATE", "agg": "MAX"}
        columns["revision"] = {"field": "FLOW_REVISION", "agg": "MAX"}
        columns["rows"] = {"agg": "COUNT"}
        [row] = await self.rows(index, table("Executions", columns))
        ended = row.pop("ended")
        assert ended.startswith("2026-03-01T12:04:04.123")  # to the millisecond
        assert row == {"sum": 10, "avg": 2.5, "min": 1, "max": 4, "count": 4, "revision": 2, "rows": 5}
        open_ones = table(
            "Executions", columns, where=[{"field": "STATE", "type": "EQUAL_TO", "value": "CREATED"}]
        )
        [row] = await self.rows(index, open_ones)
        assert (row["sum"], row["avg"], row["max"], row["ended"], row["count"], row["rows"]) == (
            0, None, None, None, 0, 1,
        )  # fmt: skip  # one line a claim

    async def test_dates_are_divided_as_the_time_demands(self, index: Index) -> None:
        """An hour in minutes, a day in hours, a week in days, half a year in weeks, more in months."""
        await put(index, *EXECUTIONS)
        series = chart(
            "TimeSeries",
            {"type": "Executions", "columns": {"date": {"field": "START_DATE"}, "total": {"agg": "COUNT"}}},
            column="date",
        )
        for length, first, count in (
            (timedelta(hours=2), "2026-03-01T12:01:00.000000Z", 5),
            (timedelta(days=1), "2026-03-01T12:00:00.000000Z", 1),
            (timedelta(days=7), "2026-03-01T00:00:00.000000Z", 1),
            (timedelta(days=200), "2026-02-23T00:00:00.000000Z", 1),
            (timedelta(days=366), "2026-03-01T00:00:00.000000Z", 1),
        ):
            rows = await self.rows(index, series, window=TimeWindow(default=length))
            assert (rows[0]["date"], len(rows)) == (first, count), length

    async def test_order_and_pages_of_groups(self, index: Index) -> None:
        """By a computed column, those that have none last; a page knows how many there are."""
        await put(index, *EXECUTIONS)
        columns = {"flow": {"field": "FLOW_ID"}, "mean": {"field": "DURATION", "agg": "AVG"}}
        sorted_table = table("Executions", columns, orderBy=[{"column": "mean", "order": "DESC"}])
        expected = [("world", 3.5), ("hello", 1.5), ("purge", None)]
        assert [(row["flow"], row["mean"]) for row in await self.rows(index, sorted_table)] == expected
        rows, total = await self.page(index, sorted_table, Overrides(page=2, size=2))
        assert ([(row["flow"], row["mean"]) for row in rows], total) == (expected[2:], 3)
        assert await self.page(index, sorted_table, Overrides(page=9, size=2)) == ([], 3)

    async def test_groups_by_label_and_by_scope(self, index: Index) -> None:
        """A label's values, and user or system, which no document says."""
        await put(index, *EXECUTIONS)
        teams = table("Executions", {"t": {"field": "LABELS", "labelKey": "team"}, "n": {"agg": "COUNT"}})
        assert await self.rows(index, teams) == [{"t": "blue", "n": 1}, {"t": "red", "n": 1}]
        scopes = table("Executions", {"n": {"agg": "COUNT"}, "s": {"field": "SCOPE"}})
        assert await self.rows(index, scopes) == [{"n": 1, "s": "SYSTEM"}, {"n": 4, "s": "USER"}]

    async def test_rows_without_the_field_are_a_group(self, index: Index) -> None:
        """Or the numbers of the groups would not add up to the whole."""
        await put(index, line(1, "one", task_id="a"), line(2, "two"), line(3, "three"))
        counted = table("Logs", {"task": {"field": "TASK_ID"}, "n": {"agg": "COUNT"}})
        assert await self.rows(index, counted) == [{"task": None, "n": 2}, {"task": "a", "n": 1}]

    # --- rows ---------------------------------------------------------------------------------------------------

    async def test_rows_as_they_are(self, index: Index) -> None:
        """A table without aggregations lists documents, page by page, the latest first."""
        await put(index, *EXECUTIONS)
        columns = {
            "id": {"field": "ID"}, "labels": {"field": "LABELS"}, "team": {"field": "LABELS", "labelKey": "team"},
            "scope": {"field": "SCOPE"}, "took": {"field": "DURATION"}, "start": {"field": "START_DATE"},
        }  # fmt: skip  # reads better as a paragraph
        rows, total = await self.page(index, table("Executions", columns), Overrides(page=2, size=2))
        assert total == 5
        assert [row["id"] for row in rows] == ["execution003", "execution002"]
        row = rows[1]
        assert (row["team"], row["scope"], row["took"]) == ("blue", "USER", 2)
        assert row["labels"]["team"] == "blue"
        assert row["start"].startswith("2026-03-01T12:02:00.123456")
        ascending = table("Executions", {"id": {"field": "ID"}}, orderBy=[{"column": "id"}])
        found = [row["id"] for row in await self.rows(index, ascending)]
        assert found == [f"execution00{number}" for number in range(1, 6)]

    async def test_an_export_has_everything(self, index: Index) -> None:
        """Whatever page was asked for, of rows as of groups."""
        await put(index, *EXECUTIONS)
        listed = table("Executions", {"id": {"field": "ID"}})
        counted = table("Executions", {"id": {"field": "ID"}, "n": {"agg": "COUNT"}})
        for wanted in (listed, counted):
            request = ChartRequest(
                tenant="main",
                chart=wanted,
                window=TimeWindow(default=timedelta(days=7)),
                overrides=Overrides(page=2, size=1),
            )
            rows = [row async for portion in self.reader(index).portions(request) for row in portion]
            assert len(rows) == 5

    # --- filters ------------------------------------------------------------------------------------------------

    async def test_every_filter(self, index: Index) -> None:
        """Each type of filter on each type of field leaves the right rows."""
        await put(index, *EXECUTIONS)
        for where, expected in WHERE:
            wanted = table("Executions", {"id": {"field": "ID"}}, where=[where], orderBy=[{"column": "id"}])
            found = "".join(row["id"][-1] for row in await self.rows(index, wanted))
            assert found == expected, where

    async def test_filters_of_log_lines(self, index: Index) -> None:
        """Levels by their gravity, messages by their words."""
        levels = (Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR)
        await put(
            index, *(line(number, f"line {level.value}", level=level) for number, level in enumerate(levels))
        )
        for where, expected in (
            ({"field": "LEVEL", "type": "GREATER_THAN", "value": "INFO"}, ["WARN", "ERROR"]),
            ({"field": "LEVEL", "type": "LESS_THAN_OR_EQUAL_TO", "value": "info"}, ["DEBUG", "INFO"]),
            ({"field": "LEVEL", "type": "IN", "values": ["ERROR"]}, ["ERROR"]),
            ({"field": "MESSAGE", "type": "CONTAINS", "value": "warn"}, ["WARN"]),
        ):
            wanted = table("Logs", {"l": {"field": "LEVEL"}, "m": {"field": "MESSAGE"}}, where=[where])
            rows = await self.rows(index, wanted)
            assert sorted(row["l"] for row in rows) == sorted(expected), where
            assert all(row["m"] == f"line {row['l']}" for row in rows)

    async def test_filters_of_the_whole_dashboard(self, index: Index) -> None:
        """They take the place of the chart's own on the same field, and do not limit data without the field."""
        await put(index, *EXECUTIONS, flow("hello"), flow("world", "company.other"))
        own = [{"field": "NAMESPACE", "type": "EQUAL_TO", "value": "company.other"}]
        listed = table("Executions", {"id": {"field": "ID"}}, where=own, orderBy=[{"column": "id"}])
        counted = table("Flows", {"n": {"agg": "COUNT"}})
        for field, operation, value, key, expected, flows in (
            ("NAMESPACE", "EQUALS", "company.team", None, "123", 1),
            ("NAMESPACE", "PREFIX", "company", None, "1234", 2),
            ("STATE", "IN", ["FAILED", "SUCCESS"], None, "4", 2),
            ("STATE", "EQUALS", "FAILED,KILLED", None, "", 2),
            ("FLOW_ID", "EQUALS", "world", None, "4", 1),
            ("LABELS", "EQUALS", "red", "team", "", 2),
            ("SCOPE", "EQUALS", "SYSTEM", None, "", 0),
            ("QUERY", "EQUALS", "world", None, "4", 1),
            ("MIN_LEVEL", "EQUALS", "WARN", None, "4", 2),
        ):
            chosen = GlobalFilter(field=field, operation=Operation(operation), value=value, key=key)
            overrides = Overrides(filters=(chosen,))
            rows = await self.rows(index, listed, overrides)
            assert "".join(row["id"][-1] for row in rows) == expected, chosen
            assert await self.rows(index, counted, overrides) == [{"n": flows}], chosen

    async def test_the_time(self, index: Index) -> None:
        """From the start to the end that the reader chose, both included; else as far back as the dashboard looks."""
        await put(index, *EXECUTIONS)
        listed = table("Executions", {"id": {"field": "ID"}}, orderBy=[{"column": "id"}])
        start, end = START + timedelta(minutes=2), START + timedelta(minutes=4)
        rows = await self.rows(index, listed, Overrides(start=start, end=end))
        assert "".join(row["id"][-1] for row in rows) == "234"
        recent = TimeWindow(default=timedelta(minutes=57), maximum=timedelta(hours=1))
        rows = await self.rows(index, listed, window=recent)
        assert "".join(row["id"][-1] for row in rows) == "345"
        with pytest.raises(ChartRefused, match="must be after"):
            await self.rows(index, listed, Overrides(start=end, end=start))
        with pytest.raises(ChartRefused, match="at most PT1H"):
            await self.rows(index, listed, Overrides(start=START - timedelta(hours=2)), window=recent)

    async def test_namespaces_that_the_reader_may_not_see(self, index: Index) -> None:
        """Their rows are not counted, and their flows have no description here."""
        await put(index, *EXECUTIONS)
        counted = table("Executions", {"n": {"agg": "COUNT"}})
        assert await self.rows(index, counted, namespaces=frozenset({"company.team"})) == [{"n": 3}]
        assert await self.rows(index, counted, namespaces=frozenset({"company"})) == [{"n": 4}]
        assert await self.rows(index, counted, namespaces=frozenset()) == [{"n": 0}]

    # --- one number ---------------------------------------------------------------------------------------------

    async def test_numbers_and_ratios(self, index: Index) -> None:
        """Flat the numerator's number, as a percentage its share of all; without rows nothing is divided."""
        await put(index, *EXECUTIONS)
        numerator = [{"field": "STATE", "type": "IN", "values": ["SUCCESS"]}]
        columns = {"field": "ID", "agg": "COUNT"}
        data = {"type": "ExecutionsKPI", "columns": columns, "numerator": numerator}
        assert await self.rows(index, chart("KPI", data)) == [{"value": 3}]
        assert await self.rows(index, chart("KPI", data, numberType="PERCENTAGE")) == [{"value": 60}]
        assert await self.rows(index, chart("KPI", {"type": "ExecutionsKPI", "columns": columns})) == [
            {"value": 5}
        ]
        nobody = {**data, "where": [{"field": "NAMESPACE", "type": "EQUAL_TO", "value": "nobody"}]}
        assert await self.rows(index, chart("KPI", nobody, numberType="PERCENTAGE")) == [{"value": 0}]
        longest = {"type": "ExecutionsKPI", "columns": {"field": "DURATION", "agg": "MAX"}}
        assert await self.rows(index, chart("KPI", longest)) == [{"value": 4}]

    # --- the other sources --------------------------------------------------------------------------------------

    async def test_every_source(self, index: Index) -> None:
        """Each counts its own documents."""
        await put(
            index,
            *EXECUTIONS,
            line(1, "a line"),
            metric(1, 2.5),
            metric(2, -1),
            metric(3, 4, name="other"),
            flow("hello", revision=3),
            flow("world"),
            trigger("daily", NOW + timedelta(days=40)),
            trigger("idle", worker_id="worker1"),
        )
        for source, count in (("Executions", 5), ("Logs", 1), ("Metrics", 3), ("Flows", 2), ("Triggers", 2)):
            assert await self.rows(index, table(source, {"n": {"agg": "COUNT"}})) == [{"n": count}], source
            if source != "Triggers":
                field = "NAMESPACE"
                data = {"type": f"{source}KPI", "columns": {"field": field, "agg": "COUNT"}}
                assert await self.rows(index, chart("KPI", data)) == [{"value": count}], source
        sums = table("Metrics", {"name": {"field": "NAME"}, "value": {"field": "VALUE", "agg": "SUM"}})
        assert await self.rows(index, sums) == [
            {"name": "other", "value": 4},
            {"name": "sales_count", "value": 1.5},
        ]
        columns = {
            "id": {"field": "ID"},
            "next": {"field": "NEXT_EXECUTION_DATE"},
            "w": {"field": "WORKER_ID"},
        }
        planned = table("Triggers", columns, orderBy=[{"column": "next"}])
        rows = await self.rows(index, planned)
        assert [(row["id"], row["w"]) for row in rows] == [("daily", None), ("idle", "worker1")]
        assert rows[0]["next"].startswith("2026-04-10T13:00:00")

    async def test_the_examples_of_all_charts_and_sources(self, index: Index) -> None:
        """The example of each class is a dashboard whose charts can be computed."""
        await put(index, *EXECUTIONS)
        for kind, name, plugin in REGISTRY:
            if kind not in ("chart", "data"):
                continue
            dashboard = parse_dashboard(plugin.example, REGISTRY).valid()
            assert name in plugin.example or kind == "data", name
            for each in dashboard.charts:
                assert await self.rows(index, each) is not None


def _unread(source: str, tenant: str) -> Flow:
    raise AssertionError("no flow is saved")
