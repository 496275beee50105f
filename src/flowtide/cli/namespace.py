"""`flowtide namespace ...`: files and pairs of a namespace on a server (CLI-20, CLI-21)."""

from __future__ import annotations

from pathlib import Path

import click

from flowtide.cli.client import Client
from flowtide.cli.counts import counted
from flowtide.cli.pairs import TYPES
from flowtide.cli.server_options import api_options


@click.group()
def namespace() -> None:
    """Save files and pairs of a namespace."""


@namespace.group()
def files() -> None:
    """Files of a namespace."""


@files.command("update")
@click.option(
    "--delete/--no-delete", default=False, show_default=True,
    help="Remove files of the namespace below TARGET that SOURCE has not.",
)  # fmt: skip  # a table
@click.argument("name", metavar="NAMESPACE")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target", default="/")
@api_options
def update_files(client: Client, name: str, source: Path, target: str, delete: bool) -> None:
    """Copy the files of SOURCE, a folder or a file, to the folder TARGET of NAMESPACE, the root by default.

    Folders whose names begin with a dot, such as .git, are left out.
    """
    from flowtide.cli.bulk import each_of
    from flowtide.cli.namespace_files import delete_file, local_files, put_file, remote_files, remote_path

    sent = {remote_path(target, place): file for file, place in local_files(source)}
    for path in each_of(list(sent), f"copy to {name}"):
        put_file(client, name, path, sent[path])
        click.echo(f"{sent[path]} to {path}")
    if delete:
        for path in remote_files(client, name, remote_path(target, "")):
            if path not in sent:
                delete_file(client, name, path)
                click.echo(f"{path} is removed")
    click.echo(f"{counted(len(sent), 'file')} copied to {name}", err=True)


@namespace.group()
def kv() -> None:
    """Pairs of a namespace."""


@kv.command("update")
@click.option(
    "-e", "--expiration", help="How long the pair stays: 30m, 1d, 2h30m or P1D. Without it, it stays."
)
@click.option(
    "-t", "--type", "kind", type=click.Choice(TYPES, case_sensitive=False),
    help="Type of the value. Without it, the type that the value looks like.",
)  # fmt: skip  # a table
@click.option(
    "-f", "--file-value", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the value from this file.",
)  # fmt: skip  # a table
@click.argument("name", metavar="NAMESPACE")
@click.argument("key")
@click.argument("value", required=False)
@api_options
def update_pair(
    client: Client,
    name: str,
    key: str,
    value: str | None,
    expiration: str | None,
    kind: str | None,
    file_value: Path | None,
) -> None:
    """Set KEY in NAMESPACE to VALUE."""
    from flowtide.cli.pairs import body_of, put_pair, text_of

    put_pair(client, name, key, body_of(text_of(value, file_value), kind), expiration=expiration)
    click.echo(f"{key} of {name} is set")
