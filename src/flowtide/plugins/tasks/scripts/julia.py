"""`scripts.julia.Commands` and `scripts.julia.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "julia"


class Commands(CommandsTask):
    """Run commands, such as `julia main.jl`, in one shell."""

    title: ClassVar[str] = "Run Julia programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: julia_commands
namespace: company.team
tasks:
  - id: julia
    type: io.kestra.plugin.scripts.julia.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.jl: |
        println("Hello from a file")
    commands:
      - julia main.jl
"""


class Script(InlineScript):
    """Run a Julia script that stands in the flow."""

    title: ClassVar[str] = "Run a Julia script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "julia"
    file_name: ClassVar[str] = ".script.jl"
    example: ClassVar[str] = """\
id: julia_script
namespace: company.team
tasks:
  - id: julia
    type: io.kestra.plugin.scripts.julia.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      println("::{\\"outputs\\":{\\"answer\\":$(6 * 7)}}::")
"""
