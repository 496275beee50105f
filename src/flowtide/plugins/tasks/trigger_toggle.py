"""`core.trigger.Toggle`: switches a trigger on or off."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.task import RunContext, RunnableTask


class Toggle(RunnableTask):
    """Switch a trigger on or off, as a person would on the page of triggers; its YAML does not change."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    title: ClassVar[str] = "Switch a trigger on or off"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.trigger.Toggle",)
    example: ClassVar[str] = """\
id: stop_the_schedule
namespace: company.team
tasks:
  - id: stop
    type: io.kestra.plugin.core.trigger.Toggle
    trigger: nightly
    enabled: false
triggers:
  - id: nightly
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "0 3 * * *"
"""

    trigger: Annotated[str, Field(title="The trigger's id", description="A template.")]
    namespace: Annotated[
        str | None, Field(title="The namespace of its flow", description="A template; by default this one's.")
    ] = None
    flow_id: Annotated[
        str | None, Field(title="Its flow", description="A template; by default this one.")
    ] = None
    enabled: Annotated[bool | str, Field(title="Whether it shall fire", description="May be a template.")] = (
        False
    )

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give no outputs."""
        flow_id = await context.evaluate(self.flow_id) or context.flow_id
        trigger = await context.evaluate(self.trigger)
        if not trigger or "/" in str(trigger):
            raise TaskFailed(f"property `trigger`: {trigger!r} is not the id of a trigger")
        await context.platform.records.switch_trigger(
            await context.evaluate(self.namespace) or context.namespace,
            flow_id,
            str(trigger),
            disabled=await context.evaluate(self.enabled) not in (True, "true"),
            by=f"execution {context.execution_id}",
        )
        return {}
