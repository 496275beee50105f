"""A dashboard: its title, the time that it looks back, and its charts (E114)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from pydantic import Field, SerializeAsAny

from flowtide.model.dashboards.charts import Chart
from flowtide.model.dashboards.filters import Fault
from flowtide.model.durations import Duration, format_duration
from flowtide.model.plugin import Part, plugin_of, plugin_schema

MOST_CHARTS = 200  # each is a query to the index when the page is shown
LONGEST_WINDOW = timedelta(days=366)

AnyChart = Annotated[SerializeAsAny[Chart], plugin_of("chart"), plugin_schema("chart")]


class TimeWindow(Part):
    """How far back a dashboard looks."""

    default: Duration = timedelta(days=30)
    max: Duration = LONGEST_WINDOW

    def faults(self) -> Iterator[Fault]:
        """What is wrong beyond the types of the properties."""
        for name, window in (("default", self.default), ("max", self.max)):
            if not timedelta() < window <= LONGEST_WINDOW:
                yield (name,), f"must be more than nothing and at most P{LONGEST_WINDOW.days}D"
        if self.default > self.max:
            yield ("default",), f"must not be longer than `max`, which is {format_duration(self.max)}"


class Dashboard(Part):
    """What a person writes."""

    id: Annotated[
        Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", max_length=100)] | None,
        Field(title="Its name in the tenant; made when it is left out"),
    ] = None
    title: Annotated[str, Field(title="What people call it", min_length=1)]
    description: Annotated[str | None, Field(title="What it is for")] = None
    time_window: Annotated[TimeWindow, Field(title="How far back it looks, `default` and `max`")] = (
        TimeWindow()
    )
    charts: Annotated[
        tuple[AnyChart, ...], Field(title="The charts, from left to right and top to bottom")
    ] = ()

    def faults(self) -> Iterator[Fault]:
        """What is wrong beyond the types of the properties."""
        for path, message in self.time_window.faults():
            yield ("timeWindow", *path), message
        if len(self.charts) > MOST_CHARTS:
            yield ("charts",), f"has {len(self.charts)} entries; a dashboard has at most {MOST_CHARTS} charts"
        seen: set[str] = set()
        for index, chart in enumerate(self.charts):
            if chart.id in seen:
                yield ("charts", index, "id"), f"there is another chart with the id `{chart.id}`"
            seen.add(chart.id)
            for path, message in chart.faults():
                yield ("charts", index, *path), message
