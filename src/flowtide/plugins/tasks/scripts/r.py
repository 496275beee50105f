"""`scripts.r.Commands` and `scripts.r.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "r-base"


class Commands(CommandsTask):
    """Run commands, such as `Rscript main.R`, in one shell."""

    title: ClassVar[str] = "Run R programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: r_commands
namespace: company.team
tasks:
  - id: r
    type: io.kestra.plugin.scripts.r.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.R: |
        print('Hello from a file')
    commands:
      - Rscript main.R
"""


class Script(InlineScript):
    """Run an R script that stands in the flow."""

    title: ClassVar[str] = "Run an R script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "Rscript"
    file_name: ClassVar[str] = ".script.R"
    example: ClassVar[str] = """\
id: r_script
namespace: company.team
tasks:
  - id: r
    type: io.kestra.plugin.scripts.r.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      cat('::{"outputs":{"answer":42}}::\\n')
"""
