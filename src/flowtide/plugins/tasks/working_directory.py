"""WorkingDirectory: its tasks share one directory (FLO-23); what comes into it, and what is kept of it at the end."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from flowtide.errors import FlowtideError, TaskFailed
from flowtide.model.directories import DirectoryBlock, DirectoryTask
from flowtide.model.durations import Duration
from flowtide.model.namespace_files import NamespaceFilesProperty
from flowtide.model.plugin import Part
from flowtide.model.task import RunContext
from flowtide.plugins.tasks.directory_cache import restore_cache, save_cache
from flowtide.plugins.tasks.namespace_mount import mount_namespace_files, texts
from flowtide.plugins.tasks.scripts.files import place_input_files, store_output_files

_NOT_CLOSED: Final = "Unable to execute WorkingDirectory post actions"


class Cache(Part):
    """Files that later executions find in the directory again (CAC-01)."""

    patterns: Annotated[
        list[str] | str,
        Field(title="Which files are kept", description="Globs, relative to the directory; templates."),
    ]
    ttl: Annotated[
        Duration | None,
        Field(
            title="How long they are used",
            description="Since they were kept, by the value that stands here when they would be used (CAC-02); "
            "without it, for ever.",
        ),
    ] = None


class _Files(Part):
    """The properties about files."""

    input_files: Annotated[
        dict[str, Any] | str | None,
        Field(
            title="Files that are there before the first task",
            description="Name to content, or to the URI of a stored file or of a namespace file.",
        ),
    ] = None
    output_files: Annotated[
        list[str] | str | None,
        Field(
            title="Files that are stored after the last task",
            description="Globs, relative to the directory; the URIs are the output `outputFiles`.",
        ),
    ] = None
    namespace_files: Annotated[
        NamespaceFilesProperty | None, Field(title="Files of namespaces that are there before the first task")
    ] = None
    cache: Annotated[Cache | None, Field(title="Files that the next executions find again")] = None


class DirectoryFiles(_Files, DirectoryBlock):
    """Puts files into the directory, and keeps some at the end."""

    uses_files: ClassVar[bool] = True

    async def run(self, context: RunContext) -> None:
        """Bring what was kept, then files of namespaces, then input files; later ones replace earlier ones."""
        directory = context.working_directory
        context.define("workingDir", str(directory))
        if self.cache is not None:
            await restore_cache(context, ttl=self.cache.ttl)
        await mount_namespace_files(self.namespace_files, context, directory)
        if self.input_files is not None:
            await place_input_files(await _mapping(self.input_files, context), context)

    async def close(self, context: RunContext, *, failed: bool) -> dict[str, Any]:
        """Store the output files, then keep the cache; nothing is kept of tasks that failed."""
        outputs: dict[str, Any] = {}
        try:
            if self.output_files is not None:
                patterns = await texts(self.output_files, context)
                outputs["outputFiles"] = await store_output_files(patterns, context, own_files=())
            if self.cache is not None and not failed:
                await save_cache(
                    context, patterns=await texts(self.cache.patterns, context), ttl=self.cache.ttl
                )
        except (FlowtideError, OSError, tarfile.TarError) as error:
            text = error.message if isinstance(error, FlowtideError) else str(error)
            if failed:
                lines = context.logger
                lines.warn("{}: {}", _NOT_CLOSED, text)
            else:
                raise TaskFailed(f"{_NOT_CLOSED}: {text}", outputs=outputs) from error
        return outputs


class WorkingDirectory(_Files, DirectoryTask):
    """Runs its tasks one after the other on one worker, in a directory that they share."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "outputFiles": ("object", "The stored files by name"),
    }
    title: ClassVar[str] = "Run tasks in a directory that they share"
    example: ClassVar[str] = """\
id: working_directory
namespace: company.team
tasks:
  - id: dir
    type: io.kestra.plugin.core.flow.WorkingDirectory
    outputFiles:
      - "*.txt"
    tasks:
      - id: write
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner:
          type: io.kestra.plugin.core.runner.Process
        commands:
          - echo Hello > greeting.txt
      - id: read
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner:
          type: io.kestra.plugin.core.runner.Process
        commands:
          - cat greeting.txt
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.WorkingDirectory",)
    block: ClassVar[type[DirectoryBlock]] = DirectoryFiles


async def _mapping(value: Mapping[str, Any] | str, context: RunContext) -> Mapping[str, Any]:
    rendered = await context.evaluate(value, typed=isinstance(value, str))
    if isinstance(rendered, str):
        with contextlib.suppress(ValueError):
            rendered = json.loads(rendered)
    if not isinstance(rendered, Mapping):
        raise TaskFailed("property `inputFiles`: must give a mapping")
    return rendered
