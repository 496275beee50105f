"""Conditions made of conditions (CND-08)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.condition import (
    ConditionContext,
    ConditionPlugin,
    example_on_executions,
    example_on_schedule,
)
from flowtide.model.plugin import Condition
from flowtide.model.upstream import Patterns, any_of

_OLD = "io.kestra.core.models.conditions.types."
_FORMER = "io.kestra.plugin.core.condition."


class _Compound(ConditionPlugin):
    conditions: Annotated[Sequence[Condition], Field(title="The conditions", min_length=1)]

    def parts(self) -> Sequence[ConditionPlugin]:
        return [each for each in self.conditions if isinstance(each, ConditionPlugin)]

    def _any(self, context: ConditionContext) -> bool:
        return any(each.holds(context) for each in self.parts())


class Not(_Compound):
    """None of the conditions holds."""

    title: ClassVar[str] = "None of several conditions."
    example: ClassVar[str] = example_on_schedule(
        "{type: io.kestra.plugin.core.condition.Not, conditions: [{type: io.kestra.plugin.core.condition.Weekend}]}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}NotCondition", f"{_FORMER}NotCondition")

    def holds(self, context: ConditionContext) -> bool:
        return not self._any(context)


class Or(_Compound):
    """At least one of the conditions holds."""

    title: ClassVar[str] = "At least one of several conditions."
    example: ClassVar[str] = example_on_executions(
        f"{{type: {_FORMER}Or, conditions: [{{type: {_FORMER}ExecutionStatus, in: [FAILED]}}, "
        f"{{type: {_FORMER}ExecutionLabels, labels: {{team: data}}}}]}}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}OrCondition", f"{_FORMER}OrCondition")

    def holds(self, context: ConditionContext) -> bool:
        return self._any(context)

    def upstream(self) -> Patterns:
        return any_of(each.upstream() for each in self.parts())
