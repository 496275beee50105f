"""`flowtidectl kv ...`: pairs of a namespace, listed, read, set and deleted (CTL-4, page 061)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from flowtide.cli.ctl.options import Session, with_session
from flowtide.cli.lazy import LazyGroup
from flowtide.cli.pairs import TYPES, body_of, put_pair, text_of
from flowtide.cli.tables import cell

_COLUMNS = {
    "NAMESPACE": "namespace",
    "KEY": "key",
    "REVISION": "version",
    "CHANGED": "updateDate",
    "EXPIRES": "expirationDate",
    "DESCRIPTION": "description",
}


@click.group(
    cls=LazyGroup,
    table={
        "list": ("flowtide.cli.ctl.kv:list_", "List keys."),
        "get": ("flowtide.cli.ctl.kv:get", "Write the value of a key."),
        "set": ("flowtide.cli.ctl.kv:set_", "Set a key, new or not."),
        "update": ("flowtide.cli.ctl.kv:update", "Set a key that is there."),
        "delete": ("flowtide.cli.ctl.kv:delete", "Delete keys."),
    },
    aliases={"ls": "list", "rm": "delete"},
)
def kv() -> None:
    """Pairs of a namespace."""


def _value_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("-e", "--expiration", help="How long it stays: 30m, 1d, 2h30m or P1D. Without it, it stays."),
        click.option(
            "--type", "kind", type=click.Choice(TYPES, case_sensitive=False),
            help="Type of the value. Without it, the type that the value looks like.",
        ),
        click.option(
            "-f", "--file-value", type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Take the value from this file.",
        ),
    ):  # fmt: skip  # a table
        command = option(command)
    return command


@click.command()
@click.argument("namespace", required=False)
@with_session
def list_(session: Session, namespace: str | None) -> None:
    """List the keys of NAMESPACE, or of all namespaces."""
    client = session.client
    query = {} if namespace is None else {"filters[namespace][EQUALS]": namespace}
    found = list(client.pages(client.path("kv"), query))
    session.write(found, _COLUMNS, nothing="there are no pairs")


@click.command()
@click.argument("namespace")
@click.argument("key")
@with_session
def get(session: Session, namespace: str, key: str) -> None:
    """Write the value of KEY in NAMESPACE; as JSON with its type."""
    client = session.client
    found = client.get(client.path("namespaces", namespace, "kv", key))
    if session.output == "json":
        session.write_one(found, {})
    else:
        value = found["value"]
        click.echo(value if isinstance(value, str) else cell(found, "value"))


@click.command("set")
@_value_options
@click.argument("namespace")
@click.argument("key")
@click.argument("value", required=False)
@with_session
def set_(
    session: Session,
    namespace: str,
    key: str,
    value: str | None,
    expiration: str | None,
    kind: str | None,
    file_value: Path | None,
) -> None:
    """Set KEY in NAMESPACE to VALUE, whether it is there or not."""
    _put(session, namespace, key, text_of(value, file_value), expiration, kind)


@click.command()
@_value_options
@click.argument("namespace")
@click.argument("key")
@click.argument("value", required=False)
@with_session
def update(
    session: Session,
    namespace: str,
    key: str,
    value: str | None,
    expiration: str | None,
    kind: str | None,
    file_value: Path | None,
) -> None:
    """Set KEY in NAMESPACE, which must be there, to VALUE."""
    text = text_of(value, file_value)
    session.client.get(session.client.path("namespaces", namespace, "kv", key))
    _put(session, namespace, key, text, expiration, kind)


@click.command()
@click.argument("namespace")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@with_session
def delete(session: Session, namespace: str, keys: tuple[str, ...]) -> int:
    """Delete KEYs of NAMESPACE. The exit code is 1 when one was not there."""
    from flowtide.cli.bulk import attempt
    from flowtide.cli.client import ServerRefused

    def one(key: str) -> None:
        client = session.client
        if not client.send("DELETE", client.path("namespaces", namespace, "kv", key)):
            raise ServerRefused(f"there is no such key in {namespace}", status=404)
        click.echo(f"{key} of {namespace} is deleted")

    return 1 if attempt(list(keys), "delete", one, name=str, fail_fast=False) else 0


def _put(
    session: Session, namespace: str, key: str, text: str, expiration: str | None, kind: str | None
) -> None:
    put_pair(session.client, namespace, key, body_of(text, kind), expiration=expiration)
    click.echo(f"{key} of {namespace} is set")
