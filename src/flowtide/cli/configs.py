"""`flowtide configs properties`: the settings in force, secrets masked (CLI-11)."""

from __future__ import annotations

import click

from flowtide.cli.options import Invocation, common_options


@click.group()
def configs() -> None:
    """Show the settings in force."""


@configs.command()
@click.argument("beginning", default="")
@common_options
def properties(invocation: Invocation, beginning: str) -> None:
    """Write every setting with its value, or those whose key starts with BEGINNING; secrets are masked.

    Files, environment and defaults are read as a server would read them; what is wrong with them is told.
    """
    settings = invocation.settings()
    for file in settings.files:
        click.echo(f"# from {file}")
    for key, value in sorted(settings.properties().items()):
        if key.startswith(beginning) or key.removeprefix("flowtide.").startswith(beginning):
            click.echo(f"{key}={value}")
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
