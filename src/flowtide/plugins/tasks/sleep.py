"""`core.flow.Sleep`: waits; a runnable task although it lives in the package of flowable ones (RUN-09)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.durations import parse_duration
from flowtide.model.task import RunContext, RunnableTask


class Sleep(RunnableTask):
    """Wait for a duration."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    title: ClassVar[str] = "Wait"
    example: ClassVar[str] = """\
id: wait_a_moment
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT5S
"""

    duration: Annotated[
        str,
        Field(
            title="How long", description="An ISO-8601 duration such as PT5S, or a template that gives one."
        ),
    ]

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Wait; no outputs.  Raises TaskFailed for what is no duration."""
        text = str(await context.evaluate(self.duration, typed=False))
        try:
            duration = parse_duration(text)
        except ValueError as error:
            raise TaskFailed(f"property `duration`: {error}") from None
        if duration < timedelta(0):
            raise TaskFailed("property `duration`: must not be negative")
        await asyncio.sleep(duration.total_seconds())
        return {}
