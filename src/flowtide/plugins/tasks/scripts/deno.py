"""`scripts.deno.Commands` and `scripts.deno.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "denoland/deno"


class Commands(CommandsTask):
    """Run commands, such as `deno run main.ts`, in one shell."""

    title: ClassVar[str] = "Run Deno programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: deno_commands
namespace: company.team
tasks:
  - id: deno
    type: io.kestra.plugin.scripts.deno.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.ts: |
        console.log('Hello from a file');
    commands:
      - deno run main.ts
"""


class Script(InlineScript):
    """Run a Deno script that stands in the flow."""

    title: ClassVar[str] = "Run a Deno script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "deno run"
    file_name: ClassVar[str] = ".script.ts"
    example: ClassVar[str] = """\
id: deno_script
namespace: company.team
tasks:
  - id: deno
    type: io.kestra.plugin.scripts.deno.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      const answer: number = 6 * 7;
      console.log('::' + JSON.stringify({outputs: {answer}}) + '::');
"""
