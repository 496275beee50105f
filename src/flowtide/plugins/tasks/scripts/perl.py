"""`scripts.perl.Commands` and `scripts.perl.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "perl"


class Commands(CommandsTask):
    """Run commands, such as `perl main.pl`, in one shell."""

    title: ClassVar[str] = "Run Perl programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: perl_commands
namespace: company.team
tasks:
  - id: perl
    type: io.kestra.plugin.scripts.perl.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.pl: |
        print "Hello from a file\\n";
    commands:
      - perl main.pl
"""


class Script(InlineScript):
    """Run a Perl script that stands in the flow."""

    title: ClassVar[str] = "Run a Perl script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "perl"
    file_name: ClassVar[str] = ".script.pl"
    example: ClassVar[str] = """\
id: perl_script
namespace: company.team
tasks:
  - id: perl
    type: io.kestra.plugin.scripts.perl.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      printf "::{\\"outputs\\":{\\"answer\\":%d}}::\\n", 6 * 7;
"""
