"""`flowtide template ...`: templates in files checked and saved on a server, and exported (CLI-1, page 239).

Templates are what flows shared before subflows; a server has them when `templates.enabled` says so.
"""

from __future__ import annotations

from pathlib import Path

import click

from flowtide.cli.client import YAML, Client
from flowtide.cli.server_options import api_options

_PATHS = click.Path(exists=True, path_type=Path)


@click.group()
def template() -> None:
    """Check and save templates, on servers with `templates.enabled`."""


@template.command()
@click.argument("paths", nargs=-1, required=True, type=_PATHS)
@api_options
def validate(client: Client, paths: tuple[Path, ...]) -> int:
    """Check the templates in PATHS, files or folders. Exit codes: 0 all are valid, 1 at least one is not."""
    wrong = 0
    files = [file for path in paths for file in _files(path)]
    for path, source in files:
        found = client.send(
            "POST", client.path("templates", "validate"), body=source.encode(), content_type=YAML
        )
        problems = [each["constraints"] for each in found if each.get("constraints")]
        wrong += bool(problems)
        for problem in problems:
            click.echo(f"{path}: {problem}")
    count = len(files)
    click.echo(f"{wrong} of {count} not valid" if wrong else f"{count} valid", err=True)
    return 1 if wrong else 0


@template.command()
@click.option("--namespace", help="Only the templates of this namespace and those below it.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@api_options
def export(client: Client, folder: Path, namespace: str | None) -> None:
    """Write the templates of a server to templates.zip in FOLDER, the current one by default."""
    from flowtide.cli.flow_listing import download_archive

    download_archive(client, "templates", folder, namespace)


@template.group("namespace")
def of_namespace() -> None:
    """All templates of a namespace at once."""


@of_namespace.command()
@click.option(
    "--delete/--no-delete", default=True, show_default=True, help="Delete those that are not there."
)
@click.argument("name", metavar="NAMESPACE")
@click.argument("folder", type=_PATHS)
@api_options
def update(client: Client, name: str, folder: Path, delete: bool) -> None:
    """Save the templates of FOLDER in NAMESPACE, to which all of them belong."""
    from flowtide.cli.flow_saving import joined

    sources = [source for _, source in _files(folder)]
    path = client.path("templates", name)
    saved = client.send("POST", path, query={"delete": delete}, body=joined(sources), content_type=YAML)
    for each in saved:
        click.echo(f"{each['namespace']}.{each['id']}")


def _files(path: Path) -> list[tuple[Path, str]]:
    """Template files with their sources.  Raises click.UsageError when there is none."""
    from flowtide.cli.flow_folder import flow_files, source_of

    found = [(file, source_of(file)) for file in flow_files(path)]
    if not found:
        raise click.UsageError(f"there are no .yml or .yaml files in {path}")
    return found
