"""`flowtidectl executions ...`: flows run, and what became of them (CTL-4, CTL-5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flowtide.cli.ctl.options import Session, with_session
from flowtide.cli.lazy import LazyGroup

COLUMNS = {
    "ID": "id",
    "NAMESPACE": "namespace",
    "FLOW": "flowId",
    "REVISION": "flowRevision",
    "STATE": "state.current",
    "STARTED": "state.startDate",
    "DURATION": "state.duration",
}
_RUNS = {
    "TASK": "taskId",
    "VALUE": "value",
    "STATE": "state.current",
    "STARTED": "state.startDate",
    "DURATION": "state.duration",
}
_URIS = ("kestra:///", "nsfile://", "file:///")


@click.group(
    cls=LazyGroup,
    table={
        "run": ("flowtide.cli.ctl.executions:run", "Run a flow, and wait for its end if asked to."),
        "get": ("flowtide.cli.ctl.executions:get", "Show an execution and its task runs."),
        "list": ("flowtide.cli.ctl.executions:list_", "List executions, the latest first."),
        "logs": ("flowtide.cli.ctl.executions:logs", "Write the log of an execution."),
        "kill": ("flowtide.cli.ctl.executions:kill", "Kill executions."),
        "kill-running": ("flowtide.cli.ctl.executions:kill_running", "Kill all executions that run."),
    },
    aliases={
        "trigger": "run", "execute": "run", "inspect": "get", "show": "get", "describe": "get", "ls": "list",
    },
)  # fmt: skip  # a table
def executions() -> None:
    """Executions of flows."""


@click.command()
@click.option(
    "--wait", is_flag=True, help="Wait for the end, which the exit code tells: see `flowtidectl -h`."
)
@click.option(
    "--timeout",
    metavar="DURATION",
    help="With --wait: how long, as 90s, 5m or PT5M; then the exit code is 4.",
)
@click.option(
    "-i", "--input", "--inputs", "inputs", multiple=True, metavar="NAME=VALUE",
    help="An input; may be given again. NAME=@FILE reads the value from a file; for FILE inputs give a path.",
)  # fmt: skip  # a table
@click.option(
    "-l", "--label", "labels", multiple=True, metavar="KEY:VALUE", help="A label; may be given again."
)
@click.option("--revision", type=click.IntRange(1), help="An older revision of the flow.")
@click.argument("namespace")
@click.argument("flow_id", metavar="FLOW")
@with_session
def run(
    session: Session,
    namespace: str,
    flow_id: str,
    wait: bool,
    timeout: str | None,
    inputs: Sequence[str],
    labels: Sequence[str],
    revision: int | None,
) -> int:
    """Run the FLOW of NAMESPACE, and write what is known of the execution.

    With --wait, task runs that ended are told on standard error meanwhile. An interrupt ends the waiting, not the
    execution.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait")
    limit = None if timeout is None else _seconds(timeout)
    client = session.client
    query = {"labels": [_label(each) for each in labels], "revision": revision}
    path = client.path("executions", namespace, flow_id)
    execution = client.send("POST", path, query=query, body=_form(session, namespace, flow_id, inputs))
    if not wait:
        session.write_one(execution, COLUMNS)
        return 0
    return _waited(session, execution, limit)


@click.command()
@click.argument("execution_id", metavar="ID")
@with_session
def get(session: Session, execution_id: str) -> None:
    """Show the execution ID and its task runs."""
    found = session.client.get(session.client.path("executions", execution_id))
    session.write_one(found, COLUMNS)
    if session.output != "json":
        click.echo()
        session.write(found.get("taskRunList") or [], _RUNS, nothing="there are no task runs yet")


@click.command()
@click.option("--namespace", help="Only those of flows of this namespace and those below it.")
@click.option("--flow", "flow_id", help="Only those of this flow.")
@click.option("--state", "states", multiple=True, help="Only those in this state; may be given again.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=25, show_default=True, help="How many at most."
)
@with_session
def list_(
    session: Session, namespace: str | None, flow_id: str | None, states: Sequence[str], limit: int
) -> None:
    """List executions, the latest first."""
    client = session.client
    query = {**_filters(namespace, flow_id, states), "sort": "state.startDate:desc", "page": 1, "size": limit}
    found = client.get(client.path("executions", "search"), query)["results"]
    session.write(found, COLUMNS, nothing="there are no such executions")


@click.command()
@click.option("--follow", is_flag=True, help="Go on until the execution has ended.")
@click.option("--level", default="TRACE", show_default=True, help="Leave out lines of lower levels.")
@click.argument("execution_id", metavar="ID")
@with_session
def logs(session: Session, execution_id: str, follow: bool, level: str) -> None:
    """Write the log of the execution ID."""
    client = session.client
    query = {"minLevel": level.upper()}
    if follow:
        for _, line in client.events(
            client.path("logs", execution_id, "follow") + f"?minLevel={level.upper()}"
        ):
            if isinstance(line, dict) and "message" in line:
                _write_line(session, line)
        return
    found = client.get(client.path("logs", execution_id), query)
    if session.output == "json":
        session.write(found, {}, nothing="")
        return
    for line in found:
        _write_line(session, line)


@click.command()
@click.argument("execution_ids", metavar="ID...", nargs=-1, required=True)
@with_session
def kill(session: Session, execution_ids: Sequence[str]) -> int:
    """Kill the executions of these IDs."""
    from flowtide.cli.bulk import attempt

    def one(execution_id: str) -> None:
        session.client.send("DELETE", session.client.path("executions", execution_id, "kill"))
        click.echo(f"{execution_id} is being killed")

    return 1 if attempt(list(execution_ids), "kill", one, name=str, fail_fast=False) else 0


@click.command("kill-running")
@click.option("--namespace", help="Only those of flows of this namespace and those below it.")
@click.option("--flow", "flow_id", help="Only those of this flow.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def kill_running(session: Session, namespace: str | None, flow_id: str | None, yes: bool) -> None:
    """Kill all executions that run."""
    if not yes:
        click.confirm(f"Kill all running executions of {namespace or 'all namespaces'}?", abort=True)
    client = session.client
    query = _filters(namespace, flow_id, ["RUNNING"])
    answer = client.send("DELETE", client.path("executions", "kill", "by-query"), query=query)
    count = answer["count"]
    click.echo(f"{count} {'execution is' if count == 1 else 'executions are'} being killed")


def _waited(session: Session, execution: Mapping[str, Any], limit: float | None) -> int:
    from flowtide.cli.ctl.following import NOT_ENDED, display, exit_code, state_of, wait_for

    shown = display()
    try:
        ended = wait_for(session.client, execution["id"], shown, seconds=limit)
    except KeyboardInterrupt:
        shown.close()
        click.echo(f"{execution['id']} goes on; see `flowtidectl executions get {execution['id']}`", err=True)
        raise click.Abort from None
    finally:
        shown.close()
    session.write_one(
        ended or session.client.get(session.client.path("executions", execution["id"])), COLUMNS
    )
    if ended is None:
        click.echo(f"{execution['id']} had not ended after {limit:g} s and goes on", err=True)
        return NOT_ENDED
    return exit_code(state_of(ended))


def _form(session: Session, namespace: str, flow_id: str, inputs: Sequence[str]) -> Any:
    """The inputs as a form; files of FILE inputs are sent along.  Raises click.UsageError, ServerRefused, OSError."""
    from flowtide.cli.client import Form

    form = Form()
    if not inputs:
        form.text("_", "")  # a form needs a part
        return form
    client = session.client
    flow = client.get(client.path("executions", "flows", namespace, flow_id))
    files = {each["id"] for each in flow.get("inputs") or () if each.get("type") == "FILE"}
    for pair in inputs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"`{pair}` is no input; write it as name=value")
        if name in files and not value.startswith(_URIS):
            path = Path(value.removeprefix("@")).expanduser()
            if not path.is_file():
                raise click.UsageError(f"the input `{name}` is a file, and there is no file {path}")
            form.file(name, path)
        else:
            form.text(name, Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value)
    return form


def _filters(namespace: str | None, flow_id: str | None, states: Sequence[str]) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if namespace is not None:
        query["filters[namespace][PREFIX]"] = namespace
    if flow_id is not None:
        query["filters[flowId][EQUALS]"] = flow_id
    if states:
        query["filters[state][IN]"] = ",".join(each.upper() for each in states)
    return query


def _label(text: str) -> str:
    separator = ":" if ":" in text else "="
    key, found, value = text.partition(separator)
    if not found or not key:
        raise click.UsageError(f"`{text}` is no label; write it as key:value")
    return f"{key}:{value}"


def _write_line(session: Session, line: Mapping[str, Any]) -> None:
    import json

    if session.output == "json":
        click.echo(json.dumps(line, ensure_ascii=False))
        return
    task = line.get("taskId") or line.get("flowId", "")
    click.echo(f"{line.get('timestamp', '')} {line.get('level', ''):<5} {task} {line.get('message', '')}")


def _seconds(text: str) -> float:
    from flowtide.cli.pairs import seconds

    return float(text) if text.replace(".", "", 1).isdigit() else seconds(text)
