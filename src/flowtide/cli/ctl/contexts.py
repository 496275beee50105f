"""`flowtidectl config ...`: addresses and logins of servers, kept in a file (CTL-3)."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flowtide.cli.ctl.context_file import (
    BASIC,
    TOKEN,
    Context,
    Contexts,
    found_file,
    own_file,
    read_contexts,
    write_contexts,
)
from flowtide.cli.ctl.options import OUTPUTS, Given, context_names
from flowtide.cli.server_options import variable
from flowtide.cli.tables import write, write_json

_HIDDEN = "****"


@click.group()
def config() -> None:
    """Keep addresses and logins of servers, each under a name, in ~/.flowtidectl/config.yaml."""


def _with_file(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --config; the command gets the contexts and the file to write them to."""

    @click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The file of contexts.",
    )
    @click.pass_context
    @functools.wraps(command)
    def called(context: click.Context, /, *arguments: Any, config_file: Path | None, **more: Any) -> Any:
        outer: Given = context.find_root().obj or Given()
        named = config_file or outer.config
        home = Path.home()
        contexts = read_contexts(named or found_file(home))
        return command(contexts, named or own_file(home), *arguments, **more)

    return called


@config.command()
@click.option("-t", "--token", help="Token; `-` reads it from the standard input.")
@click.option("--username", help="Login, with --password.")
@click.option("--password", help="Password; `-` reads it from the standard input.")
@click.option("--default", is_flag=True, help="Use this one when none is named; so is the first one.")
@click.argument("name")
@click.argument("host", metavar="URL")
@click.argument("tenant", default="main")
@_with_file
def add(
    contexts: Contexts,
    file: Path,
    name: str,
    host: str,
    tenant: str,
    token: str | None,
    username: str | None,
    password: str | None,
    default: bool,
) -> None:
    """Keep the server at URL under NAME, with its TENANT and a login."""
    from flowtide.cli.client import Client, Connection

    if token and (username or password):
        raise click.UsageError("--token and --username exclude each other")
    if bool(username) != bool(password):
        raise click.UsageError("--username and --password belong together")
    Client(Connection(server=host))  # an address that is none is refused here
    context = Context(
        host=host,
        tenant=tenant,
        auth_method=BASIC if username else TOKEN,
        token=_read(token),
        username=username,
        password=_read(password),
    )
    changed = contexts.with_context(name, context, default=default)
    write_contexts(file, changed)
    click.echo(f"the context {name} is in {file}{', the default' if changed.default == name else ''}")


@config.command()
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default=None, help="The form of what is written.")
@click.option("-v", "--verbose", is_flag=True, help="Show tokens and passwords.")
@click.pass_context
@_with_file
def show(contexts: Contexts, _file: Path, context: click.Context, output: str | None, verbose: bool) -> None:
    """Show all contexts, without their tokens and passwords."""
    outer: Given = context.find_root().obj or Given()
    revealed = verbose or outer.verbose
    rows: list[dict[str, Any]] = []
    for name, each in contexts.contexts.items():
        row: dict[str, Any] = {"name": name, "default": name == contexts.default, **each.document()}
        if not revealed:
            row.update((key, _HIDDEN) for key in ("token", "password") if key in row)
        rows.append(row)
    chosen = output or outer.output or variable(os.environ, "OUTPUT") or "table"
    if chosen == "json":
        write_json({"contexts": rows, "default_context": contexts.default})
        return
    columns = {
        "NAME": "name",
        "DEFAULT": "default",
        "HOST": "host",
        "TENANT": "tenant",
        "LOGIN": "auth_method",
        "USERNAME": "username",
    }
    if revealed:
        columns |= {"TOKEN": "token", "PASSWORD": "password"}
    write(rows, columns, chosen, nothing="there are no contexts; make one with `config add`")


@config.command()
@click.argument("name", shell_complete=context_names)
@_with_file
def use(contexts: Contexts, file: Path, name: str) -> None:
    """Use the context NAME when none is named."""
    write_contexts(file, contexts.using(name))
    click.echo(f"{name} is the default context")


@config.command()
@click.argument("name", shell_complete=context_names)
@_with_file
def remove(contexts: Contexts, file: Path, name: str) -> None:
    """Forget the context NAME."""
    write_contexts(file, contexts.without(name))
    click.echo(f"the context {name} is removed")


def _read(value: str | None) -> str | None:
    return sys.stdin.readline().rstrip("\r\n") if value == "-" else value
