"""`core.log.Fetch`: the log lines of an execution as a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import Field

from flowtide.model.entries import Level
from flowtide.model.platform import LogSelection
from flowtide.model.task import RunContext, RunnableTask


class Fetch(RunnableTask):
    """Store log lines as a file, one a line; those that the index shows by now."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The file with the lines, one JSON object each"),
        "size": ("integer", "The number of lines"),
    }
    title: ClassVar[str] = "Store log lines as a file"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.log.Fetch",)
    example: ClassVar[str] = """\
id: keep_the_log
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "something happened"
  - id: fetch
    type: io.kestra.plugin.core.log.Fetch
    level: WARN
"""

    execution_id: Annotated[
        str | None, Field(title="The execution", description="A template; by default this one.")
    ] = None
    namespace: Annotated[str | None, Field(title="Its namespace")] = None
    flow_id: Annotated[str | None, Field(title="Its flow")] = None
    task_id: Annotated[list[str] | str | None, Field(alias="tasksId", title="Only lines of these tasks")] = (
        None
    )
    level: Annotated[Level, Field(title="The lowest level")] = Level.INFO

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri` and `size`, the number of lines."""
        tasks = await context.evaluate(self.task_id) or ()
        selection = LogSelection(
            execution_id=await context.evaluate(self.execution_id) or context.execution_id,
            namespace=await context.evaluate(self.namespace),
            flow_id=await context.evaluate(self.flow_id),
            task_ids=[tasks] if isinstance(tasks, str) else list(tasks),
            levels=[level for level in Level if level.severity >= self.level.severity],
        )
        path = context.working_directory / "logs.ion"
        count = 0
        with path.open("wb") as output:
            async for lines in context.platform.records.logs(selection):
                count += len(lines)
                output.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return {"uri": await context.put_file(path), "size": count}
