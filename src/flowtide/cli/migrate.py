"""`flowtide migrate ...`: what Kestra's upgrades need; data of Flowtide are as these leave them, so nothing is done."""

from __future__ import annotations

import click

from flowtide.cli.options import Invocation, common_options

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group()
def migrate() -> None:
    """Migrate data of earlier versions."""


@migrate.command("default-tenant")
@click.option(
    "--tenant-id", default="main", show_default=True, help="The tenant that takes over what has none."
)
@click.option("--tenant-name", help="Its name.")
@click.option("--excludes", multiple=True, help="Kinds that stay as they are.")
@_DRY_RUN
@common_options
def default_tenant(
    invocation: Invocation, tenant_id: str, tenant_name: str | None, excludes: tuple[str, ...], dry_run: bool
) -> None:
    """Give what belongs to no tenant to one (CLI-23)."""
    invocation.settings()  # unusable ones are told of, as by every command
    click.echo("0 things belong to no tenant: everything that Flowtide keeps has one from the beginning")


@migrate.group()
def metadata() -> None:
    """Index what is known of pairs, files and secrets (CLI-24)."""


def _nothing(what: str) -> str:
    return f"0 {what} to migrate: what is known of them stands on the log from the beginning"


@metadata.command()
@_DRY_RUN
@common_options
def kv(invocation: Invocation, dry_run: bool) -> None:
    """Pairs of the key-value store."""
    invocation.settings()
    click.echo(_nothing("pairs"))


@metadata.command()
@_DRY_RUN
@common_options
def nsfiles(invocation: Invocation, dry_run: bool) -> None:
    """Namespace files."""
    invocation.settings()
    click.echo(_nothing("namespace files"))


@metadata.command()
@_DRY_RUN
@common_options
def secrets(invocation: Invocation, dry_run: bool) -> None:
    """Secrets."""
    invocation.settings()
    click.echo(_nothing("secrets"))
