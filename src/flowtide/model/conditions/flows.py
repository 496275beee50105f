"""Deprecated conditions on the flow that they stand in (CND-17, page 343)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.model.condition import ConditionContext, ConditionPlugin
from flowtide.model.conditions.executions import Comparison, compared

_OLD = "io.kestra.core.models.conditions.types."


class FlowCondition(ConditionPlugin):
    """The flow with the trigger is this one; `ExecutionFlow` looks at the execution upstream."""

    title: ClassVar[str] = "One flow."
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}FlowCondition",)

    namespace: str
    flow_id: str

    def holds(self, context: ConditionContext) -> bool:
        flow = (context.render("{{ flow.namespace }}"), context.render("{{ flow.id }}"))
        return flow == (self.namespace, self.flow_id)


class FlowNamespaceCondition(ConditionPlugin):
    """The flow with the trigger is of this namespace, or of one that begins or ends with it."""

    title: ClassVar[str] = "The flows of a namespace."
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}FlowNamespaceCondition",)

    namespace: str
    comparison: Comparison | None = None  # None: as `prefix` says
    prefix: bool = False

    def holds(self, context: ConditionContext) -> bool:
        namespace = str(context.render("{{ flow.namespace }}"))
        return compared(namespace, self.namespace, self.comparison, prefix=self.prefix)
