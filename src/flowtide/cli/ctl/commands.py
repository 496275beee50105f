"""The table of all commands of `flowtidectl`: arguments of the process in, an exit code out."""

from __future__ import annotations

from collections.abc import Sequence

import click

from flowtide import __version__
from flowtide.cli.ctl.options import Given, global_options
from flowtide.cli.lazy import LazyGroup, Table
from flowtide.cli.program import run_program

COMMANDS: Table = {
    "config": ("flowtide.cli.ctl.contexts:config", "Keep addresses and logins of servers."),
    "flows": ("flowtide.cli.ctl.flows:flows", "List, get, deploy and check flows."),
    "executions": ("flowtide.cli.ctl.executions:executions", "Run flows, and see what became of it."),
    "namespaces": ("flowtide.cli.ctl.namespaces:namespaces", "List namespaces."),
    "nsfiles": ("flowtide.cli.ctl.nsfiles:nsfiles", "Files of a namespace."),
    "kv": ("flowtide.cli.ctl.kv:kv", "Pairs of a namespace."),
    "completion": ("flowtide.cli.completion:completion", "Have the shell complete commands."),
}
_ALIASES = {"flow": "flows", "execution": "executions", "namespace": "namespaces", "ns": "namespaces"}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    aliases=_ALIASES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", prog_name="flowtidectl")
@global_options
@click.pass_context
def flowtidectl(context: click.Context, given: Given) -> None:
    """flowtidectl works with flows, executions, namespaces, their files and pairs, by the API of a server.

    \b
    Which server, in this order: options, before or behind the command; the variables FLOWTIDECTL_HOST, _TENANT,
    _TOKEN, _USERNAME, _PASSWORD, _OUTPUT and _CONTEXT (or KESTRACTL_...); the file ~/.flowtidectl/config.yaml, or
    ~/.kestractl/config.yaml where there is none; http://localhost:8080 and the tenant main.

    \b
    Exit codes: 0 all went well; 1 it cannot be done, or a part of it, with a sentence on standard error; 2 the
    command line is wrong; 130 it was interrupted. `executions run --wait` tells the end of the execution: 0 SUCCESS
    or WARNING, 1 FAILED, 3 KILLED or CANCELLED, 4 it had not ended after --timeout.
    """
    context.obj = given


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    run_program(flowtidectl, "flowtidectl", arguments)
