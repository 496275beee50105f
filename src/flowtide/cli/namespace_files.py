"""Files of a folder and files of a namespace on a server: both in, what is sent and removed out (CLI-20, CTL-4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import click

from flowtide.cli.client import Client, Form


def local_files(path: Path) -> Iterator[tuple[Path, str]]:
    """Files with their place below the folder; one file is itself.  Hidden folders such as .git are left out.

    A link to a file counts as the file, one to a folder is left out: it could lead anywhere.
    """
    if path.is_file():
        yield path, path.name
        return
    for found in sorted(path.rglob("*")):
        relative = found.relative_to(path)
        if found.is_file() and not any(part.startswith(".") for part in relative.parts[:-1]):
            yield found, relative.as_posix()


def remote_path(folder: str, name: str) -> str:
    """The place of a file in the namespace, from a folder as people write it: `/`, `.`, `scripts` or `/scripts/`."""
    parts = [part for part in PurePosixPath(folder).parts if part not in ("/", ".")]
    if ".." in parts:
        raise click.UsageError(f"`{folder}` leaves the namespace; write a folder without `..`")
    return "/" + "/".join([*parts, name]) if name else "/" + "/".join(parts)


def remote_files(client: Client, namespace: str, folder: str = "/") -> list[str]:
    """The paths of all files of a namespace at and below a folder.  Raises ServerRefused."""
    below = folder.rstrip("/") + "/"
    found: list[str] = client.get(client.path("namespaces", namespace, "files", "search"), {"q": ""})
    return [path for path in found if path.startswith(below)]


def put_file(client: Client, namespace: str, path: str, file: Path) -> None:
    """Write a file of the namespace.  Raises ServerRefused, OSError."""
    form = Form()
    form.file("fileContent", file)
    client.send("POST", client.path("namespaces", namespace, "files"), query={"path": path}, body=form)


def delete_file(client: Client, namespace: str, path: str) -> None:
    """Remove a file or folder of the namespace.  Raises ServerRefused, 404 when there is none."""
    client.send("DELETE", client.path("namespaces", namespace, "files"), query={"path": path})
