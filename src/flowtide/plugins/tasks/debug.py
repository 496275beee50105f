"""`core.debug.Return`: gives a rendered text as its output (RUN-02)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.model.task import RunContext, RunnableTask


class Return(RunnableTask):
    """Return a value, to see what an expression gives or to pass it on."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "inline"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "value": ("string", "The rendered text; absent without `format`"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"length": "counter", "duration": "timer"}
    title: ClassVar[str] = "Return a rendered text"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.debugs.Return",)
    example: ClassVar[str] = """\
id: return_value
namespace: company.team
tasks:
  - id: compute
    type: io.kestra.plugin.core.debug.Return
    format: "{{ execution.id }}"
"""

    format: Annotated[str | None, Field(title="The text", description="A template; its text is `value`.")] = (
        None
    )

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `value`, with the metrics `length` and `duration`."""
        if self.format is None:
            return {}
        started = time.perf_counter()
        value = context.render(self.format)
        tag = self.format[:200]
        context.counter("length", len(value), format=tag)
        context.timer("duration", timedelta(seconds=time.perf_counter() - started), format=tag)
        return {"value": value}
