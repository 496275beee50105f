"""`flowtide plugins list`: the types that flows can use here (CLI-22)."""

from __future__ import annotations

import json

import click

from flowtide.cli.options import Invocation, common_options


@click.group()
def plugins() -> None:
    """Show the types that flows can use."""


@plugins.command(name="list")
@click.option("--core", is_flag=True, help="Only the types that come with Flowtide.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@common_options
def list_(invocation: Invocation, core: bool, output: str) -> None:
    """Write every type of task, trigger, condition and task runner, with the package that it comes from."""
    from importlib.metadata import entry_points

    from flowtide.services.plugins import GROUPS, discover_plugins

    invocation.settings()  # puts the folder of plugins on the path
    discover_plugins()  # tells of two packages that offer the same type
    rows = [
        (
            kind,
            point.name,
            point.dist.name if point.dist is not None else "?",
            point.dist.version if point.dist else "",
        )
        for group, kind in GROUPS.items()
        for point in entry_points(group=group)
        if not core or (point.dist is not None and point.dist.name == "flowtide")
    ]
    if output == "json":
        names = ("kind", "type", "package", "version")
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in sorted(set(rows))], indent=2))
        return
    for kind, name, package, version in sorted(set(rows)):
        click.echo(f"{kind:<10} {name:<60} {package} {version}".rstrip())
