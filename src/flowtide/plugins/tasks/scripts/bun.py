"""`scripts.bun.Commands` and `scripts.bun.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "oven/bun"


class Commands(CommandsTask):
    """Run commands, such as `bun run index.ts`, in one shell."""

    title: ClassVar[str] = "Run Bun programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: bun_commands
namespace: company.team
tasks:
  - id: bun
    type: io.kestra.plugin.scripts.bun.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      index.ts: |
        console.log('Hello from a file');
    commands:
      - bun run index.ts
"""


class Script(InlineScript):
    """Run a Bun script that stands in the flow."""

    title: ClassVar[str] = "Run a Bun script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "bun run"
    file_name: ClassVar[str] = ".script.ts"
    example: ClassVar[str] = """\
id: bun_script
namespace: company.team
tasks:
  - id: bun
    type: io.kestra.plugin.scripts.bun.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      const answer: number = 6 * 7;
      console.log('::' + JSON.stringify({outputs: {answer}}) + '::');
"""
