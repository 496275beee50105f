"""`flowtidectl`: the command line of the API, compatible with kestractl (CTL-1); the table is `ctl.commands`."""

from __future__ import annotations


def main() -> None:
    """Run the command that the process was started with, and end the process with its exit code."""
    from flowtide.cli.ctl.commands import main as run  # a test that imports a module of ours needs no click

    run()
