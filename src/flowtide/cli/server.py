"""`flowtide server ...`: options in, a running process out (CLI-4 to CLI-10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowtide.cli.analytics import analytics
from flowtide.cli.options import Command, Invocation, common_options
from flowtide.cli.script_runner import ScriptRunner, script_runner_option, with_script_runner

if TYPE_CHECKING:
    from flowtide.services.process import Process
    from flowtide.settings import Settings

_ALL = ("WEBSERVER", "EXECUTOR", "WORKER", "SCHEDULER", "INDEXER")
_LOCAL = {"queue.type": "embedded", "repository.type": "embedded", "storage.type": "local"}


@click.group()
def server() -> None:
    """Start services: `standalone` has all of them in one process, the others are one each.

    Services of several processes meet on Kafka (`queue.type: kafka`) and Elasticsearch.
    """


def _server_options(command: Command) -> Command:
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    command = click.option(
        "-f", "--flow-path", type=folder, help="Save the flows of this folder before anything else."
    )(command)
    return click.option(
        "--port", type=click.IntRange(0, 65_535), help="Port of the API, 8080 by default; 0 takes a free one."
    )(command)


def _worker_options(name: str) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        command = click.option(
            "-g", "--worker-group", help="The worker group that this worker takes jobs of."
        )(command)
        return click.option(
            *(("-t", "--thread") if name == "--thread" else (name,)),
            "threads",
            type=click.IntRange(1, 100_000),
            help="Jobs that run at the same time, 8 for each core by default.",
        )(command)

    return add


def _skip_options(command: Command) -> Command:
    """Recovery switches (CLI-7, UPG-4)."""
    told = "may be given again, or with commas."
    for option in (
        click.option("--skip-tenants", multiple=True, metavar="TENANT", help=f"All of this tenant; {told}"),
        click.option(
            "--skip-namespaces", multiple=True, metavar="[TENANT|]NAMESPACE", help=f"All of this namespace; {told}"
        ),
        click.option(
            "--skip-flows", multiple=True, metavar="[TENANT|]NAMESPACE|FLOW", help=f"All of this flow; {told}"
        ),
        click.option(
            "--skip-executions", "--ignore-executions", "skip_executions", multiple=True, metavar="ID",
            help=f"Pass over what is asked of this execution, which stays as it is; {told}",
        ),
    ):  # fmt: skip  # a table
        command = option(command)
    return command


def _tutorial_option(command: Command) -> Command:
    return click.option("--no-tutorials", is_flag=True, help="Install no tutorial flows.")(command)


@server.command()
@_server_options
@_worker_options("--worker-thread")
@script_runner_option
@_tutorial_option
@_skip_options
@common_options
def standalone(invocation: Invocation, no_tutorials: bool, **given: Any) -> None:
    """All services in one process.

    By default on an embedded log and index, without any other program.
    """
    _serve(invocation, _ALL, given, _tutorials(no_tutorials))


@server.command()
@_server_options
@_worker_options("--worker-thread")
@script_runner_option
@_tutorial_option
@common_options
def local(invocation: Invocation, no_tutorials: bool, **given: Any) -> None:
    """Like standalone, always embedded.

    Log, index and files are those of this machine, whatever the settings say.
    """
    _serve(invocation, _ALL, given, {**_LOCAL, **_tutorials(no_tutorials)})


@server.command()
@_server_options
@click.option("--no-indexer", is_flag=True, help="Leave indexing to processes of their own.")
@_tutorial_option
@common_options
def webserver(invocation: Invocation, no_indexer: bool, no_tutorials: bool, **given: Any) -> None:
    """The API, and an indexer beside it unless `--no-indexer`."""
    services = ("WEBSERVER",) if no_indexer else ("WEBSERVER", "INDEXER")
    _serve(invocation, services, given, _tutorials(no_tutorials))


@server.command()
@_server_options
@_skip_options
@common_options
def executor(invocation: Invocation, **given: Any) -> None:
    """Decides what happens to executions.

    It also keeps what is saved, and watches over the workers.
    """
    _serve(invocation, ("EXECUTOR",), given)


@server.command()
@_server_options
@_worker_options("--thread")
@common_options
def worker(invocation: Invocation, **given: Any) -> None:
    """Runs tasks."""
    _serve(invocation, ("WORKER",), given)


@server.command()
@_server_options
@common_options
def scheduler(invocation: Invocation, **given: Any) -> None:
    """Fires schedules."""
    _serve(invocation, ("SCHEDULER",), given)


@server.command()
@_server_options
@common_options
def indexer(invocation: Invocation, **given: Any) -> None:
    """Copies what happens to the search index."""
    _serve(invocation, ("INDEXER",), given)


server.add_command(analytics)


def _tutorials(without: bool) -> dict[str, Any]:
    return {"tutorial-flows.enabled": "false"} if without else {}


def _serve(
    invocation: Invocation,
    names: tuple[str, ...],
    given: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Load settings, start the services, and serve until told to stop.  Raises FlowtideError, OSError."""
    overrides = {
        "server.port": given["port"],
        "worker.threads": given.get("threads"),
        "worker.group": given.get("worker_group"),
        **(more or {}),
    }
    settings = invocation.settings(overrides)
    settings, about_scripts = with_script_runner(settings, ScriptRunner(given.get("script_runner", "docker")))

    import structlog

    from flowtide.cli.event_loop import run_loop
    from flowtide.cli.recovery_switches import recovery_switches
    from flowtide.cli.web import web_application
    from flowtide.model.services import ServiceType
    from flowtide.services.process import Process
    from flowtide.settings import QueueType

    switches = recovery_switches(given)

    async def serve() -> None:
        process = Process(
            settings,
            [ServiceType(name) for name in names],
            web_application=web_application,
            management=True,
            standing_switches=switches,
        )
        invocation.configure_logging(settings, metrics=process.metrics)
        logger = structlog.get_logger(__name__)
        for warning in settings.warnings:
            logger.warning(warning)
        if about_scripts is not None:
            logger.warning(about_scripts)
        for name in switches:
            logger.warning("what is asked of some executions is passed over, which stay as they are", by=name)
        if settings.queue.type is QueueType.EMBEDDED and set(names) != set(_ALL):
            logger.warning(
                "the embedded log belongs to one process, so no other service can work with this one; "
                "set queue.type to kafka, or start `flowtide server standalone`"
            )
        telling = asyncio.create_task(_when_ready(process, settings, given["flow_path"]))
        telling.add_done_callback(lambda task: _end_on_failure(process, task))
        try:
            await process.run()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    run_loop(serve())


def _end_on_failure(process: Process, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        process.fail(error)


async def _when_ready(process: Process, settings: Settings, flow_path: Path | None) -> None:
    """Save the flows of the folder, then say that the server is ready and how to reach it."""
    import structlog

    await process.ready.wait()
    logger = structlog.get_logger(__name__)
    if flow_path is not None:
        await _load(process, flow_path)
    for file in settings.delete_files():
        logger.info("the file of settings was removed, as it asks itself", file=str(file))
    for line in _banner(process, settings):
        click.echo(line)


async def _load(process: Process, folder: Path) -> None:
    import structlog

    from flowtide.cli.flow_folder import load_flows
    from flowtide.services.saving import ResourceClient

    surroundings = process.surroundings
    client = ResourceClient(
        process.log,
        process.catalog,
        instance=f"{surroundings.host}-{settings_port(process)}-flow-path",
        clock=surroundings.clock,
        ids=surroundings.ids,
    )
    await client.start()
    try:
        loaded = await load_flows(
            folder, tenant="main", read=process.read_flow, catalog=process.catalog, client=client
        )
    finally:
        await client.close()
    structlog.get_logger(__name__).info(
        "flows loaded", folder=str(folder), saved=loaded.saved, unchanged=loaded.same, refused=loaded.refused
    )


def settings_port(process: Process) -> int:
    """The management port, which tells processes of one machine apart."""
    return process.settings.management.port


def _banner(process: Process, settings: Settings) -> list[str]:
    """What a person needs to go on: addresses, how long the start took, how to log in."""
    import time

    import psutil

    from flowtide import __version__
    from flowtide.model.services import ServiceType

    seconds = time.time() - psutil.Process().create_time()
    what = "standalone" if len(process.services) == len(_ALL) else ", ".join(sorted(process.services)).lower()
    lines = []
    web = process.parts.get("webserver")
    address = ""
    if ServiceType.WEBSERVER in process.services and web is not None:
        path = settings.server.context_path.strip("/")
        address = f"http://localhost:{web.port}/{path}".rstrip("/")
    where = f" on {address}" if address else ""
    lines.append(f"Flowtide {__version__} ({what}) is ready{where} after {seconds:.1f} s")
    management = process.parts.get("management")
    if management is not None:
        lines.append(f"  health and metrics: http://localhost:{management.port}/health and /prometheus")
    if address:
        lines.extend(_login_lines(process, settings, address))
    return lines


def _login_lines(process: Process, settings: Settings, address: str) -> list[str]:
    from flowtide.api.setup import SavedCredentials
    from flowtide.index.kinds import SYSTEM_TENANT
    from flowtide.model.resources import ResourceKind

    configured = settings.server.basic_auth
    if configured.username and configured.password:
        return [f"  log in as {configured.username} with the password of the settings"]
    root = settings.security
    if root.superadmin_username and root.superadmin_password:
        return [f"  log in as {root.superadmin_username} with the password of the settings"]
    stored = SavedCredentials(process.catalog, process.client).load()
    if stored is not None:
        return [f"  log in as {stored.username}"]
    users = sum(1 for _ in process.catalog.list(ResourceKind.USER, SYSTEM_TENANT))
    if users:
        return [
            f"  log in as {'the user' if users == 1 else f'one of the {users} users'} of this installation"
        ]
    return [
        "  no login yet; choose one (8 characters or more, with a capital letter, a small one and a digit):",
        f"  curl {address}/api/v1/main/basicAuth -H 'Content-Type: application/json' \\",
        '    -d \'{"username": "you@example.com", "password": "Choose1Password"}\'',
    ]
