"""`core.log.Log`: writes lines to the log of the execution (RUN-01)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.entries import Level
from flowtide.model.task import RunContext, RunnableTask


class Log(RunnableTask):
    """Write a message, or several, to the log of the execution."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "inline"
    title: ClassVar[str] = "Write lines to the log of the execution"
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.log.Log",
        "io.kestra.core.tasks.debugs.Echo",
        "io.kestra.plugin.core.debug.Echo",
    )
    example: ClassVar[str] = """\
id: hello
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "Hello from {{ flow.id }}"
"""

    message: Annotated[
        str | list[str] | None,
        Field(title="The message", description="One line, or a list with one line each; templates."),
    ] = None
    format: Annotated[
        str | None, Field(title="The message", description="The name of `message` in the former type Echo.")
    ] = None
    level: Annotated[
        str, Field(title="The level", description="ERROR, WARN, INFO, DEBUG or TRACE; may be a template.")
    ] = "INFO"

    def run(self, context: RunContext) -> dict[str, Any]:
        """Write the lines; no outputs.  Raises TaskFailed for an unknown level."""
        level = _LEVELS.get(self.level)
        if level is None:
            rendered = context.render(self.level).strip().upper()
            level = _LEVELS.get(rendered)
            if level is None:
                raise TaskFailed(f"property `level`: {rendered[:50]!r} is none of {', '.join(_LEVELS)}")
        message = self.message if self.message is not None else self.format
        if message is None:
            raise TaskFailed("property `message`: there is nothing to write")
        if isinstance(message, str):
            context.logger.log(level, context.render(message))
        else:
            for line in message:
                context.logger.log(level, context.render(line))
        return {}


_LEVELS = {level.value: level for level in Level}
