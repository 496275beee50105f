"""`scripts.ruby.Commands` and `scripts.ruby.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "ruby"


class Commands(CommandsTask):
    """Run commands, such as `ruby main.rb`, in one shell."""

    title: ClassVar[str] = "Run Ruby programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: ruby_commands
namespace: company.team
tasks:
  - id: ruby
    type: io.kestra.plugin.scripts.ruby.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.rb: |
        puts 'Hello from a file'
    commands:
      - ruby main.rb
"""


class Script(InlineScript):
    """Run a Ruby script that stands in the flow."""

    title: ClassVar[str] = "Run a Ruby script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "ruby"
    file_name: ClassVar[str] = ".script.rb"
    example: ClassVar[str] = """\
id: ruby_script
namespace: company.team
tasks:
  - id: ruby
    type: io.kestra.plugin.scripts.ruby.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      require 'json'
      puts '::' + JSON.generate({outputs: {answer: 6 * 7}}) + '::'
"""
