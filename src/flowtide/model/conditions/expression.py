"""A condition that is an expression (CND-14)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.model.condition import ConditionContext, ConditionPlugin
from flowtide.model.inputs import is_true


class Expression(ConditionPlugin):
    """An expression is true."""

    title: ClassVar[str] = "Whatever an expression says."
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.models.conditions.types.VariableCondition",
        "io.kestra.plugin.core.condition.ExpressionCondition",
    )

    expression: str

    def holds(self, context: ConditionContext) -> bool:
        return is_true(context.render(self.expression))
