"""`scripts.groovy.Commands` and `scripts.groovy.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "groovy"


class Commands(CommandsTask):
    """Run commands, such as `groovy main.groovy`, in one shell."""

    title: ClassVar[str] = "Run Groovy programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: groovy_commands
namespace: company.team
tasks:
  - id: groovy
    type: io.kestra.plugin.scripts.groovy.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.groovy: |
        println 'Hello from a file'
    commands:
      - groovy main.groovy
"""


class Script(InlineScript):
    """Run a Groovy script that stands in the flow."""

    title: ClassVar[str] = "Run a Groovy script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "groovy"
    # The class that Groovy makes of it is named after the file.
    file_name: ClassVar[str] = "script.groovy"
    example: ClassVar[str] = """\
id: groovy_script
namespace: company.team
tasks:
  - id: groovy
    type: io.kestra.plugin.scripts.groovy.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      println '::{"outputs":{"answer":' + 6 * 7 + '}}::'
"""
