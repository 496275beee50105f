"""The Markdown chart: text beside the data, given in the dashboard or taken from a flow's description (E121)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from flowtide.model.dashboards.charts import Chart, ChartOptions
from flowtide.model.dashboards.filters import Fault
from flowtide.model.plugin import Part


class TextSource(Part):
    """Text that stands in the dashboard."""

    type: Literal["Text"]
    content: str


class FlowDescriptionSource(Part):
    """The description of a flow.

    `--NAMESPACE--` and `--FLOW--` stand for the namespace and the flow that the reader looks at.
    """

    type: Literal["FlowDescription"]
    namespace: str
    flow_id: str


class Markdown(Chart):
    """Text."""

    title = "Explain in words"
    example = """\
title: Notes
charts:
  - id: notes
    type: io.kestra.plugin.core.dashboard.chart.Markdown
    chartOptions:
      displayName: Notes
    source:
      type: Text
      content: |
        ## What to look at
        Failures above **1 %** are worth a look.
"""

    chart_options: Annotated[ChartOptions | None, Field(title="How it looks")] = None
    content: Annotated[str | None, Field(title="The text, as it was given formerly: use `source`")] = None
    source: Annotated[
        Annotated[TextSource | FlowDescriptionSource, Field(discriminator="type")] | None,
        Field(title="The text, or the flow whose description is shown"),
    ] = None

    @classmethod
    def advice(cls, given: Mapping[str, Any]) -> Iterator[str]:
        if "content" in given:
            yield "`content` is deprecated: use `source`, with `type: Text`"

    def faults(self) -> Iterator[Fault]:
        if self.content is None and self.source is None:
            yield ("source",), "is required: a text, or the flow whose description is shown"
        if self.content is not None and self.source is not None:
            yield ("content",), "has no effect beside `source`: keep one of them"
