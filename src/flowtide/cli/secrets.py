"""`flowtide secrets ...`: writes the encrypted file that servers with `secret.type: file` read (SEC-01)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowtide.cli.options import Invocation, common_options

if TYPE_CHECKING:
    from flowtide.secrets import SecretsFile

_TENANT = click.option("--tenant", default="main", show_default=True, help="The tenant.")
_NAMESPACE = click.option(
    "-n", "--namespace", required=True, help="The namespace; those below it see it too."
)


@click.group()
def secrets() -> None:
    """Write the file of secrets: `secret.type: file`, encrypted with `encryption.secret-key`."""


@secrets.command(name="set")
@click.argument("name")
@_NAMESPACE
@_TENANT
@common_options
def set_(invocation: Invocation, name: str, namespace: str, tenant: str) -> None:
    """Set the secret NAME to what is typed, or to the text on the standard input.

    Running servers see it at once.
    """
    stream = click.get_text_stream("stdin")
    if stream.isatty():
        value = click.prompt(f"The value of {name}", hide_input=True, confirmation_prompt=True)
    else:
        value = stream.read().removesuffix("\n")
    if not value or not name:
        raise click.ClickException("a secret needs a name and a value")
    _file(invocation).set(tenant_id=tenant, namespace=namespace, name=name, value=value)
    click.echo(f"The secret {name} of {namespace} is set.")


@secrets.command(name="list")
@_TENANT
@common_options
def list_(invocation: Invocation, tenant: str) -> None:
    """Show the names of all secrets, never their values."""
    for namespace, names in sorted(_file(invocation).read().get(tenant, {}).items()):
        for name in sorted(names):
            click.echo(f"{namespace}  {name}")


@secrets.command()
@click.argument("name")
@_NAMESPACE
@_TENANT
@common_options
def delete(invocation: Invocation, name: str, namespace: str, tenant: str) -> None:
    """Remove the secret NAME."""
    if not _file(invocation).delete(tenant_id=tenant, namespace=namespace, name=name):
        raise click.ClickException(f"there is no secret {name} in the namespace {namespace}")
    click.echo(f"The secret {name} of {namespace} is removed.")


def _file(invocation: Invocation) -> SecretsFile:
    from flowtide.secrets import open_encryption, open_secrets_file  # other commands start without them

    settings = invocation.settings()
    if settings.secret.type != "file":
        raise click.ClickException(
            f"secret.type is `{settings.secret.type}`: set it to `file` in the settings, so that servers read the file"
        )
    encryption = open_encryption(settings.encryption.secret_key, settings.encryption.former_secret_keys)
    return open_secrets_file(settings.secret.options, encryption, settings.data_path)
