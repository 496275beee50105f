"""The `Script` task that every language has: the rendered text becomes a file, and a program runs it (S10, S04)."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.task import RunContext
from flowtide.plugins.tasks.scripts.files import localized
from flowtide.plugins.tasks.scripts.script import Preparation, ScriptTask


class InlineScript(ScriptTask):
    """Run a text that stands in the flow; a language adds what runs it, its image, title and example."""

    program: ClassVar[str]  # how the interpreter is told to run the file, whose path follows
    file_name: ClassVar[str]  # its ending tells some programs what it is

    script: Annotated[str, Field(title="The script", description="A template.")]

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """Write the rendered script to a file; gives the command that runs it."""
        text = str(await context.evaluate(self.script, typed=False))
        text = await localized(text, context, preparation.own_files)
        path = context.working_directory / self.file_name
        await asyncio.to_thread(path.write_text, self.source(text), encoding="utf-8", errors="replace")
        preparation.own_files.add(path)
        return [f"{self.program} {self.quoted(str(path))}"]

    def source(self, text: str) -> str:
        """What is written for a rendered script."""
        return text

    def quoted(self, path: str) -> str:
        """A path as one word of the interpreter."""
        return shlex.quote(path)
