"""`core.storage.Split`: a file of lines as several (F W.3, storage)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.storage.files import FileUri, rendered_uri
from flowtide.plugins.tasks.storage.stored_parts import store_parts


class Split(RunnableTask):
    """Cut a stored file of lines into several; of several ways the pattern wins, then size, number and rows."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    uses_files: ClassVar[bool] = True
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uris": ("array", "The parts"),
    }
    title: ClassVar[str] = "Cut a file into several"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Split",)
    example: ClassVar[str] = """\
id: halves
namespace: company.team
inputs:
  - id: journal
    type: FILE
tasks:
  - id: split
    type: io.kestra.plugin.core.storage.Split
    from: "{{ inputs.journal }}"
    partitions: 2
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.split.uris }}"
"""

    from_: Annotated[FileUri, Field(alias="from")]
    bytes: Annotated[str | None, Field(title="The size of a part, such as 10MB")] = None
    partitions: Annotated[
        int | str | None, Field(title="The number of parts, among which lines are dealt out")
    ] = None
    rows: Annotated[int | str | None, Field(title="The lines of a part")] = None
    separator: Annotated[str, Field(title="What stands between two lines")] = "\n"
    regex_pattern: Annotated[
        str | None,
        Field(
            title="Puts lines together by its first group",
            description="Lines in which it finds nothing are left out.",
        ),
    ] = None

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uris`."""
        given = await context.evaluate(
            {
                "regexPattern": self.regex_pattern,
                "bytes": self.bytes,
                "partitions": self.partitions,
                "rows": self.rows,
                "separator": self.separator,
            },
            typed=False,
        )
        uri = await rendered_uri(self.from_, context)
        return {"uris": await store_parts(context, uri, given, lambda number: f"part-{number}")}
