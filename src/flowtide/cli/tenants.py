"""`flowtide tenants create`: makes a tenant, on this installation or on a server (CLI-29)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowtide.cli.options import Invocation, common_options
from flowtide.cli.server_options import ServerOptions, server_options

if TYPE_CHECKING:
    from flowtide.cli.administration import Administration


@click.group()
def tenants() -> None:
    """Make tenants, the isolated parts of an instance."""


@tenants.command()
@click.option("--name", "named", metavar="NAME", help="The same as the second argument.")
@click.option("--admin-username", help="A user who becomes administrator of the tenant.")
@click.argument("tenant_id", required=False)
@click.argument("tenant_name", required=False)
@server_options
@common_options
def create(
    invocation: Invocation,
    tenant_id: str | None,
    tenant_name: str | None,
    named: str | None,
    admin_username: str | None,
    server_options: ServerOptions,
) -> None:
    """Make the tenant TENANT_ID, with TENANT_NAME as people read it.

    Both may be given as --tenant and --name. Without --server, --user and --api-token this works on the
    installation whose settings are read here; a standalone server on its embedded log must be stopped meanwhile.
    """
    from flowtide.cli.auths import run_with

    chosen = tenant_id or server_options.tenant
    if not chosen:
        raise click.UsageError("Missing argument 'TENANT_ID'.")
    name = tenant_name or named or chosen

    async def work(port: Administration) -> str:
        admin = None if admin_username is None else await port.known_user(admin_username)
        await port.create_tenant(chosen, name)
        if admin is None:
            return f"the tenant {chosen} is made"
        await port.grant_access(chosen, admin)
        await port.make_admin(chosen, admin)
        return f"the tenant {chosen} is made, {admin_username} administers it"

    click.echo(run_with(invocation, server_options, work))
