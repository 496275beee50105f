"""`scripts.go.Commands` and `scripts.go.Script` (C S02, S04)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.inline import InlineScript

_IMAGE = "golang"


class Commands(CommandsTask):
    """Run commands, such as `go run main.go`, in one shell."""

    title: ClassVar[str] = "Run Go programs by commands"
    default_image: ClassVar[str] = _IMAGE
    example: ClassVar[str] = """\
id: go_commands
namespace: company.team
tasks:
  - id: go
    type: io.kestra.plugin.scripts.go.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.go: |
        package main

        func main() {
            println("Hello from a file")
        }
    commands:
      - go run main.go
"""


class Script(InlineScript):
    """Run a Go script that stands in the flow."""

    title: ClassVar[str] = "Run a Go script"
    default_image: ClassVar[str] = _IMAGE
    program: ClassVar[str] = "go run"
    # A name that begins with a dot would not be a Go file.
    file_name: ClassVar[str] = "script.go"
    example: ClassVar[str] = """\
id: go_script
namespace: company.team
tasks:
  - id: go
    type: io.kestra.plugin.scripts.go.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      package main

      import "fmt"

      func main() {
          fmt.Printf("::{\\"outputs\\":{\\"answer\\":%d}}::\\n", 6*7)
      }
"""
