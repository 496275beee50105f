"""The table of all commands: arguments of the process in, an exit code out.

A command's module is imported when the command is called, so that `flowtide --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from flowtide import __version__
from flowtide.cli.lazy import LazyGroup, Table
from flowtide.cli.program import run_program

COMMANDS: Table = {
    "server": ("flowtide.cli.server:server", "Start services: all in one process, or one of them."),
    "run": ("flowtide.cli.run:run", "Run one flow in this process and show what it does."),
    "flow": ("flowtide.cli.flow:flow", "Check, try and save flows."),
    "template": ("flowtide.cli.template:template", "Check and save templates."),
    "namespace": ("flowtide.cli.namespace:namespace", "Save files and pairs of a namespace."),
    "configs": ("flowtide.cli.configs:configs", "Show the settings in force."),
    "plugins": ("flowtide.cli.plugins:plugins", "Show the types that flows can use."),
    "secrets": ("flowtide.cli.secrets:secrets", "Write the file of secrets."),
    "backups": ("flowtide.cli.backups:backups", "Save and restore everything but executions."),
    "migrate": ("flowtide.cli.migrate:migrate", "Migrate data of earlier versions."),
    "auths": ("flowtide.cli.auths:auths", "Make and change users."),
    "tenants": ("flowtide.cli.tenants:tenants", "Make tenants."),
    "sys": ("flowtide.cli.sys:sys_", "Maintain an installation."),
    "sys-ee": ("flowtide.cli.sys_ee:sys_ee", "Maintain an installation on Kafka."),
    "dead-letters": ("flowtide.cli.dead_letters:dead_letters", "Records that could not be handled."),
    "completion": ("flowtide.cli.completion:completion", "Have the shell complete commands."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", prog_name="flowtide")
def flowtide() -> None:
    """Flowtide runs workflows that are written in YAML.

    `flowtide run FILE` runs one flow here and now; `flowtide server standalone` starts a server.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    run_program(flowtide, "flowtide", arguments)
