"""`core.execution.Count`: how many executions flows had, for alerts (F W.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import ExpressionError, TaskFailed
from flowtide.expressions import truthy
from flowtide.model.platform import ExecutionSelection
from flowtide.model.plugin import Part
from flowtide.model.states import State
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.moments import moment


class CountedFlow(Part):
    """A flow whose executions are counted."""

    namespace: Annotated[str, Field(title="The namespace of the flow")]
    flow_id: Annotated[str, Field(title="The id of the flow")]


class Count(RunnableTask):
    """Count the executions of flows or namespaces, and give those of which an expression on `count` holds."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "results": ("array", "`namespace`, `flowId`, `state` and `count` of each flow that was counted"),
        "total": ("integer", "The sum"),
    }
    title: ClassVar[str] = "Count executions"
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.plugin.core.execution.Counts",
        "io.kestra.core.tasks.executions.Counts",
    )
    example: ClassVar[str] = """\
id: nothing_ran
namespace: system
tasks:
  - id: idle
    type: io.kestra.plugin.core.execution.Count
    expression: "{{ count == 0 }}"
    startDate: "{{ now() | dateAdd(-1, 'DAYS') }}"
    flows:
      - namespace: company.team
        flowId: nightly
"""

    expression: Annotated[
        str, Field(title="Which counts are given", description="An expression on `count`.")
    ] = "{{ true }}"
    flows: Annotated[list[CountedFlow], Field(title="The flows", description="Texts may be templates.")] = []
    namespaces: Annotated[
        list[str] | str | None, Field(title="The namespaces", description="With all below them; templates.")
    ] = None
    states: Annotated[
        list[State], Field(title="Only executions in these states", description="None: all.")
    ] = []
    start_date: Annotated[
        str | None, Field(title="Started at or after", description="ISO-8601; a template.")
    ] = None
    end_date: Annotated[str | None, Field(title="Started before", description="ISO-8601; a template.")] = None

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `results`, a list of `namespace`, `flowId` and `count`, and `total`, the sum of these."""
        begins = await moment("startDate", self.start_date, context)
        ends = await moment("endDate", self.end_date, context)
        results = []
        for namespace, flow_id in await self._wanted(context):
            count = await context.platform.records.count(
                ExecutionSelection(
                    namespace=namespace, flow_id=flow_id, states=self.states, begins=begins, ends=ends
                )
            )
            try:
                keeps = truthy(context.renderer()(self.expression, {"count": count}))
            except ExpressionError as error:
                raise TaskFailed(f"property `expression`: {error}") from None
            if keeps:
                result = {"namespace": namespace, "flowId": flow_id, "count": count}
                results.append({name: value for name, value in result.items() if value is not None})
        return {"results": results, "total": sum(result["count"] for result in results)}

    async def _wanted(self, context: RunContext) -> list[tuple[str | None, str | None]]:
        wanted: list[tuple[str | None, str | None]] = [
            (await context.evaluate(flow.namespace), await context.evaluate(flow.flow_id))
            for flow in self.flows
        ]
        namespaces = await context.evaluate(self.namespaces) or ()
        wanted += [
            (namespace, None) for namespace in ([namespaces] if isinstance(namespaces, str) else namespaces)
        ]
        return wanted or [(None, None)]
