"""Conditions on the upstream execution of a Flow trigger (CND-09 to CND-13).  Without one they do not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from flowtide.model.condition import ConditionContext, ConditionPlugin, example_on_executions
from flowtide.model.inputs import is_true
from flowtide.model.labels import Labels
from flowtide.model.records import Label
from flowtide.model.states import State
from flowtide.model.upstream import EVERYTHING, Pattern, Patterns, Reach, of_flow

_OLD = "io.kestra.core.models.conditions.types."
_FORMER = "io.kestra.plugin.core.condition."

Comparison = Literal["EQUALS", "PREFIX", "SUFFIX"]


class _OnExecution(ConditionPlugin):
    needs_execution: ClassVar[bool] = True


class ExecutionFlow(_OnExecution):
    """The execution is one of this flow."""

    title: ClassVar[str] = "Executions of one flow."
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: company.team, flowId: upstream}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}ExecutionFlowCondition", f"{_FORMER}ExecutionFlowCondition")

    namespace: Annotated[str, Field(title="The namespace of the flow")]
    flow_id: Annotated[str, Field(title="The id of the flow")]

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and (execution.namespace, execution.flow_id) == (
            self.namespace,
            self.flow_id,
        )

    def upstream(self) -> Patterns:
        return frozenset({of_flow(self.namespace, self.flow_id)})


class ExecutionNamespace(_OnExecution):
    """The execution's namespace is this one, or begins or ends with it."""

    title: ClassVar[str] = "Executions of a namespace."
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.ExecutionNamespace, namespace: company, comparison: PREFIX}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionNamespaceCondition",
        f"{_FORMER}ExecutionNamespaceCondition",
    )

    namespace: Annotated[str, Field(title="The namespace, or its beginning or end")]
    comparison: Annotated[
        Comparison | None, Field(title="How namespaces are compared; EQUALS by default")
    ] = None
    prefix: Annotated[
        bool, Field(title="Whether the namespace is a beginning, where no `comparison` is given")
    ] = False

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and compared(
            execution.namespace, self.namespace, self.comparison, prefix=self.prefix
        )

    def upstream(self) -> Patterns:
        match _comparison(self.comparison, prefix=self.prefix):
            case "PREFIX":
                return frozenset({Pattern(Reach.PREFIX, self.namespace)})
            case "SUFFIX":
                return EVERYTHING
            case _:
                return frozenset({Pattern(Reach.NAMESPACE, self.namespace)})


class ExecutionStatus(_OnExecution):
    """The execution is in one of some states, and in none of others."""

    title: ClassVar[str] = "Executions in certain states."
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED, WARNING]}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionStatusCondition",
        f"{_FORMER}ExecutionStatusCondition",
    )

    in_: Annotated[
        Sequence[State], Field(title="States of which it has one; any state by default", alias="in")
    ] = ()
    not_in: Annotated[Sequence[State], Field(title="States of which it has none")] = ()

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        if execution is None or execution.state in self.not_in:
            return False
        return not self.in_ or execution.state in self.in_


class ExecutionLabels(_OnExecution):
    """The execution has all of these labels."""

    title: ClassVar[str] = "Executions with certain labels."
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.ExecutionLabels, labels: {team: data}}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionLabelsCondition",
        f"{_FORMER}ExecutionLabelsCondition",
    )

    labels: Annotated[
        Labels, Field(title="Labels, all of which it carries; not those of the system", min_length=1)
    ]

    @field_validator("labels")
    @classmethod
    def _none_of_the_system(cls, value: tuple[Label, ...]) -> tuple[Label, ...]:
        for label in value:
            if label.key.startswith("system."):
                raise PydanticCustomError(
                    "labels",
                    "`{key}` is a label of the system, which cannot be asked for",
                    {"key": label.key},
                )
        return value

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and set(self.labels) <= set(execution.labels)


class ExecutionOutputs(_OnExecution):
    """An expression on `trigger.outputs` is true; an execution without outputs does not match."""

    title: ClassVar[str] = "Executions whose outputs satisfy an expression."
    example: ClassVar[str] = example_on_executions(
        '{type: io.kestra.plugin.core.condition.ExecutionOutputs, expression: "{{ trigger.outputs.rows > 0 }}"}'
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}ExecutionOutputsCondition",
        f"{_FORMER}ExecutionOutputsCondition",
    )

    expression: Annotated[str, Field(title="A template that is true or false, on `trigger.outputs`")]

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        if execution is None or not (execution.outputs or execution.outputs_bytes):
            return False
        return is_true(context.render(self.expression))


class HasRetryAttempt(_OnExecution):
    """A task run that was retried has an attempt in one of some states, and not in others."""

    title: ClassVar[str] = "Executions with retried tasks."
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.HasRetryAttempt, in: [FAILED]}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}HasRetryAttemptCondition",
        f"{_FORMER}HasRetryAttemptCondition",
    )

    in_: Annotated[Sequence[State], Field(title="States of attempts; any state by default", alias="in")] = ()
    not_in: Annotated[Sequence[State], Field(title="States of attempts that do not count")] = ()

    def holds(self, context: ConditionContext) -> bool:
        execution = context.execution
        return execution is not None and any(
            state not in self.not_in and (not self.in_ or state in self.in_)
            for state in execution.retry_states
        )


def compared(namespace: str, wanted: str, comparison: Comparison | None, *, prefix: bool) -> bool:
    """Whether a namespace is as wanted; `prefix` decides where no comparison is given (CND-10)."""
    match _comparison(comparison, prefix=prefix):
        case "PREFIX":
            return namespace.startswith(wanted)
        case "SUFFIX":
            return namespace.endswith(wanted)
        case _:
            return namespace == wanted


def _comparison(comparison: Comparison | None, *, prefix: bool) -> Comparison:
    return comparison or ("PREFIX" if prefix else "EQUALS")
