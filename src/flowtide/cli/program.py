"""How a program of ours ends: arguments of the process in, its exit code and what a person is told out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from flowtide.cli.failures import failure_of


def run_program(program: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process; what a person got wrong becomes a sentence and the exit code 1."""
    try:
        code = program.main(args=arguments, prog_name=name, standalone_mode=False)
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
        click.echo(f"{name}: {sentence}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
