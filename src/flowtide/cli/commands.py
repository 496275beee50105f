"""The table of all commands: arguments of the process in, an exit code out.

A command's module is imported when the command is called, so that `flowtide --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import click

from flowtide import __version__
from flowtide.cli.failures import failure_of

#: name -> where the command stands, and what the list of commands says about it.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "server": ("flowtide.cli.server:server", "Start services: all in one process, or one of them."),
    "run": ("flowtide.cli.run:run", "Run one flow in this process and show what it does."),
    "flow": ("flowtide.cli.flow:flow", "Check and try flows that stand in files."),
    "configs": ("flowtide.cli.configs:configs", "Show the settings in force."),
    "plugins": ("flowtide.cli.plugins:plugins", "Show the types that flows can use."),
    "secrets": ("flowtide.cli.secrets:secrets", "Write the file of secrets."),
    "backups": ("flowtide.cli.backups:backups", "Save and restore everything but executions."),
    "migrate": ("flowtide.cli.migrate:migrate", "Migrate data of earlier versions."),
    "sys": ("flowtide.cli.sys:sys_", "Maintain an installation."),
    "dead-letters": ("flowtide.cli.dead_letters:dead_letters", "Records that could not be handled."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.command(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "-V", "--version", prog_name="flowtide")
def flowtide() -> None:
    """Flowtide runs workflows that are written in YAML.

    `flowtide run FILE` runs one flow here and now; `flowtide server standalone` starts a server.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process; what a person got wrong becomes a sentence and the exit code 1."""
    try:
        code = flowtide.main(args=arguments, prog_name="flowtide", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone; Python would complain when it flushes
        sys.exit(141)
    except Exception as error:
        sentence = failure_of(error)
        if sentence is None:
            raise
        click.echo(f"flowtide: {sentence}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
