"""The command line, a module a command group; the table of all commands is `flowtide.cli.commands`."""

from __future__ import annotations


def main() -> None:
    """Run the command that the process was started with, and end the process with its exit code."""
    from flowtide.cli.commands import main as run  # a test that imports a module of ours needs no click

    run()
