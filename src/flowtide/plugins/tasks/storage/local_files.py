"""`core.storage.LocalFiles` (deprecated since 0.17): files into and out of a working directory (pages 259, 261)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.file_patterns import any_pattern
from flowtide.model.task import RunContext, RunnableTask


class LocalFiles(RunnableTask):
    """Write files into the working directory, and store files from it; `inputFiles` and `outputFiles` replace it."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uris": ("object", "The stored files by name"),
    }
    title: ClassVar[str] = "Move files into and out of the working directory"
    deprecated: ClassVar[str] = "use `inputFiles` and `outputFiles` of WorkingDirectory or of the script"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.LocalFiles",)
    example: ClassVar[str] = """\
id: local_files
namespace: company.team
tasks:
  - id: together
    type: io.kestra.plugin.core.flow.WorkingDirectory
    tasks:
      - id: write
        type: io.kestra.plugin.core.storage.LocalFiles
        inputs:
          hello.txt: "Hello {{ execution.id }}"
      - id: store
        type: io.kestra.plugin.core.storage.LocalFiles
        outputs:
          - "*.txt"
"""

    inputs: Annotated[
        dict[str, str] | str | None,
        Field(title="Files to write", description="Name to content, or to the URI of a stored file."),
    ] = None
    outputs: Annotated[list[str] | None, Field(title="Files to store", description="Globs.")] = None

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uris`: the stored files by their path."""
        folder = context.working_directory
        for name, content in self._wanted(context).items():
            target = inside(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("kestra://"):
                context.call(context.get_file(content, target))
            else:
                target.write_text(content, encoding="utf-8")
        uris: dict[str, str] = {}
        if self.outputs:
            try:
                matches = any_pattern([context.render(pattern) for pattern in self.outputs])
            except ValueError as error:
                raise TaskFailed(f"`outputs`: {error}") from None
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if path.is_file() and not path.is_symlink() and matches(f"/{name}"):
                    uris[name] = context.call(context.put_file(path, name))
        return {"uris": uris}

    def _wanted(self, context: RunContext) -> dict[str, str]:
        wanted = context.render_typed(self.inputs) if isinstance(self.inputs, str) else self.inputs
        if wanted is None:
            return {}
        if not isinstance(wanted, dict):
            raise TaskFailed("`inputs` must be a mapping of names to contents")
        return {context.render(name): context.render(content) for name, content in wanted.items()}


def inside(folder: Path, name: str) -> Path:
    """The path of a name within a folder.  Raises TaskFailed for one that leaves it."""
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()) or target == folder.resolve():
        raise TaskFailed(f"`{name[:200]}` does not stay in the working directory")
    return target
