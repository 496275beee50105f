"""`flowtide auths ...`: makes and changes users, on this installation or on a server (CLI-26, CLI-27)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from flowtide.cli.counts import counted
from flowtide.cli.options import Invocation, common_options
from flowtide.cli.server_options import ServerOptions, server_options

if TYPE_CHECKING:
    from flowtide.cli.administration import Administration

Result = TypeVar("Result")

_STDIN = click.option("--password-stdin", is_flag=True, help="Read the password from the standard input.")


@click.group()
def auths() -> None:
    """Make and change users.

    Without --server, --user and --api-token this works on the installation whose settings are read here; a
    standalone server on its embedded log must be stopped meanwhile. With them the server does it, asked by a
    superadmin.
    """


@auths.group()
def users() -> None:
    """Users, whose names are e-mail addresses."""


@users.command()
@click.option(
    "--groups", multiple=True, help="A group of the tenant, by its name; may be given again, or with commas."
)
@click.option("--admin", is_flag=True, help="Give the role of an administrator in the tenant.")
@click.option("--superadmin", is_flag=True, help="Make a superadmin, who administers the instance.")
@click.option("--if-not-exists", is_flag=True, help="Leave a user who is there as they are.")
@click.option("--username", "named", metavar="NAME", help="The same as the first argument.")
@click.option("--password", "secret", metavar="PASSWORD", help="The same as the second argument.")
@_STDIN
@click.argument("username", required=False)
@click.argument("password", required=False)
@server_options
@common_options
def create(
    invocation: Invocation,
    username: str | None,
    password: str | None,
    named: str | None,
    secret: str | None,
    password_stdin: bool,
    groups: Sequence[str],
    admin: bool,
    superadmin: bool,
    if_not_exists: bool,
    server_options: ServerOptions,
) -> None:
    """Make the user USERNAME, an e-mail address, who may enter the tenant (--tenant, `main` by default).

    Without a PASSWORD they log in by a provider of identities, or get one by create-basic-auth. Who types it on a
    command line shows it to others on the machine: --password-stdin does not.
    """
    name = username or named
    if not name:
        raise click.UsageError("Missing argument 'USERNAME'.")
    given = _read_password() if password_stdin else password or secret
    tenant = server_options.tenant or "main"
    wanted = [each for part in groups for each in part.split(",") if each]

    async def work(port: Administration) -> str:
        await port.check_tenant(tenant)
        known = await port.user_id(name)
        if known is not None and if_not_exists:
            return f"{name} is there already"
        places = [await port.known_group(tenant, each) for each in wanted]
        user_id = await port.create_user(name, given, super_admin=superadmin)
        await port.grant_access(tenant, user_id)
        if admin:
            await port.make_admin(tenant, user_id)
        for group_id in places:
            await port.join(tenant, group_id, user_id)
        what = ", ".join(
            [
                *(["superadmin"] if superadmin else []),
                *(["administrator"] if admin else []),
                f"tenant {tenant}",
            ]
        )
        return f"{name} is made ({what})"

    click.echo(run_with(invocation, server_options, work))


@users.command("create-basic-auth")
@_STDIN
@click.argument("username")
@click.argument("password", required=False)
@server_options
@common_options
def create_basic_auth(
    invocation: Invocation,
    username: str,
    password: str | None,
    password_stdin: bool,
    server_options: ServerOptions,
) -> None:
    """Give USERNAME a password, or another one; it is asked for, or read from the standard input."""
    given = password if password is not None and not password_stdin else _read_password()

    async def work(port: Administration) -> str:
        await port.set_password(await port.known_user(username), given)
        return f"{username} has the new password"

    click.echo(run_with(invocation, server_options, work))


@users.command("set-superadmin")
@click.argument("username")
@click.argument("wanted", metavar="true|false", type=click.BOOL)
@server_options
@common_options
def set_superadmin(
    invocation: Invocation, username: str, wanted: bool, server_options: ServerOptions
) -> None:
    """Make USERNAME a superadmin, or not."""

    async def work(port: Administration) -> str:
        await port.set_super_admin(await port.known_user(username), wanted)
        return f"{username} is {'a superadmin' if wanted else 'no superadmin'}"

    click.echo(run_with(invocation, server_options, work))


@users.command("sync-access")
@server_options
@common_options
def sync_access(invocation: Invocation, server_options: ServerOptions) -> None:
    """Let every user into the tenant (--tenant, `main` by default), as before there were several."""
    tenant = server_options.tenant or "main"

    async def work(port: Administration) -> str:
        await port.check_tenant(tenant)
        found = await port.users()
        let_in = [name for user_id, name in found if await port.grant_access(tenant, user_id)]
        return f"{len(let_in)} of {counted(len(found), 'user')} may enter {tenant} from now on, the others could before"

    click.echo(run_with(invocation, server_options, work))


@users.command()
@server_options
@common_options
def refresh(invocation: Invocation, server_options: ServerOptions) -> None:
    """Bring users of earlier versions up to date: there is nothing to do, what they may do is worked out anew."""

    async def work(port: Administration) -> str:
        return f"0 of {counted(len(await port.users()), 'user')} to refresh: they are saved as this version has them"

    click.echo(run_with(invocation, server_options, work))


@users.command("email-replace-username")
@server_options
@common_options
def email_replace_username(invocation: Invocation, server_options: ServerOptions) -> None:
    """Make e-mail addresses the names of users: they are from the beginning; tells of names that are none."""

    async def work(port: Administration) -> str:
        found = await port.users()
        for _, name in found:
            if "@" not in name:
                click.echo(f"{name} is no e-mail address", err=True)
        return f"0 of {counted(len(found), 'user')} to rename: their names are their e-mail addresses"

    click.echo(run_with(invocation, server_options, work))


def run_with(
    invocation: Invocation, options: ServerOptions, work: Callable[[Administration], Awaitable[Result]]
) -> Result:
    """Do some work with users and tenants.  Raises FlowtideError."""
    from flowtide.cli.administration import administration

    async def run() -> Result:
        async with administration(invocation, options) as port:
            return await work(port)

    return asyncio.run(run())


def _read_password() -> str:
    stream = click.get_text_stream("stdin")
    if stream.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    value = stream.readline().rstrip("\r\n")
    if not value:
        raise click.ClickException("there is no password on the standard input")
    return value
