"""`scripts.node.Commands` and `scripts.node.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "node"


class Commands(CommandsTask):
    """Run commands, such as `node main.js`, in one shell."""

    title: ClassVar[str] = "Run Node.js programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: node_commands
namespace: company.team
tasks:
  - id: node
    type: io.kestra.plugin.scripts.node.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.js: |
        console.log('Hello from a file');
    commands:
      - node main.js
"""


class Script(InlineScript):
    """Run a Node.js script that stands in the flow."""

    title: ClassVar[str] = "Run a Node.js script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "node"
    file_name: ClassVar[str] = ".script.js"
    example: ClassVar[str] = """\
id: node_script
namespace: company.team
tasks:
  - id: node
    type: io.kestra.plugin.scripts.node.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      console.log('::' + JSON.stringify({outputs: {answer: 6 * 7}}) + '::');
"""
