"""`flowtide flow ...`: flows in files in, what is wrong with them, or what they do, out (CLI-12 to CLI-18)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flowtide.cli.options import Invocation, common_options
from flowtide.cli.run import run_flow, run_options


@click.group()
def flow() -> None:
    """Check and try flows that stand in files."""


@flow.command()
@click.option(
    "--server",
    metavar="URL",
    help="Ask this server, with its plugins and defaults; by default nobody is asked.",
)
@click.option("--local", is_flag=True, help="Check with the plugins installed here. This is the default.")
@click.option("--user", metavar="USER:PASSWORD", help="Login for --server.")
@click.option("--tenant", default="main", show_default=True, help="Tenant for --server.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@common_options
def validate(
    invocation: Invocation,
    paths: tuple[Path, ...],
    server: str | None,
    local: bool,
    user: str | None,
    tenant: str,
) -> int:
    """Check the flows in PATHS, files or folders, without running them.

    Each problem is written as path:line:column: property: message. Checks are made here with the plugins that
    are installed here, unless --server names a server. Exit codes: 0 all are valid, 1 at least one is not.
    """
    from flowtide.cli.flow_folder import flow_files

    if local and server is not None:
        raise click.UsageError("--local and --server exclude each other")
    if server is None and user is not None:
        raise click.UsageError("--user is for --server")
    files = [file for path in paths for file in flow_files(path)]
    if not files:
        raise click.UsageError(f"there are no .yml or .yaml files in {', '.join(map(str, paths))}")
    if server is not None:
        from flowtide.cli.remote import validate_remotely

        problems = validate_remotely(files, server=server, tenant=tenant, user=user)
    else:
        problems = _validate_here(invocation, files)
    for line in problems:
        click.echo(line)
    wrong = len({line.partition(":")[0] for line in problems})
    many = "flow" if len(files) == 1 else "flows"
    summary = f"{wrong} of {len(files)} {many} not valid" if wrong else f"{len(files)} {many} valid"
    click.echo(summary, err=True)
    return 1 if problems else 0


@flow.command()
@run_options
@common_options
def test(invocation: Invocation, **given: Any) -> int:
    """Run a flow in this process without a server; the same as `flowtide run`."""
    return run_flow(invocation, **given)


@flow.group()
def namespace() -> None:
    """All flows of a namespace at once."""


@namespace.command()
@click.option(
    "--server", metavar="URL", default="http://localhost:8080", show_default=True, help="The server."
)
@click.option("--user", metavar="USER:PASSWORD", help="Login.")
@click.option("--tenant", default="main", show_default=True, help="Tenant.")
@click.option(
    "--delete/--no-delete",
    default=True,
    show_default=True,
    help="Delete flows of the namespace that are not there.",
)
@click.argument("name", metavar="NAMESPACE")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@common_options
def update(
    invocation: Invocation, name: str, folder: Path, server: str, user: str | None, tenant: str, delete: bool
) -> None:
    """Save the flows of FOLDER in NAMESPACE on a server; all of them belong to that namespace."""
    from flowtide.cli.flow_folder import flow_files
    from flowtide.cli.remote import update_namespace

    files = list(flow_files(folder))
    if not files:
        raise click.UsageError(f"there are no .yml or .yaml files in {folder}")
    saved = update_namespace(files, namespace=name, delete=delete, server=server, tenant=tenant, user=user)
    for each in saved:
        click.echo(f"{each['namespace']}.{each['id']} revision {each['revision']}")


def _validate_here(invocation: Invocation, files: list[Path]) -> list[str]:
    from flowtide.cli.flow_folder import read_flow_file, violation_line
    from flowtide.cli.flow_reading import flow_reader

    read = flow_reader(invocation.settings())
    lines = []
    for path in files:
        parsed = read_flow_file(path, read).parsed
        for warning in parsed.warnings:
            click.echo(f"{path}: warning: {warning}", err=True)
        lines += [violation_line(path, violation) for violation in parsed.violations]
    return lines
