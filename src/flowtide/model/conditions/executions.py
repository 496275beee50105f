"""Conditions on the upstream execution of a Flow trigger (CND-09 to CND-13).  Without one they do not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flowtide.model.condition import ConditionContext, ConditionPlugin
from flowtide.model.inputs import is_true
from flowtide.model.labels import Labels
from flowtide.model.states import State

_OLD = "io.kestra.core.models.conditions.types."
_FORMER = "io.kestra.plugin.core.condition."


class ExecutionFlow(ConditionPlugin):
    """The execution is one of this flow."""

    title: ClassVar[str] = "Executions of one flow."
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}ExecutionFlowCondition", f"{_FORMER}ExecutionFlowCondition")

    namespace: str
    flow_id: str

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and (execution.namespace, execution.flow_id) == (
            self.namespace,
            self.flow_id,
        )


class ExecutionNamespace(ConditionPlugin):
    """The execution's namespace is this one, or begins or ends with it."""

    title: ClassVar[str] = "Executions of a namespace."
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionNamespaceCondition",
        f"{_FORMER}ExecutionNamespaceCondition",
    )

    namespace: str
    comparison: Literal["EQUALS", "PREFIX", "SUFFIX"] | None = None  # None: as `prefix` says
    prefix: bool = False

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        if execution is None:
            return False
        match self.comparison or ("PREFIX" if self.prefix else "EQUALS"):
            case "PREFIX":
                return execution.namespace.startswith(self.namespace)
            case "SUFFIX":
                return execution.namespace.endswith(self.namespace)
            case _:
                return execution.namespace == self.namespace


class ExecutionStatus(ConditionPlugin):
    """The execution is in one of some states, and in none of others."""

    title: ClassVar[str] = "Executions in certain states."
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionStatusCondition",
        f"{_FORMER}ExecutionStatusCondition",
    )

    in_: Annotated[Sequence[State], Field(alias="in")] = ()  # empty: any state
    not_in: Sequence[State] = ()

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        if execution is None or execution.state in self.not_in:
            return False
        return not self.in_ or execution.state in self.in_


class ExecutionLabels(ConditionPlugin):
    """The execution has all of these labels."""

    title: ClassVar[str] = "Executions with certain labels."
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionLabelsCondition",
        f"{_FORMER}ExecutionLabelsCondition",
    )

    labels: Annotated[Labels, Field(min_length=1)]

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and set(self.labels) <= set(execution.labels)


class ExecutionOutputs(ConditionPlugin):
    """An expression on `trigger.outputs` is true; an execution without outputs does not match."""

    title: ClassVar[str] = "Executions whose outputs satisfy an expression."
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionOutputsCondition",
        f"{_FORMER}ExecutionOutputsCondition",
    )

    expression: str

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and bool(execution.outputs) and is_true(context.render(self.expression))
