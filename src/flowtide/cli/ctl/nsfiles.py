"""`flowtidectl nsfiles ...`: files of a namespace, listed, read, copied to it and removed (CTL-4, page 062)."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from flowtide.cli.ctl.options import Session, with_session
from flowtide.cli.lazy import LazyGroup

_COLUMNS = {"PATH": "path", "TYPE": "type", "SIZE": "size", "CHANGED": "changed"}


@click.group(
    cls=LazyGroup,
    table={
        "list": ("flowtide.cli.ctl.nsfiles:list_", "List files and folders."),
        "get": ("flowtide.cli.ctl.nsfiles:get", "Write the content of a file."),
        "upload": ("flowtide.cli.ctl.nsfiles:upload", "Copy a file or a folder to the namespace."),
        "delete": ("flowtide.cli.ctl.nsfiles:delete", "Remove a file or a folder."),
    },
    aliases={"ls": "list", "cat": "get", "rm": "delete"},
)
def nsfiles() -> None:
    """Files of a namespace."""


@click.command()
@click.option("--path", default="/", show_default=True, help="The folder.")
@click.option("--recursive", is_flag=True, help="Also what stands in the folders below it.")
@click.argument("namespace")
@with_session
def list_(session: Session, namespace: str, path: str, recursive: bool) -> None:
    """List the files and folders of NAMESPACE."""
    from flowtide.cli.namespace_files import remote_path

    rows: list[dict[str, Any]] = []
    folders = [remote_path(path, "")]
    while folders:
        folder = folders.pop(0)
        client = session.client
        query = {"path": folder}
        for each in client.get(client.path("namespaces", namespace, "files", "directory"), query):
            place = remote_path(folder, each["fileName"])
            changed = datetime.fromtimestamp(each["lastModifiedTime"] / 1_000, UTC)
            rows.append({**each, "path": place, "changed": changed.isoformat(timespec="seconds")})
            if recursive and each["type"] == "Directory":
                folders.append(place)
    rows.sort(key=lambda each: str(each["path"]))
    session.write(rows, _COLUMNS, nothing="there are no files")


@click.command()
@click.option("--path", "named", help="The file; the same as PATH.")
@click.option("--revision", type=click.IntRange(1), help="An older revision.")
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file."
)
@click.argument("namespace")
@click.argument("path", required=False)
@with_session
def get(
    session: Session,
    namespace: str,
    path: str | None,
    named: str | None,
    revision: int | None,
    target: Path | None,
) -> None:
    """Write the content of the file at PATH in NAMESPACE to the standard output, byte for byte."""
    client = session.client
    query = {"path": _path(path, named), "revision": revision}
    address = client.path("namespaces", namespace, "files")
    if target is None:
        client.download("GET", address, sys.stdout.buffer, query=query)
        sys.stdout.buffer.flush()
        return
    with target.open("wb") as file:
        client.download("GET", address, file, query=query)


@click.command()
@click.option("--path", "named", help="The folder in the namespace; the same as TARGET.")
@click.option("--override", is_flag=True, help="Write over files that are there.")
@click.option("--fail-fast", is_flag=True, help="End with the first file that cannot be copied.")
@click.option(
    "--no-root", is_flag=True, hidden=True, help="Leave out the name of the folder itself: always so."
)
@click.argument("namespace")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("target", required=False)
@with_session
def upload(
    session: Session,
    namespace: str,
    source: Path,
    target: str | None,
    named: str | None,
    override: bool,
    fail_fast: bool,
    no_root: bool,
) -> int:
    """Copy SOURCE, a file or what a folder has, to the folder TARGET of NAMESPACE, the root by default.

    A file goes to TARGET itself when that ends as the file does. Exit codes: 0 all are copied, 1 at least one is
    not; files that are there need --override.
    """
    from flowtide.cli.bulk import attempt
    from flowtide.cli.client import ServerRefused
    from flowtide.cli.namespace_files import local_files, put_file, remote_files, remote_path

    folder = named or target or "/"
    files = {remote_path(folder, place): file for file, place in local_files(source)}
    if source.is_file() and Path(folder).suffix and Path(folder).suffix == source.suffix:
        files = {remote_path(folder, ""): source}
    there = set() if override else set(remote_files(session.client, namespace))
    rows: list[dict[str, str]] = []

    def put(path: str) -> None:
        if path in there:
            raise ServerRefused("it is there already; give --override to write over it", status=409)
        put_file(session.client, namespace, path, files[path])
        rows.append({"path": path, "file": str(files[path])})

    failed = attempt(list(files), f"copy to {namespace}", put, name=str, fail_fast=fail_fast)
    session.write(rows, {"PATH": "path", "FILE": "file"}, nothing="nothing was copied")
    return 1 if failed else 0


@click.command()
@click.option("--path", "named", help="The file or folder; the same as PATH.")
@click.option("--recursive", is_flag=True, help="Remove a folder with all that it has.")
@click.option("--force", is_flag=True, help="It is no error when there is nothing.")
@click.argument("namespace")
@click.argument("path", required=False)
@with_session
def delete(
    session: Session, namespace: str, path: str | None, named: str | None, recursive: bool, force: bool
) -> None:
    """Remove the file at PATH in NAMESPACE, or the folder with --recursive."""
    from flowtide.cli.client import ServerRefused
    from flowtide.cli.namespace_files import delete_file

    client, place = session.client, _path(path, named)
    try:
        about = client.get(client.path("namespaces", namespace, "files", "stats"), {"path": place})
        if about["type"] == "Directory" and not recursive:
            raise click.ClickException(
                f"{place} is a folder; give --recursive to remove it with all that it has"
            )
        delete_file(client, namespace, place)
    except ServerRefused as error:
        if error.status != 404 or not force:
            raise
        click.echo(f"{place} is not there", err=True)
        return
    click.echo(f"{place} is removed")


def _path(path: str | None, named: str | None) -> str:
    from flowtide.cli.namespace_files import remote_path

    chosen = remote_path(path or named or "", "")
    if chosen == "/":
        raise click.UsageError("name the file with --path")
    return chosen
