"""The `Commands` task that every language has: a list of commands, run one after the other in one shell (S11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from flowtide.model.task import RunContext
from flowtide.plugins.tasks.scripts.script import Preparation, ScriptTask


class CommandsTask(ScriptTask):
    """Run commands; a language adds its image, title and example."""

    commands: Annotated[
        list[str] | str, Field(min_length=1, title="The commands", description="Templates, one command each.")
    ]

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """The commands, rendered."""
        return await self._lines(self.commands, context)
