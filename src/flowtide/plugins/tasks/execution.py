"""`core.execution.Fail` and `core.execution.Assert`: end in failure on a condition (RUN-03, RUN-04)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.expressions import truthy
from flowtide.model.task import RunContext, RunnableTask


class Fail(RunnableTask):
    """Fail, always or when a condition holds."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "inline"
    title: ClassVar[str] = "Fail on purpose"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.executions.Fail",)
    example: ClassVar[str] = """\
id: fail_on_value
namespace: company.team
tasks:
  - id: check
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ inputs.count > 10 }}"
    errorMessage: "Too many: {{ inputs.count }}"
inputs:
  - id: count
    type: INT
    defaults: 3
"""

    condition: Annotated[
        str | bool | None, Field(title="When to fail", description="An expression; without it, always.")
    ] = None
    error_message: Annotated[str, Field(title="The message", description="A template.")] = "Task failure"

    def run(self, context: RunContext) -> dict[str, Any]:
        """Raise TaskFailed with the message, unless the condition does not hold."""
        if self.condition is not None and not truthy(context.render_typed(self.condition)):
            return {}
        raise TaskFailed(context.render(self.error_message))


class Assert(RunnableTask):
    """Fail unless all conditions hold."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "inline"
    metrics: ClassVar[Mapping[str, str]] = {"failed": "counter", "success": "counter"}
    title: ClassVar[str] = "Check conditions"
    example: ClassVar[str] = """\
id: check_input
namespace: company.team
inputs:
  - id: count
    type: INT
    defaults: 3
tasks:
  - id: check
    type: io.kestra.plugin.core.execution.Assert
    conditions:
      - "{{ inputs.count > 0 }}"
    errorMessage: "The count must be positive"
"""

    conditions: Annotated[
        list[str], Field(min_length=1, title="The conditions", description="Expressions that must hold.")
    ]
    error_message: Annotated[
        str | None, Field(title="The message", description="A template; what the failure says.")
    ] = None

    def run(self, context: RunContext) -> dict[str, Any]:
        """Count `success` and `failed`; raise TaskFailed when any condition does not hold."""
        failed = []
        lines = context.logger
        for condition in self.conditions:
            if not truthy(context.render_typed(condition)):
                failed.append(condition)
                lines.error("Assertion `{}` does not hold", condition.strip())
        context.counter("failed", len(failed))
        context.counter("success", len(self.conditions) - len(failed))
        if failed:
            default = f"{len(failed)} of {len(self.conditions)} assertions do not hold"
            raise TaskFailed(default if self.error_message is None else context.render(self.error_message))
        return {}
