"""`flowtidectl namespaces ...`: the namespaces of a server (CTL-4)."""

from __future__ import annotations

import click

from flowtide.cli.ctl.options import Session, with_session
from flowtide.cli.lazy import LazyGroup

_COLUMNS = {"NAMESPACE": "id", "DESCRIPTION": "description"}


@click.group(
    cls=LazyGroup,
    table={"list": ("flowtide.cli.ctl.namespaces:list_", "List namespaces, all or some.")},
    aliases={"ls": "list", "filter": "list"},
)
def namespaces() -> None:
    """Namespaces of a server."""


@click.command()
@click.option("-q", "--query", help="Only those that have this in their name; the same as TEXT.")
@click.argument("text", required=False)
@with_session
def list_(session: Session, query: str | None, text: str | None) -> None:
    """List the namespaces, or those that have TEXT in their name."""
    client = session.client
    found = list(client.pages(client.path("namespaces", "search"), {"q": query or text, "sort": "id:asc"}))
    session.write(found, _COLUMNS, nothing="there are no such namespaces")
