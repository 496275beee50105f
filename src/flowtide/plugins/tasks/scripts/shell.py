"""`scripts.shell.Commands` and `scripts.shell.Script`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.task import RunContext
from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.script import Preparation, ScriptTask


class Commands(CommandsTask):
    """Run shell commands, one after the other in one shell."""

    title: ClassVar[str] = "Run shell commands"
    example: ClassVar[str] = """\
id: shell_commands
namespace: company.team
tasks:
  - id: shell
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    commands:
      - echo '::{"outputs":{"answer":42}}::'
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.shell.vars.answer }}"
"""


class Script(ScriptTask):
    """Run a shell script that stands in the flow."""

    title: ClassVar[str] = "Run a shell script"
    example: ClassVar[str] = """\
id: shell_script
namespace: company.team
tasks:
  - id: shell
    type: io.kestra.plugin.scripts.shell.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    outputFiles:
      - out.txt
    script: |
      echo "Hello from {{ flow.id }}" > out.txt
"""

    script: Annotated[str, Field(title="The script", description="A template.")]

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """The script, rendered."""
        return [str(await context.evaluate(self.script, typed=False))]
