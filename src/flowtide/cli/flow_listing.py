"""Flows of a server: listed, and exported to a ZIP archive (CLI-15, CLI-19)."""

from __future__ import annotations

from pathlib import Path

import click

from flowtide.cli.client import Client
from flowtide.cli.server_options import api_options
from flowtide.cli.tables import output_option, write

COLUMNS = {
    "NAMESPACE": "namespace",
    "ID": "id",
    "REVISION": "revision",
    "DISABLED": "disabled",
    "DESCRIPTION": "description",
}


def within(namespace: str | None) -> dict[str, str]:
    """The filter for a namespace and those below it; no filter for none."""
    return {} if namespace is None else {"filters[namespace][PREFIX]": namespace}


@click.command(name="list")
@click.option("--namespace", help="Only the flows of this namespace and those below it.")
@output_option
@api_options
def list_(client: Client, namespace: str | None, output: str) -> None:
    """List the flows of a server."""
    found = client.pages(client.path("flows", "search"), {**within(namespace), "sort": "id:asc"})
    rows = sorted(found, key=lambda each: (each["namespace"], each["id"]))
    write(rows, COLUMNS, output, nothing="there are no flows")


@click.command()
@click.option("--namespace", help="Only the flows of this namespace and those below it.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@api_options
def export(client: Client, folder: Path, namespace: str | None) -> None:
    """Write the flows of a server to flows.zip in FOLDER, the current one by default."""
    download_archive(client, "flows", folder, namespace)


def download_archive(client: Client, what: str, folder: Path, namespace: str | None) -> None:
    """Write the archive of `flows` or `templates` to a folder, which is made.  Raises ServerRefused, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{what}.zip"
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            client.download("GET", client.path(what, "export", "by-query"), file, query=within(namespace))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    click.echo(f"{what} are in {path}")
