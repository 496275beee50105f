"""`scripts.lua.Commands` and `scripts.lua.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "nickblah/lua"


class Commands(CommandsTask):
    """Run commands, such as `lua main.lua`, in one shell."""

    title: ClassVar[str] = "Run Lua programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: lua_commands
namespace: company.team
tasks:
  - id: lua
    type: io.kestra.plugin.scripts.lua.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.lua: |
        print('Hello from a file')
    commands:
      - lua main.lua
"""


class Script(InlineScript):
    """Run a Lua script that stands in the flow."""

    title: ClassVar[str] = "Run a Lua script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "lua"
    file_name: ClassVar[str] = ".script.lua"
    example: ClassVar[str] = """\
id: lua_script
namespace: company.team
tasks:
  - id: lua
    type: io.kestra.plugin.scripts.lua.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      print(string.format('::{"outputs":{"answer":%d}}::', 6 * 7))
"""
