"""Options of the commands that talk to a server (CLI-3): what was given in, a client of its API out.

What no option says comes from the variables of `flowtidectl`, so that a pipeline sets its login once and none stands
in a process list.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from flowtide.cli.options import Command, Invocation, common_options

if TYPE_CHECKING:
    from flowtide.cli.client import Client

PREFIXES = ("FLOWTIDECTL_", "KESTRACTL_")
"""Beginnings of the variables, the first one that is set wins."""


def variable(environment: Mapping[str, str], name: str) -> str | None:
    """The value of a variable such as HOST, under our prefix or the other one; an empty one counts as none."""
    for prefix in PREFIXES:
        value = environment.get(prefix + name)
        if value:
            return value
    return None


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options as they were given."""

    server: str | None = None
    headers: tuple[str, ...] = ()
    user: str | None = None
    tenant: str | None = None
    api_token: str | None = None

    @property
    def given(self) -> bool:
        """Whether any of them was."""
        return self.names_server or bool(self.tenant)

    @property
    def names_server(self) -> bool:
        """Whether a server is meant, apart from a tenant, which is not only of servers."""
        return bool(self.server or self.headers or self.user or self.api_token)

    def client(self, invocation: Invocation, environment: Mapping[str, str] | None = None) -> Client:
        """A client of the server that is meant.  Raises ServerRefused, click.UsageError."""
        from flowtide.cli.client import DEFAULT_SERVER, DEFAULT_TENANT, Client, Connection

        known = os.environ if environment is None else environment
        connection = Connection(
            server=self.server or variable(known, "HOST") or DEFAULT_SERVER,
            tenant=self.tenant or variable(known, "TENANT") or DEFAULT_TENANT,
            authorization=self._authorization(known),
            headers=tuple(_header(each) for each in self.headers),
        )
        return Client(connection, trace=_traced if invocation.level in ("DEBUG", "TRACE") else None)

    def _authorization(self, environment: Mapping[str, str]) -> str | None:
        if self.user and self.api_token:
            raise click.UsageError("--user and --api-token exclude each other")
        return authorization(self.api_token, self.user) or authorization(
            variable(environment, "TOKEN"),
            login(variable(environment, "USERNAME"), variable(environment, "PASSWORD")),
        )


def login(name: str | None, password: str | None) -> str | None:
    """`name:password`; None when either is not there."""
    return f"{name}:{password}" if name and password else None


def authorization(token: str | None, user: str | None) -> str | None:
    """The header for a token, or else for a `name:password`.  Raises ServerRefused."""
    from flowtide.cli.client import basic_authorization

    if token:
        return f"Bearer {token}"
    return basic_authorization(user) if user else None


def _header(text: str) -> tuple[str, str]:
    """`name=value` as Kestra has it, or `Name: value` as curl has it."""
    name, separator, value = text.partition("=")
    other = text.partition(":")
    if ":" in name or not separator:
        name, separator, value = other
    if not separator or not name.strip():
        raise click.UsageError(f"`{text}` is no header; write it as name=value")
    return name.strip(), value.strip()


def _traced(line: str) -> None:
    """Tell of a request on standard error, without its credentials."""
    if not line.lower().startswith(("> authorization:", "> cookie:")):
        click.echo(line, err=True)


def server_options(command: Command) -> Command:
    """Add the options; the command gets them as `server_options`."""

    @functools.wraps(command)
    def called(
        *arguments: Any,
        server: str | None,
        headers: tuple[str, ...],
        user: str | None,
        tenant: str | None,
        api_token: str | None,
        **given: Any,
    ) -> Any:
        options = ServerOptions(server=server, headers=headers, user=user, tenant=tenant, api_token=api_token)
        return command(*arguments, server_options=options, **given)

    for option in (
        click.option("--api-token", metavar="TOKEN", help="Token of a user or service account. [FLOWTIDECTL_TOKEN]"),
        click.option("--tenant", help="Tenant, `main` by default. [FLOWTIDECTL_TENANT]"),
        click.option(
            "--user", metavar="NAME:PASSWORD", help="Login. [FLOWTIDECTL_USERNAME and FLOWTIDECTL_PASSWORD]"
        ),
        click.option(
            "--headers", multiple=True, metavar="NAME=VALUE", help="A further header; may be given again."
        ),
        click.option(
            "--server", metavar="URL", help="The server, http://localhost:8080 by default. [FLOWTIDECTL_HOST]"
        ),
    ):  # fmt: skip  # a table
        called = option(called)
    return called  # type: ignore[return-value]  # the same command, with other parameters


def api_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these and the common options; the command gets a `Client` as its first argument."""

    @functools.wraps(command)
    def called(invocation: Invocation, *arguments: Any, server_options: ServerOptions, **given: Any) -> Any:
        return command(server_options.client(invocation), *arguments, **given)

    return common_options(server_options(called))
