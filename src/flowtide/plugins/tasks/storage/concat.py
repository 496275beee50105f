"""`core.storage.Concat`: several files as one (F W.3, storage)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.storage.files import FileUri, rendered_uri

_EXTENSION: Final = re.compile(r"(\.[A-Za-z0-9_-]+)*")


class Concat(RunnableTask):
    """Write stored files one after the other into one."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    uses_files: ClassVar[bool] = True
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The file with all contents"),
    }
    title: ClassVar[str] = "Make one file of several"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Concat",)
    example: ClassVar[str] = """\
id: together
namespace: company.team
tasks:
  - id: files
    type: io.kestra.plugin.core.storage.LocalFiles
    inputs:
      first.txt: "one, "
      second.txt: "two"
    outputs: ["*.txt"]
  - id: concat
    type: io.kestra.plugin.core.storage.Concat
    files:
      - "{{ outputs.files.uris['first.txt'] }}"
      - "{{ outputs.files.uris['second.txt'] }}"
    extension: .txt
"""

    files: Annotated[
        str | Sequence[FileUri],
        Field(title="The files", description="A list of URIs, or an expression or JSON text that gives one."),
    ]
    separator: Annotated[str | None, Field(title="Written after each file but the last")] = None
    extension: Annotated[str, Field(title="What the name of the file ends with")] = ".tmp"

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri`."""
        separator = context.render(self.separator).encode() if self.separator is not None else b""
        extension = context.render(self.extension)
        if not _EXTENSION.fullmatch(extension):
            raise TaskFailed(f"`extension` must be like .txt, not {extension!r}")
        target = context.working_directory / f"concat{extension}"
        part = context.working_directory / "part"
        with target.open("wb") as written:
            for number, uri in enumerate(self._uris(context)):
                if number and separator:
                    written.write(separator)
                context.call(context.get_file(uri, part))
                _append(part, written)
        return {"uri": context.call(context.put_file(target))}

    def _uris(self, context: RunContext) -> list[str]:
        if not isinstance(self.files, str):
            return [context.call(rendered_uri(uri, context)) for uri in self.files]
        found = context.render_typed(self.files)
        if isinstance(found, str):
            try:
                found = json.loads(found)
            except ValueError:
                raise TaskFailed("`files` must be a list of URIs, or the JSON text of one") from None
        if not isinstance(found, list) or not all(isinstance(uri, str) for uri in found):
            raise TaskFailed("`files` must be a list of URIs")
        return found


def _append(part: Path, written: Any) -> None:
    with part.open("rb") as file:
        shutil.copyfileobj(file, written)
