"""What can be done with flow files without saving them: files in, what is wrong with them or what they do out.

CLI-12 to CLI-14, and page 450 for included files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowtide.cli.options import Invocation, common_options
from flowtide.cli.run import run_flow, run_options
from flowtide.cli.server_options import ServerOptions, server_options

if TYPE_CHECKING:
    from flowtide.cli.client import Client

_FLOW_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--local", is_flag=True, help="Check with the plugins installed here. The default without a server."
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@server_options
@common_options
def validate(
    invocation: Invocation, paths: tuple[Path, ...], local: bool, server_options: ServerOptions
) -> int:
    """Check the flows in PATHS, files or folders, without running them.

    Each problem is written as path:line:column: property: message. Checks are made here with the plugins that
    are installed here, unless an option names a server or a login. Files that flows include by [[> path]] are put
    in their place before. Exit codes: 0 all are valid, 1 at least one is not.
    """
    from flowtide.cli.flow_folder import flow_files

    if local and server_options.given:
        raise click.UsageError("--local and the options of a server exclude each other")
    files = [file for path in paths for file in flow_files(path)]
    if not files:
        raise click.UsageError(f"there are no .yml or .yaml files in {', '.join(map(str, paths))}")
    if server_options.given:
        found = validate_remotely(server_options.client(invocation), files)
        problems = [line for lines in found.values() for line in lines]
    else:
        problems = _validate_here(invocation, files)
    for line in problems:
        click.echo(line)
    wrong = len({line.partition(":")[0] for line in problems})
    many = "flow" if len(files) == 1 else "flows"
    summary = f"{wrong} of {len(files)} {many} not valid" if wrong else f"{len(files)} {many} valid"
    click.echo(summary, err=True)
    return 1 if problems else 0


@click.command()
@run_options
@click.argument("files", nargs=-1, required=True, metavar="FILE [NAME VALUE]...")
@common_options
def test(invocation: Invocation, files: tuple[str, ...], inputs: tuple[str, ...], **given: Any) -> int:
    """Run a flow in this process without a server; like `flowtide run`.

    After the file, inputs may be given as pairs of a name and a value: `flow test my.yml name value`.
    """
    found, pairs = flows_and_pairs(files)
    return run_flow(invocation, files=tuple(found), inputs=(*inputs, *pairs), **given)


@click.command()
@click.argument("file", type=_FLOW_FILE)
@common_options
def dot(invocation: Invocation, file: Path) -> int:
    """Write the graph of the flow in FILE in the language of Graphviz.

    For example: `flowtide flow dot my.yml | dot -Tsvg > my.svg`.
    """
    from flowtide.cli.dot import dot as drawn
    from flowtide.cli.flow_folder import read_flow_file, violation_line
    from flowtide.cli.flow_reading import flow_reader

    parsed = read_flow_file(file, flow_reader(invocation.settings()), expand=True).parsed
    if parsed.flow is None:
        for violation in parsed.violations:
            click.echo(violation_line(file, violation), err=True)
        return 1
    click.echo(drawn(parsed.flow))
    return 0


@click.command()
@click.argument("file", type=_FLOW_FILE)
@common_options
def expand(invocation: Invocation, file: Path) -> None:
    """Write the flow in FILE with what it includes by [[> path]] in its place."""
    from flowtide.cli.includes import expanded

    click.echo(expanded(file), nl=False)


def validate_remotely(client: Client, files: Sequence[Path]) -> dict[Path, list[str]]:
    """What the server finds wrong with each file, as lines of path, line, column and message.

    Raises ServerRefused, IncludeFailed, OSError.
    """
    from flowtide.cli.bulk import each_of
    from flowtide.cli.client import YAML
    from flowtide.cli.flow_folder import source_of, violation_line
    from flowtide.errors import Violation

    lines: dict[Path, list[str]] = {}
    for path in each_of(files, "validate"):
        of_file = lines.setdefault(path, [])
        body = source_of(path).encode()
        for document in client.send("POST", client.path("flows", "validate"), body=body, content_type=YAML):
            found = document.get("violations") or []
            if not found and document.get("constraints"):
                of_file.append(f"{path}: {document['constraints']}")
            for each in found:
                violation = Violation(
                    path=each.get("path") or "",
                    message=each["message"],
                    line=each.get("line") or 0,
                    column=each.get("column") or 0,
                )
                of_file.append(violation_line(path, violation))
            for warning in document.get("warnings") or ():
                click.echo(f"{path}: warning: {warning}", err=True)
    return lines


def _validate_here(invocation: Invocation, files: list[Path]) -> list[str]:
    from flowtide.cli.flow_folder import read_flow_file, violation_line
    from flowtide.cli.flow_reading import flow_reader

    read = flow_reader(invocation.settings())
    lines = []
    for path in files:
        parsed = read_flow_file(path, read, expand=True).parsed
        for warning in parsed.warnings:
            click.echo(f"{path}: warning: {warning}", err=True)
        lines += [violation_line(path, violation) for violation in parsed.violations]
    return lines


def flows_and_pairs(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell files of flows from pairs of inputs, written as NAME VALUE; gives files and `name=value`s.

    The first argument is a file; later ones are too as long as they are there and end as flows do, or are folders.
    Raises click.UsageError for a name without its value and for a first file that is not there.
    """
    from flowtide.cli.flow_folder import SUFFIXES

    rest = list(arguments)
    files = [Path(rest.pop(0))]
    if not files[0].exists():
        raise click.UsageError(f"there is no file {files[0]}")
    pairs: list[str] = []
    while rest:
        path = Path(rest[0])
        if path.is_dir() or (path.suffix.lower() in SUFFIXES and path.is_file()):
            files.append(path)
            rest.pop(0)
        elif len(rest) == 1:
            raise click.UsageError(
                f"the input {rest[0]} has no value; inputs are pairs of a name and a value"
            )
        else:
            pairs.append(f"{rest[0]}={rest[1]}")
            del rest[:2]
    return files, pairs
