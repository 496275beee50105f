"""The data of charts over HTTP: of saved dashboards and of charts that are still being written, as pages and as CSV.

In come charts and what their readers chose, in the spellings of all clients; the computing is `services.dashboards`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from aiohttp import web

from flowtide.api import dashboards
from flowtide.api.access import authorized_namespaces
from flowtide.api.answers import page_answer
from flowtide.api.bodies import parse_json, read_body
from flowtide.api.filters import read_moment
from flowtide.api.keys import CATALOG, CLOCK, INDEX, REGISTRY, SITE
from flowtide.api.parameters import tenant
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import csv_line, csv_response
from flowtide.errors import ChartRefused
from flowtide.index.queries import Operation
from flowtide.model.access import Action, Permission
from flowtide.model.dashboards.charts import KPI, Chart, RowChart
from flowtide.model.dashboards.data import RowSource
from flowtide.model.dashboards.source import parse_chart
from flowtide.model.durations import parse_duration
from flowtide.services.dashboards.conditions import GlobalFilter, Overrides, TimeWindow
from flowtide.services.dashboards.evaluation import ChartReader, ChartRequest

_PREVIEW = TimeWindow(default=timedelta(days=8))
_LARGEST_SIZE = 10_000
_LARGEST_PAGE = 1_000_000
_MOST_FILTERS = 50
_FIELDS = frozenset(
    {
        "QUERY", "SCOPE", "NAMESPACE", "LABELS", "FLOW_ID", "FLOW_REVISION", "ID", "STATE", "EXECUTION_ID",
        "TRIGGER_EXECUTION_ID", "PARENT_ID", "TRIGGER_ID", "TASK_ID", "TASK_RUN_ID", "CHILD_FILTER", "MIN_LEVEL",
        "LEVEL", "NAME", "TYPE",
    }
)  # fmt: skip  # reads better as a paragraph
_PERMISSIONS: Mapping[str, Permission] = {
    "executions": Permission.EXECUTION,
    "logs": Permission.EXECUTION,
    "metrics": Permission.EXECUTION,
}
"""Which permission decides whose documents a chart counts; for all others it is FLOW."""


# --- saved charts ------------------------------------------------------------------------------------------------


async def data(request: web.Request) -> web.StreamResponse:
    """The data of a chart of a dashboard, limited by filters for the whole dashboard."""
    return await _page(request, await _saved(request))


async def export(request: web.Request) -> web.StreamResponse:
    """All data of a chart of a dashboard as CSV, whatever the page."""
    _insist_on_csv(request)
    return await _csv(request, await _saved(request))


async def _saved(request: web.Request) -> ChartRequest:
    dashboard = await dashboards.find(request)
    identifier = request.match_info["chartId"]
    chart = next((each for each in dashboard.charts if each.id == identifier), None)
    if chart is None:
        raise not_found(f"the chart {identifier[:100]!r} of this dashboard")
    body = await read_body(request)
    window = TimeWindow(default=dashboard.time_window.default, maximum=dashboard.time_window.max)
    return _wanted(request, chart, window, parse_json(body) if body else None)


# --- charts that are being written -------------------------------------------------------------------------------


async def preview(request: web.Request) -> web.StreamResponse:
    """The data of a chart that need not be saved; without dates that of the last 8 days."""
    return await _page(request, await _unsaved(request))


async def export_preview(request: web.Request) -> web.StreamResponse:
    """All data of a chart that need not be saved as CSV."""
    _insist_on_csv(request)
    return await _csv(request, await _unsaved(request))


async def _unsaved(request: web.Request) -> ChartRequest:
    body = parse_json(await read_body(request))
    source = body.get("chart") if isinstance(body, dict) else None
    if not isinstance(source, str) or not source.strip():
        raise Problem(422, 'the body must be {"chart": the chart as YAML, "globalFilter": {...}}')
    chart = parse_chart(source, request.app[REGISTRY]).valid()
    return _wanted(request, chart, _PREVIEW, body.get("globalFilter"))


# --- answers -----------------------------------------------------------------------------------------------------


async def _page(request: web.Request, wanted: ChartRequest) -> web.StreamResponse:
    found = await _reader(request).read(wanted)
    return page_answer(found.rows, found.total)


async def _csv(request: web.Request, wanted: ChartRequest) -> web.StreamResponse:
    chart = wanted.chart
    if isinstance(chart, RowChart) and isinstance(chart.data, RowSource):
        columns = list(chart.data.columns)
    elif isinstance(chart, KPI):
        columns = ["value"]
    else:
        raise ChartRefused(f"the chart `{chart.id}` has no data that could be exported")
    portions = _reader(request).portions(wanted)
    nothing: list[dict[str, Any]] = []
    first = await anext(portions, nothing)  # what is refused is refused before the answer begins
    response = await csv_response(request, f"{chart.id}.csv", columns)
    while first:
        await response.write(b"".join([csv_line([row[name] for name in columns]) for row in first]))
        first = await anext(portions, nothing)
    await response.write_eof()
    return response


def _insist_on_csv(request: web.Request) -> None:
    wanted = request.query.get("format", "CSV")
    if wanted.upper() != "CSV":
        raise Problem(422, f"charts are exported as CSV, and not as {wanted[:20]}")


def _reader(request: web.Request) -> ChartReader:
    return ChartReader(
        request.app[INDEX],
        request.app[CATALOG],
        clock=request.app[CLOCK],
        system_namespace=request.app[SITE].system_namespace,
    )


# --- what the reader chose ---------------------------------------------------------------------------------------


def _wanted(request: web.Request, chart: Chart, window: TimeWindow, given: Any) -> ChartRequest:
    def namespaces(documents: str) -> frozenset[str] | None:
        return authorized_namespaces(request, _PERMISSIONS.get(documents, Permission.FLOW), Action.READ)

    return ChartRequest(
        tenant=tenant(request),
        chart=chart,
        window=window,
        overrides=_Reading(request).overrides(given),
        namespaces=namespaces,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads a ChartFiltersOverrides, or only its list of filters, as clients send them."""

    request: web.Request

    def overrides(self, given: Any) -> Overrides:
        """Raises Problem 422 for what cannot be read, naming it."""
        if given is None:
            return Overrides()
        if isinstance(given, list):
            given = {"filters": given}
        if not isinstance(given, dict):
            raise Problem(
                422, "the filters of a chart must be an object with `filters`, or a list of filters"
            )
        overrides = Overrides(
            start=self._moment(given, "startDate"),
            end=self._moment(given, "endDate"),
            page=_number(given, "pageNumber", _LARGEST_PAGE),
            size=_number(given, "pageSize", _LARGEST_SIZE),
        )
        filters: list[GlobalFilter] = []
        namespace = given.get("namespace")
        if namespace:
            filters.append(
                GlobalFilter(
                    field="NAMESPACE", operation=Operation.PREFIX, value=_text(namespace, "namespace")
                )
            )
        labels = given.get("labels") or {}
        if not isinstance(labels, dict):
            raise Problem(422, "`labels` must be an object of keys and values")
        filters += [
            GlobalFilter(field="LABELS", operation=Operation.EQUALS, key=str(key), value=str(value))
            for key, value in labels.items()
        ]
        listed = given.get("filters") or []
        if not isinstance(listed, list) or len(listed) > _MOST_FILTERS:
            raise Problem(422, f"`filters` must be a list of at most {_MOST_FILTERS} filters")
        for each in listed:
            overrides, found = self._filter(overrides, each)
            filters += found
        return replace(overrides, filters=tuple(filters))

    def _filter(self, overrides: Overrides, given: Any) -> tuple[Overrides, list[GlobalFilter]]:
        if not isinstance(given, dict) or not isinstance(given.get("field"), str):
            raise Problem(422, "a filter must be an object with `field`, `operation` and `value`")
        name = _field(given["field"])
        try:
            operation = Operation(str(given.get("operation", "EQUALS")))
        except ValueError:
            raise Problem(
                422, f"the filter operation `{str(given['operation'])[:100]}` is not known"
            ) from None
        value = given.get("value")
        if isinstance(value, dict) and value.keys() == {"value"}:  # as the clients of 1.3 wrap it
            value = value["value"]
        if name == "TIME_RANGE":
            return replace(overrides, start=self._ago(value)), []
        if name in ("START_DATE", "END_DATE"):
            moment = read_moment(_text(value, name), name)
            if name == "START_DATE" and operation in _FROM:
                return replace(overrides, start=moment), []
            if operation in _UNTIL:
                return replace(overrides, end=moment), []
            raise Problem(
                422, f"the time of a chart begins with START_DATE and ends with END_DATE, not {operation}"
            )
        if name not in _FIELDS:
            known = ", ".join(sorted({*_FIELDS, "START_DATE", "END_DATE", "TIME_RANGE"}))
            raise Problem(422, f"the filter field `{name[:100]}` is not known here; known are {known}")
        return overrides, list(_filters(name, operation, value))

    def _moment(self, given: Mapping[str, Any], name: str) -> Any:
        value = given.get(name)
        return None if value in (None, "") else read_moment(_text(value, name), name)

    def _ago(self, value: Any) -> Any:
        try:
            return self.request.app[CLOCK]() - abs(parse_duration(_text(value, "TIME_RANGE")))
        except (ValueError, OverflowError):
            raise Problem(422, "TIME_RANGE must be an ISO-8601 duration, such as PT24H") from None


_FROM = frozenset({Operation.EQUALS, Operation.GREATER_THAN, Operation.GREATER_THAN_OR_EQUAL_TO})
_UNTIL = frozenset({Operation.EQUALS, Operation.LESS_THAN, Operation.LESS_THAN_OR_EQUAL_TO})


def _filters(name: str, operation: Operation, value: Any) -> list[GlobalFilter]:
    if isinstance(value, dict):
        if name != "LABELS":
            raise Problem(422, f"the value of a filter on {name} must be a text, a number or a list")
        return [
            GlobalFilter(field=name, operation=operation, key=str(key), value=str(each))
            for key, each in value.items()
        ]
    if operation not in (Operation.IS_NULL, Operation.IS_NOT_NULL):
        if value is None or (isinstance(value, list) and not value):
            return []  # a filter that somebody began and did not finish
        for each in value if isinstance(value, list) else [value]:
            _text(each, name)
    if name == "LABELS":
        texts = [str(each) for each in (value if isinstance(value, list) else [value])]
        if not all(":" in each for each in texts):
            raise Problem(
                422, "a filter by label has a value such as `key:value`, or an object of keys and values"
            )
        return [GlobalFilter(field=name, operation=operation, value=each) for each in texts]
    return [GlobalFilter(field=name, operation=operation, value=value)]


def _field(name: str) -> str:
    """`flowId`, `FLOW_ID` and `q` as the names that filters have in bodies."""
    if name == "q":
        return "QUERY"
    if name.isupper():
        return name
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)


def _text(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "\0" in str(value):
        raise Problem(422, f"`{name}` must be a text")
    if len(str(value)) > 10_000:
        raise Problem(422, f"`{name}` is too long")
    return str(value)


def _number(given: Mapping[str, Any], name: str, most: int) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Problem(422, f"`{name}` must be a whole number from 1 to {most}")
    return value
