"""Options that stand before or behind each command of `flowtidectl` (CTL-6, CTL-7): what was given in, a client out.

Options win over variables, variables over the file of contexts, and that over defaults.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowtide.cli.server_options import authorization, login, variable
from flowtide.cli.tables import Columns, Row, write, write_json

if TYPE_CHECKING:
    from flowtide.cli.client import Client, Connection

OUTPUTS = ("table", "json")
_HINT = (
    "give a login with --token TOKEN, or --username and --password, or keep one with `flowtidectl config add`"
)


@dataclass(frozen=True, kw_only=True)
class Given:
    """The options as they were given; those of the command win over those before it."""

    host: str | None = None
    tenant: str | None = None
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    output: str | None = None
    context: str | None = None
    config: Path | None = None
    verbose: bool = False

    def over(self, outer: Given) -> Given:
        """These options, completed by those before the command."""
        names = ("host", "tenant", "token", "username", "password", "output", "context", "config", "verbose")
        found = {name: getattr(self, name) or getattr(outer, name) for name in names}
        if self.token and not (self.username or self.password):
            found |= {"username": None, "password": None}  # one login, not a mixture of two
        if (self.username or self.password) and not self.token:
            found["token"] = None
        return Given(**found)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What holds after all places were looked at."""

    connection: Connection
    output: str


def resolve(given: Given, environment: Mapping[str, str], home: Path) -> Resolved:
    """Look at options, variables, the file and defaults, in this order.

    A place that has a login has the whole of it: a token of the file never goes with a user name of a variable.
    Raises ContextsUnusable, ServerRefused, click.UsageError.
    """
    from flowtide.cli.client import DEFAULT_SERVER, DEFAULT_TENANT, Connection
    from flowtide.cli.ctl.context_file import found_file, read_contexts

    if given.token and (given.username or given.password):
        raise click.UsageError("--token and --username exclude each other")
    if bool(given.username) != bool(given.password) and not variable(
        environment, "USERNAME" if given.password else "PASSWORD"
    ):
        raise click.UsageError("--username and --password belong together")
    contexts = read_contexts(given.config or found_file(home))
    name = given.context or variable(environment, "CONTEXT") or contexts.default
    context = None if name is None else contexts.named(name)
    username = given.username or variable(environment, "USERNAME")
    password = given.password or variable(environment, "PASSWORD")
    chosen = authorization(
        given.token, login(username, password) if given.username or given.password else None
    )
    if chosen is None:
        chosen = authorization(variable(environment, "TOKEN"), login(username, password))
    if chosen is None and context is not None:
        chosen = authorization(context.token, login(context.username, context.password))
    output = given.output or variable(environment, "OUTPUT") or "table"
    if output not in OUTPUTS:
        raise click.UsageError(f"FLOWTIDECTL_OUTPUT must be {' or '.join(OUTPUTS)} and is {output}")
    connection = Connection(
        server=given.host or variable(environment, "HOST") or (context.host if context else DEFAULT_SERVER),
        tenant=given.tenant
        or variable(environment, "TENANT")
        or (context.tenant if context else DEFAULT_TENANT),
        authorization=chosen,
        login_hint=_HINT,
    )
    return Resolved(connection=connection, output=output)


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a command works with."""

    client: Client
    output: str

    def write(self, rows: list[Any], columns: Columns, *, nothing: str) -> None:
        """Write rows in the form that is asked for."""
        write(rows, columns, self.output, nothing=nothing)

    def write_one(self, row: Row, columns: Columns) -> None:
        """Write one thing: all of it as JSON, some columns as a table."""
        if self.output == "json":
            write_json(row)
        else:
            write([row], columns, self.output, nothing="")


def context_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of contexts that begin so, for shells; none when the file cannot be read."""
    from flowtide.cli.ctl.context_file import ContextsUnusable, found_file, read_contexts

    try:
        contexts = read_contexts(found_file(Path.home())).contexts
    except ContextsUnusable:
        return []
    return [name for name in contexts if name.startswith(incomplete)]


def global_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as `given`."""

    @functools.wraps(command)
    def called(
        *arguments: Any,
        host: str | None,
        tenant: str | None,
        token: str | None,
        username: str | None,
        password: str | None,
        output: str | None,
        context_name: str | None,
        config_file: Path | None,
        verbose: bool,
        **more: Any,
    ) -> Any:
        given = Given(
            host=host,
            tenant=tenant,
            token=token,
            username=username,
            password=password,
            output=output,
            context=context_name,
            config=config_file,
            verbose=verbose,
        )
        return command(*arguments, given=given, **more)

    for option in (
        click.option(
            "-v", "--verbose", is_flag=True,
            help="Show requests and answers on standard error, the credentials included.",
        ),
        click.option(
            "--config", "config_file", type=click.Path(dir_okay=False, path_type=Path),
            help="The file of contexts.",
        ),
        click.option(
            "--context", "context_name", metavar="NAME", shell_complete=context_names,
            help="The context, instead of the default one.",
        ),
        click.option("-o", "--output", type=click.Choice(OUTPUTS), help="The form of what is written."),
        click.option("--password", help="Password, with --username."),
        click.option("--username", help="Login, with --password."),
        click.option("-t", "--token", help="Token of a user or service account."),
        click.option("--tenant", help="The tenant."),
        click.option("--host", metavar="URL", help="The server."),
    ):  # fmt: skip  # a table
        called = option(called)
    return called


def with_session(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets a `Session` as its first argument."""

    @click.pass_context
    @functools.wraps(command)
    def called(context: click.Context, /, *arguments: Any, given: Given, **more: Any) -> Any:
        from flowtide.cli.client import Client

        outer = context.find_root().obj or Given()
        whole = given.over(outer)
        resolved = resolve(whole, os.environ, Path.home())
        client = Client(resolved.connection, trace=_traced if whole.verbose else None)
        return command(Session(client=client, output=resolved.output), *arguments, **more)

    return global_options(called)


def _traced(line: str) -> None:
    print(line, file=sys.stderr)
