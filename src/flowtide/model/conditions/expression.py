"""A condition that is an expression (CND-14)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.condition import ConditionContext, ConditionPlugin, example_on_executions
from flowtide.model.inputs import is_true


class Expression(ConditionPlugin):
    """An expression is true."""

    title: ClassVar[str] = "Whatever an expression says."
    example: ClassVar[str] = example_on_executions(
        "{type: io.kestra.plugin.core.condition.Expression, expression: \"{{ trigger.state == 'SUCCESS' }}\"}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.models.conditions.types.VariableCondition",
        "io.kestra.plugin.core.condition.ExpressionCondition",
    )

    expression: Annotated[str, Field(title="A template that is true or false")]

    def holds(self, context: ConditionContext) -> bool:
        return is_true(context.render(self.expression))
