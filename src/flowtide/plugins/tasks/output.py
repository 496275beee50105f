"""`core.output.OutputValues`: gives values under names as its output (RUN-08)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.model.task import RunContext, RunnableTask


class OutputValues(RunnableTask):
    """Give several values, to be read as `outputs.{task}.values.{name}`."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "inline"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "values": ("object", "The values, rendered"),
    }
    title: ClassVar[str] = "Give values to the tasks that follow"
    example: ClassVar[str] = """\
id: pass_values
namespace: company.team
tasks:
  - id: values
    type: io.kestra.plugin.core.output.OutputValues
    values:
      day: "{{ execution.startDate }}"
      count: 3
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.values.values.count }}"
"""

    values: Annotated[
        dict[str, Any],
        Field(
            title="The values",
            description="Templates give text; numbers, lists and mappings stay what they are.",
        ),
    ]

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `values`."""
        return {"values": context.render_nested(self.values)}
