"""The page of all commands: the commands in, docs/reference/cli.md out (`make docs`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from flowtide.cli.commands import flowtide

_OPENING = """\
# The command line

`flowtide` and `python -m flowtide` are the same. This page is made from the commands themselves (`make docs`).

Exit codes: 0 all went well; 1 it cannot be done, with a sentence on standard error that says why; 2 the command line
itself is wrong; 130 it was interrupted. `flowtide run` tells the end of the flow by its code: 0 SUCCESS or WARNING,
1 FAILED, 2 the flow or its inputs are not valid, 3 KILLED or CANCELLED.

A server ends in order on SIGTERM and SIGINT (Ctrl-C): it takes no more work, and waits for what runs as long as
`server.termination-grace-period` says. A second Ctrl-C ends it at once; what it ran is then run again by another
worker, or by itself when it starts next.
"""


def page() -> str:
    """The page in Markdown."""
    names = flowtide.context_settings["help_option_names"]
    context = click.Context(
        flowtide, info_name="flowtide", max_content_width=100, terminal_width=100, help_option_names=names
    )
    parts = [_OPENING]
    for path, command, inner in _commands(flowtide, context):
        parts.append(f"## `{path}`\n\n```text\n{command.get_help(inner)}\n```\n")
    return "\n".join(parts)


def _commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            below = click.Context(
                inner, info_name=name, parent=context, max_content_width=100, terminal_width=100
            )
            yield from _commands(inner, below)


def main(arguments: Sequence[str]) -> None:
    """Write the page to the file that is named."""
    Path(arguments[0]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
