"""`scripts.powershell.Commands` and `scripts.powershell.Script` (C S02, S04)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript
from flowtide.plugins.tasks.scripts.script import ScriptTask

_IMAGE = "mcr.microsoft.com/powershell"


class PowerShellTask(ScriptTask):
    """What both PowerShell tasks share: the interpreter."""

    interpreter: Annotated[
        list[str],
        Field(
            default_factory=lambda: ["pwsh", "-NoProfile", "-NonInteractive", "-Command"],
            min_length=1,
            title="The interpreter",
            description="What gets the commands as its last argument.",
        ),
    ]


class Commands(PowerShellTask, CommandsTask):
    """Run commands, such as `./main.ps1`, in one shell."""

    title: ClassVar[str] = "Run PowerShell programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: powershell_commands
namespace: company.team
tasks:
  - id: powershell
    type: io.kestra.plugin.scripts.powershell.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.ps1: |
        Write-Output 'Hello from a file'
    commands:
      - ./main.ps1
"""


class Script(PowerShellTask, InlineScript):
    """Run a PowerShell script that stands in the flow."""

    title: ClassVar[str] = "Run a PowerShell script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "&"
    file_name: ClassVar[str] = ".script.ps1"
    example: ClassVar[str] = """\
id: powershell_script
namespace: company.team
tasks:
  - id: powershell
    type: io.kestra.plugin.scripts.powershell.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      '::' + (@{outputs = @{answer = 6 * 7}} | ConvertTo-Json -Compress) + '::'
"""

    def quoted(self, path: str) -> str:
        """A path as one word of PowerShell."""
        doubled = path.replace("'", "''")
        return f"'{doubled}'"
