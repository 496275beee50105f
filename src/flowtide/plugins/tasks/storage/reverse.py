"""`core.storage.Reverse`: the lines of a file, the last one first (RUN-21)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.storage.files import FileUri, rendered_uri

_BLOCK_BYTES = 1024 * 1024


class Reverse(RunnableTask):
    """Write the lines of a stored file in reverse order; memory does not grow with the file."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The file with the lines in reverse order"),
    }
    title: ClassVar[str] = "Reverse the lines of a file"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.Reverse",)
    example: ClassVar[str] = """\
id: newest_first
namespace: company.team
inputs:
  - id: journal
    type: FILE
tasks:
  - id: reverse
    type: io.kestra.plugin.core.storage.Reverse
    from: "{{ inputs.journal }}"
"""

    from_: Annotated[FileUri, Field(alias="from")]
    separator: Annotated[str, Field(title="What stands between two lines")] = "\n"
    charset: Annotated[str, Field(title="The encoding of the separator in the file")] = "UTF-8"

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri`."""
        separator = context.render(self.separator)
        charset = context.render(self.charset)
        try:
            mark = separator.encode(codecs.lookup(charset).name)
        except (LookupError, UnicodeEncodeError):
            raise TaskFailed(f"`charset`: {charset!r} is no encoding that can write the separator") from None
        if not mark:
            raise TaskFailed("`separator` must not be empty")
        folder = context.working_directory
        source, target = folder / "lines", folder / "reversed"
        context.call(context.get_file(context.call(rendered_uri(self.from_, context)), source))
        with source.open("rb") as file, target.open("wb") as output:
            for line in lines_backwards(file, mark):
                output.write(line + mark)
        return {"uri": context.call(context.put_file(target, f"reversed{_suffix(self.from_, context)}"))}


def _suffix(template: str, context: RunContext) -> str:
    return Path(context.render(template)).suffix or ".txt"


def lines_backwards(file: BinaryIO, mark: bytes) -> Iterator[bytes]:
    """The lines of a file from the last one on, without their mark; a mark at the very end begins no line."""
    position = file.seek(0, 2)
    rest = b""
    at_end = True
    while position > 0:
        size = min(_BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        parts = (file.read(size) + rest).split(mark)
        rest = parts[0]
        following = parts[:0:-1]
        if at_end and following:
            at_end = False
            if not following[0]:
                following = following[1:]
        yield from following
    if rest or not at_end:
        yield rest
