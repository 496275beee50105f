"""Deprecated conditions on the flow that they stand in (CND-17, page 343)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.condition import ConditionContext, ConditionPlugin, example_on_executions
from flowtide.model.conditions.executions import Comparison, compared

_OLD = "io.kestra.core.models.conditions.types."


class FlowCondition(ConditionPlugin):
    """The flow with the trigger is this one; `ExecutionFlow` looks at the execution upstream."""

    title: ClassVar[str] = "One flow."
    deprecated: ClassVar[str] = "use ExecutionFlow, or an expression on `flow.id`"
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.FlowCondition, namespace: company.team, flowId: after_others}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}FlowCondition",)

    namespace: Annotated[str, Field(title="The namespace of the flow")]
    flow_id: Annotated[str, Field(title="The id of the flow")]

    def holds(self, context: ConditionContext) -> bool:
        flow = (context.render("{{ flow.namespace }}"), context.render("{{ flow.id }}"))
        return flow == (self.namespace, self.flow_id)


class FlowNamespaceCondition(ConditionPlugin):
    """The flow with the trigger is of this namespace, or of one that begins or ends with it."""

    title: ClassVar[str] = "The flows of a namespace."
    deprecated: ClassVar[str] = "use ExecutionNamespace, or an expression on `flow.namespace`"
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.FlowNamespaceCondition, namespace: company, prefix: true}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}FlowNamespaceCondition",)

    namespace: Annotated[str, Field(title="The namespace, or its beginning or end")]
    comparison: Annotated[
        Comparison | None, Field(title="How namespaces are compared; EQUALS by default")
    ] = None
    prefix: Annotated[
        bool, Field(title="Whether the namespace is a beginning, where no `comparison` is given")
    ] = False

    def holds(self, context: ConditionContext) -> bool:
        namespace = str(context.render("{{ flow.namespace }}"))
        return compared(namespace, self.namespace, self.comparison, prefix=self.prefix)
