"""Flows in files, saved on a server, and flows of a server, deleted (CLI-16 to CLI-18)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flowtide.cli.client import YAML, Client
from flowtide.cli.server_options import api_options

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, path_type=Path)
_NAMESPACE_LINE = re.compile(r"^namespace[ \t]*:.*$", re.MULTILINE)


@click.command()
@click.argument("file", type=_FILE)
@api_options
def create(client: Client, file: Path) -> None:
    """Save the flow in FILE; one that is there already is refused."""
    from flowtide.cli.flow_folder import source_of

    body = source_of(file).encode()
    tell(client.send("POST", client.path("flows"), body=body, content_type=YAML))


@click.command()
@click.argument("file", type=_FILE)
@click.argument("namespace")
@click.argument("flow_id", metavar="ID")
@api_options
def update(client: Client, file: Path, namespace: str, flow_id: str) -> None:
    """Save the flow in FILE as the next revision of the flow ID in NAMESPACE, which must be there."""
    from flowtide.cli.flow_folder import source_of

    body = source_of(file).encode()
    tell(client.send("PUT", client.path("flows", namespace, flow_id), body=body, content_type=YAML))


@click.command()
@click.argument("namespace")
@click.argument("flow_id", metavar="ID")
@api_options
def delete(client: Client, namespace: str, flow_id: str) -> None:
    """Delete the flow ID in NAMESPACE; its executions stay."""
    client.send("DELETE", client.path("flows", namespace, flow_id))
    click.echo(f"{namespace}.{flow_id} is deleted")


@click.command()
@click.option(
    "--delete", is_flag=True,
    help="Delete flows that are not in FOLDER: those of --namespace, or of the namespaces that FOLDER has flows of.",
)  # fmt: skip  # a table
@click.option("--namespace", help="All flows must be of this namespace.")
@click.argument("folder", type=_FOLDER)
@api_options
def updates(client: Client, folder: Path, delete: bool, namespace: str | None) -> None:
    """Save all flows of FOLDER and the folders below it, new ones and others.

    All are checked before the first one is saved.
    """
    query = {"delete": delete and namespace is not None, "namespace": namespace}
    body = joined(_sources(folder))
    saved = client.send("POST", client.path("flows", "bulk"), query=query, body=body, content_type=YAML)
    for each in saved:
        tell(each)
    if delete and namespace is None:
        _delete_others(client, saved)


@click.group()
def namespace() -> None:
    """All flows of a namespace at once."""


@namespace.command("update")
@click.option(
    "--delete/--no-delete", default=True, show_default=True,
    help="Delete flows of the namespace that are not there.",
)  # fmt: skip  # a table
@click.option("--override-namespaces", is_flag=True, help="Save flows of other namespaces in this one.")
@click.argument("name", metavar="NAMESPACE")
@click.argument("folder", type=_FOLDER)
@api_options
def update_namespace(
    client: Client, name: str, folder: Path, delete: bool, override_namespaces: bool
) -> None:
    """Save the flows of FOLDER in NAMESPACE, to which all of them belong.

    Flows of the namespace that FOLDER has not are deleted, unless --no-delete says otherwise.
    """
    sources = _sources(folder)
    if override_namespaces:
        sources = [in_namespace(each, name) for each in sources]
    path = client.path("flows", name)
    saved = client.send("POST", path, query={"delete": delete}, body=joined(sources), content_type=YAML)
    for each in saved:
        tell(each)


def joined(sources: Iterable[str]) -> bytes:
    """Several documents as one body, in which each one is as it stands in its file, byte for byte."""
    return "---\n".join(each if each.endswith("\n") else f"{each}\n" for each in sources).encode()


def in_namespace(source: str, name: str) -> str:
    """The source of a flow with another namespace; all else stays as it was written."""
    if _NAMESPACE_LINE.search(source) is None:
        return f"namespace: {name}\n{source}"
    return _NAMESPACE_LINE.sub(f"namespace: {name}", source, count=1)


def tell(saved: Mapping[str, Any]) -> None:
    """Write what was saved."""
    click.echo(f"{saved['namespace']}.{saved['id']} revision {saved['revision']}")


def _sources(folder: Path) -> list[str]:
    """The sources of all flow files, with what they include.  Raises click.UsageError when there is none."""
    from flowtide.cli.flow_folder import flow_files, source_of

    files = list(flow_files(folder))
    if not files:
        raise click.UsageError(f"there are no .yml or .yaml files in {folder}")
    return [source_of(file) for file in files]


def _delete_others(client: Client, saved: Sequence[Mapping[str, Any]]) -> None:
    """Delete the flows of these flows' namespaces that are not among them."""
    kept = {(each["namespace"], each["id"]) for each in saved}
    others = [
        {"namespace": each["namespace"], "id": each["id"]}
        for name in sorted({name for name, _ in kept})
        for each in client.get(client.path("flows", name))
        if (each["namespace"], each["id"]) not in kept
    ]
    if others:
        client.send("DELETE", client.path("flows", "delete", "by-ids"), document=others)
    for each in others:
        click.echo(f"{each['namespace']}.{each['id']} is deleted")
