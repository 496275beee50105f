"""`core.storage.Size`, `Delete` and `PurgeCurrentExecutionFiles`: whole files of the internal storage (page 067)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.task import RunContext, RunnableTask

FileUri = Annotated[
    str, Field(title="The file", description="The `kestra://` URI of a stored file; a template.")
]


class Size(RunnableTask):
    """Give the size of a stored file (RUN-19)."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "size": ("integer", "The size in bytes"),
    }
    title: ClassVar[str] = "Tell the size of a file"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Size",)
    example: ClassVar[str] = """\
id: size_of_a_file
namespace: company.team
inputs:
  - id: report
    type: FILE
tasks:
  - id: size
    type: io.kestra.plugin.core.storage.Size
    uri: "{{ inputs.report }}"
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.size.size }} bytes"
"""

    uri: FileUri

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `size`, in bytes."""
        return {"size": await context.file_size(await rendered_uri(self.uri, context))}


class Delete(RunnableTask):
    """Remove a stored file (RUN-18)."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The file"),
        "deleted": ("boolean", "Whether it was there"),
    }
    title: ClassVar[str] = "Remove a file"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Delete",)
    example: ClassVar[str] = """\
id: remove_a_file
namespace: company.team
inputs:
  - id: report
    type: FILE
tasks:
  - id: remove
    type: io.kestra.plugin.core.storage.Delete
    uri: "{{ inputs.report }}"
    errorOnMissing: true
"""

    uri: FileUri
    error_on_missing: Annotated[
        bool | str,
        Field(title="Whether to fail when there is no such file", description="May be a template."),
    ] = False

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri` and `deleted`."""
        uri = await rendered_uri(self.uri, context)
        deleted = await context.delete_file(uri)
        if not deleted and await context.evaluate(self.error_on_missing) in (True, "true"):
            raise TaskFailed(f"there is no file {uri[:300]}")
        return {"uri": uri, "deleted": deleted}


class PurgeCurrentExecutionFiles(RunnableTask):
    """Remove all files of this execution: those of its inputs, outputs and trigger (RUN-22)."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uris": ("array", "The files that were removed"),
    }
    title: ClassVar[str] = "Remove the files of this execution"
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.plugin.core.storage.PurgeExecution",
        "io.kestra.plugin.core.storage.PurgeExecutionFiles",
        "io.kestra.core.tasks.storages.PurgeExecution",
    )
    example: ClassVar[str] = """\
id: leave_no_files
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: the work
finally:
  - id: clean
    type: io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles
"""

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uris`, those that were removed; no files are no error."""
        uris = await context.delete_own_files()
        lines = context.logger
        lines.info("{} files of this execution were removed", len(uris))
        return {"uris": uris}


async def rendered_uri(template: str, context: RunContext) -> str:
    """The URI that a property names.  Raises TaskFailed when it names none."""
    uri = await context.evaluate(template)
    if not isinstance(uri, str) or not uri.strip():
        raise TaskFailed(f"`{template.strip()[:200]}` names no file; it must be the URI of a stored one")
    return uri.strip()
