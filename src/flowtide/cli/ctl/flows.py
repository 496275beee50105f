"""`flowtidectl flows ...`: flows of a server, listed, shown, deployed from files and checked (CTL-4, CTL-5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flowtide.cli.ctl.options import Session, with_session
from flowtide.cli.flow_listing import COLUMNS, within
from flowtide.cli.lazy import LazyGroup

_DEPLOYED = {"NAMESPACE": "namespace", "ID": "id", "REVISION": "revision", "RESULT": "result"}

_PATHS = click.Path(exists=True, path_type=Path)


@click.group(
    cls=LazyGroup,
    table={
        "list": ("flowtide.cli.ctl.flows:list_", "List flows."),
        "get": ("flowtide.cli.ctl.flows:get", "Write a flow as it was written."),
        "deploy": ("flowtide.cli.ctl.flows:deploy", "Save flows of files and folders."),
        "validate": ("flowtide.cli.ctl.flows:validate", "Check flows, without saving them."),
        "delete": ("flowtide.cli.ctl.flows:delete", "Delete a flow."),
    },
    aliases={"ls": "list", "show": "get", "describe": "get", "create": "deploy", "apply": "deploy"},
)
def flows() -> None:
    """Flows of a server."""


@click.command()
@click.argument("namespace", required=False)
@with_session
def list_(session: Session, namespace: str | None) -> None:
    """List the flows of NAMESPACE and of those below it, or all flows."""
    client = session.client
    found = client.pages(client.path("flows", "search"), {**within(namespace), "sort": "id:asc"})
    session.write(
        sorted(found, key=lambda each: (each["namespace"], each["id"])), COLUMNS, nothing="there are no flows"
    )


@click.command()
@click.option("--revision", type=click.IntRange(1), help="An older revision.")
@click.argument("namespace")
@click.argument("flow_id", metavar="ID")
@with_session
def get(session: Session, namespace: str, flow_id: str, revision: int | None) -> None:
    """Write the flow ID of NAMESPACE: its source, or all that is known of it as JSON."""
    query = {"source": True, "revision": revision}
    found = session.client.get(session.client.path("flows", namespace, flow_id), query)
    if session.output == "json":
        session.write_one(found, {})
    else:
        click.echo(found["source"], nl=not found["source"].endswith("\n"))


@click.command()
@click.option("--namespace", help="Save all flows in this namespace, whatever they say themselves.")
@click.option("--override", is_flag=True, help="Save the next revision of flows that are there.")
@click.option("--fail-fast", is_flag=True, help="End with the first flow that cannot be saved.")
@click.argument("paths", nargs=-1, required=True, type=_PATHS)
@with_session
def deploy(
    session: Session, paths: tuple[Path, ...], namespace: str | None, override: bool, fail_fast: bool
) -> int:
    """Save the flows in PATHS, files or folders. Nothing is deleted.

    Exit codes: 0 all are saved, 1 at least one is not; flows that are there need --override.
    """
    from flowtide.cli.bulk import attempt
    from flowtide.cli.flow_folder import flow_files, source_of
    from flowtide.cli.flow_saving import in_namespace

    files = [file for path in paths for file in flow_files(path)]
    if not files:
        raise click.UsageError(f"there are no .yml or .yaml files in {', '.join(map(str, paths))}")
    rows: list[dict[str, Any]] = []

    def save(file: Path) -> None:
        source = source_of(file)
        if namespace is not None:
            source = in_namespace(source, namespace)
        rows.append(_saved(session, file, source, override=override))

    failed = attempt(files, "deploy", save, name=str, fail_fast=fail_fast)
    session.write(rows, _DEPLOYED, nothing="nothing was saved")
    return 1 if failed else 0


@click.command()
@click.argument("paths", nargs=-1, required=True, type=_PATHS)
@with_session
def validate(session: Session, paths: tuple[Path, ...]) -> int:
    """Check the flows in PATHS, files or folders, on the server.

    Exit codes: 0 all are valid, 1 at least one is not.
    """
    from flowtide.cli.flow_checks import validate_remotely
    from flowtide.cli.flow_folder import flow_files

    files = [file for path in paths for file in flow_files(path)]
    if not files:
        raise click.UsageError(f"there are no .yml or .yaml files in {', '.join(map(str, paths))}")
    found = validate_remotely(session.client, files)
    wrong = sum(1 for lines in found.values() if lines)
    if session.output == "json":
        rows = [{"file": str(file), "valid": not lines, "problems": lines} for file, lines in found.items()]
        session.write(rows, {}, nothing="")
    else:
        for lines in found.values():
            for line in lines:
                click.echo(line)
        click.echo(f"{wrong} of {len(found)} not valid" if wrong else f"{len(found)} valid", err=True)
    return 1 if wrong else 0


@click.command()
@click.argument("namespace")
@click.argument("flow_id", metavar="ID")
@with_session
def delete(session: Session, namespace: str, flow_id: str) -> None:
    """Delete the flow ID of NAMESPACE; its executions stay."""
    session.client.send("DELETE", session.client.path("flows", namespace, flow_id))
    click.echo(f"{namespace}.{flow_id} is deleted")


def _saved(session: Session, file: Path, source: str, *, override: bool) -> dict[str, Any]:
    """Save one flow; gives the row about it.  Raises ServerRefused."""
    from flowtide.cli.client import YAML, ServerRefused

    client, body = session.client, source.encode()
    if override:
        namespace, flow_id = _name_of(file, source)
        path = client.path("flows", namespace, flow_id)
        try:
            saved = client.send("PUT", path, body=body, content_type=YAML)
            return {**saved, "file": str(file), "result": "updated"}
        except ServerRefused as error:
            if error.status not in (403, 404):  # not there, or who asks may only make new ones
                raise
    saved = client.send("POST", client.path("flows"), body=body, content_type=YAML)
    return {**saved, "file": str(file), "result": "created"}


def _name_of(file: Path, source: str) -> tuple[str, str]:
    """Namespace and id of a flow's source.  Raises ServerRefused, as the server would."""
    import yaml

    from flowtide.cli.client import ServerRefused

    try:
        document = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe ones
    except (yaml.YAMLError, ValueError) as error:
        raise ServerRefused(f"this is no YAML: {error}", status=422) from None
    names = [document.get(each) for each in ("namespace", "id")] if isinstance(document, dict) else []
    if len(names) < 2 or not all(isinstance(each, str) and each for each in names):
        raise ServerRefused("a flow needs an `id` and a `namespace`", status=422)
    return str(names[0]), str(names[1])
