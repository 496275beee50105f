"""The page of all commands: the commands in, docs/reference/cli.md out (`make docs`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from flowtide.cli.commands import flowtide
from flowtide.cli.ctl.commands import flowtidectl

_OPENING = """\
# The command line

`flowtide` runs servers and administers installations, and saves flows and files on servers; `python -m flowtide` is
the same. [`flowtidectl`](#flowtidectl) works with a server by its API, and keeps addresses and logins of several
ones. What Kestra spells `kestra` and `kestractl` is spelled `flowtide` and `flowtidectl` here, with the same verbs
and options. This page is made from the commands themselves (`make docs`).

Exit codes: 0 all went well; 1 it cannot be done, with a sentence on standard error that says why; 2 the command line
itself is wrong; 130 it was interrupted. `flowtide run` tells the end of the flow by its code: 0 SUCCESS or WARNING, 1
FAILED, 2 the flow or its inputs are not valid, 3 KILLED or CANCELLED. `flowtidectl executions run --wait` does too,
and ends with 4 when the execution had not ended in time. Commands that do many things go on after a failure, tell of
each one, and end with 1.

Commands that talk to a server take its address and login from `--server`, `--user` or `--api-token` and `--tenant`,
or from the variables `FLOWTIDECTL_HOST`, `FLOWTIDECTL_USERNAME` and `FLOWTIDECTL_PASSWORD`, or `FLOWTIDECTL_TOKEN`,
and `FLOWTIDECTL_TENANT`; the same names with `KESTRACTL_` are read, too. A variable keeps a token out of the list of
processes. They end with an error rather than follow a redirect, which could take the login to another server.

What is listed is written as a table as wide as the terminal, in plain columns without a limit when it goes to a pipe,
or as JSON with `--output json`. Bars are drawn on standard error, and only when that is a terminal.

`flowtide completion bash` (or `zsh`, `fish`) writes a script by which the shell completes commands and options; its
help says where to put it. `flowtidectl completion` does the same for `flowtidectl`.

A server ends in order on SIGTERM and SIGINT (Ctrl-C): it takes no more work, and waits for what runs as long as
`server.termination-grace-period` says. A second Ctrl-C ends it at once; what it ran is then run again by another
worker, or by itself when it starts next.
"""


def page() -> str:
    """The page in Markdown."""
    parts = [_OPENING]
    for program, name in ((flowtide, "flowtide"), (flowtidectl, "flowtidectl")):
        context = click.Context(
            program,
            info_name=name,
            max_content_width=100,
            terminal_width=100,
            help_option_names=program.context_settings["help_option_names"],
        )
        for path, command, inner in _commands(program, context):
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
