"""`scripts.runner.docker.Docker`: the default runner of script tasks (C §20, page 374).

A command comes in, a container runs it, lines and files come out.  The container is removed at the end, however the
end comes about; the one of a worker that died is removed by the next (see `orphans`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.durations import parse_duration
from flowtide.model.runner import OutputStream, Runner, RunnerCommand, RunnerResult
from flowtide.model.task import RunContext
from flowtide.plugins.runners.docker import files
from flowtide.plugins.runners.docker.description import container_name, describe
from flowtide.plugins.runners.docker.engine import check_library, engine
from flowtide.plugins.runners.docker.images import ensure_image, login_of_config, login_of_credentials
from flowtide.plugins.runners.docker.orphans import remove, remove_orphans
from flowtide.plugins.runners.docker.properties import Cpu, Credentials, DeviceRequest, Memory, truth
from flowtide.plugins.runners.lines import LineSplitter

if TYPE_CHECKING:
    from aiodocker import Docker as Client
    from aiodocker.containers import DockerContainer
    from aiodocker.stream import Stream

_TYPE: Final = "io.kestra.plugin.scripts.runner.docker.Docker"
_STREAMS: Final[Mapping[int, OutputStream]] = {1: "stdout", 2: "stderr"}
_CLEANUP: Final[set[asyncio.Task[None]]] = set()  # the loop itself keeps tasks weakly only


class Docker(Runner):
    """Run in a container of its own, in any Docker-compatible engine."""

    title: ClassVar[str] = "Run in a Docker container"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",)
    starts_containers: ClassVar[bool] = True
    example: ClassVar[str] = """\
id: docker
namespace: company.team
tasks:
  - id: shell
    type: io.kestra.plugin.scripts.shell.Commands
    containerImage: ubuntu
    taskRunner:
      type: io.kestra.plugin.scripts.runner.docker.Docker
      cpu:
        cpus: 1
      memory:
        memory: 512Mi
    commands:
      - echo "Hello World!"
"""

    host: Annotated[
        str | None,
        Field(title="The address of the engine", description="By default DOCKER_HOST or the socket."),
    ] = None
    config: Annotated[
        str | dict[str, Any] | None,
        Field(title="Docker's configuration file", description="Text or mapping; its logins are used."),
    ] = None
    credentials: Annotated[Credentials | None, Field(title="Login to a private registry")] = None
    user: Annotated[str | None, Field(title="The user inside the container")] = None
    entry_point: Annotated[
        list[str] | None,
        Field(title="The entry point", description="By default none, whatever the image says."),
    ] = None
    extra_hosts: Annotated[list[str] | None, Field(title="More host names, as name:address")] = None
    network_mode: Annotated[str | None, Field(title="The network, such as `host`")] = None
    port_bindings: Annotated[
        list[str] | None,
        Field(title="Ports that are published", description="As host:container, such as 8080:80."),
    ] = None
    volumes: Annotated[
        list[str] | None,
        Field(
            title="Folders of the host",
            description="As host:container; refused unless the configuration of this plugin has volume-enabled.",
        ),
    ] = None
    pull_policy: Annotated[
        str, Field(title="When the image is fetched", description="ALWAYS, IF_NOT_PRESENT or NEVER.")
    ] = "IF_NOT_PRESENT"
    device_requests: Annotated[list[DeviceRequest] | None, Field(title="Devices of the host")] = None
    cpu: Annotated[Cpu | None, Field(title="Limit of processor time")] = None
    memory: Annotated[Memory | None, Field(title="Limits of memory")] = None
    shm_size: Annotated[str | None, Field(title="Size of /dev/shm", description="Such as 64MB.")] = None
    privileged: Annotated[bool | str | None, Field(title="Whether the container may do everything")] = None
    cap_add: Annotated[list[str] | None, Field(title="Capabilities that it gets")] = None
    cap_drop: Annotated[list[str] | None, Field(title="Capabilities that it loses")] = None
    file_handling_strategy: Annotated[
        str,
        Field(
            title="How files reach the container",
            description="VOLUME copies them in and back; MOUNT shares the folder with an engine on this host.",
        ),
    ] = "VOLUME"
    delete: Annotated[bool | str, Field(title="Whether the container is removed at the end")] = True
    kill_grace_period: Annotated[
        str | None,
        Field(
            title="How long a kill waits",
            description="ISO-8601, between the image's stop signal and SIGKILL; by default SIGKILL at once.",
        ),
    ] = None
    wait: Annotated[
        bool | str,
        Field(
            title="Whether the task waits for the end", description="If not, it gives no files and no lines."
        ),
    ] = True

    async def check(self, context: RunContext) -> None:
        """Raises TaskFailed when the client library is not installed, or no engine answers."""
        await asyncio.to_thread(check_library)
        host = None if self.host is None else str(await context.evaluate(self.host, typed=False))
        async with engine(host) as client:
            await client.version()

    async def run(
        self, command: RunnerCommand, context: RunContext, on_line: Callable[[OutputStream, str], None]
    ) -> RunnerResult:
        """Run to the end in a container; the container ends when this is cancelled."""
        given = await context.evaluate(
            self.model_dump(by_alias=True, exclude={"type"}, exclude_none=True), typed=False
        )
        image = command.container_image
        if not image:
            raise TaskFailed("This task runner needs the `containerImage` property to be set")
        if given.get("volumes") and not truth(context.plugin_configuration("volumeEnabled", type_name=_TYPE)):
            raise TaskFailed(
                "property `taskRunner.volumes`: the operator has not allowed folders of the host; that takes "
                f"`plugins.configurations: [{{type: {_TYPE}, values: {{volume-enabled: true}}}}]` in the "
                "settings of the workers"
            )
        waits = truth(given["wait"])
        description = await asyncio.to_thread(describe, given, command, image=image, detached=not waits)
        grace = _grace(given.get("killGracePeriod"))
        async with engine(given.get("host")) as client:
            await remove_orphans(
                client,
                execution_id=context.execution_id,
                task_run_id=context.task_run_id,
                lines=context.logger,
            )
            await ensure_image(
                client, image, policy=given["pullPolicy"], login=_login(given, image), lines=context.logger
            )
            creating = asyncio.ensure_future(
                client.containers.create(description, name=container_name(command.labels))
            )
            try:
                container = await asyncio.shield(creating)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    await remove(client, (await creating).id)
                raise
            ended = False
            try:
                code = await _run(client, container, command, context, on_line, given=given, waits=waits)
                ended = True
            finally:
                if waits or not ended:
                    await _finally(
                        client, container.id, delete=truth(given["delete"]), ended=ended, grace=grace
                    )
        return RunnerResult(exit_code=code, outputs={"containerId": container.id})


async def _run(
    client: Client,
    container: DockerContainer,
    command: RunnerCommand,
    context: RunContext,
    on_line: Callable[[OutputStream, str], None],
    *,
    given: Mapping[str, Any],
    waits: bool,
) -> int:
    directory = command.working_directory
    copies = given["fileHandlingStrategy"] == "VOLUME"
    sent = await files.send(container, directory, command.folders) if copies else set()
    lines = context.logger
    lines.debug("Starting the container {} of the image {}", container.id[:12], command.container_image)
    if not waits:
        await container.start()
        return 0
    # Attached before it starts, so that no line is missed.
    async with container.attach(stdout=True, stderr=True) as stream:
        await container.start()
        await _read(stream, context, on_line)
    code = int((await container.wait())["StatusCode"])
    state = (await container.show())["State"]
    if state.get("OOMKilled"):
        lines.error("The container was ended because it used more memory than it may")
    if copies:
        await files.fetch(client, container, directory, sent=sent, lines=lines)
    return code


async def _read(stream: Stream, context: RunContext, on_line: Callable[[OutputStream, str], None]) -> None:
    """Hand the lines on; a printed line may come in many chunks, and chunks of two streams between each other."""
    splitters = {name: LineSplitter() for name in _STREAMS.values()}
    while (message := await stream.read_out()) is not None:
        name = _STREAMS.get(message.stream, "stdout")
        for line in splitters[name].feed(message.data):
            on_line(name, line)
        await context.drain()
        await asyncio.sleep(0)  # a container that writes without end must not have the loop for itself
    for name, splitter in splitters.items():
        for line in splitter.flush():
            on_line(name, line)


async def _finally(
    client: Client, container_id: str, *, delete: bool, ended: bool, grace: timedelta | None
) -> None:
    """End and remove the container, whoever cancels meanwhile."""

    async def clean() -> None:
        from aiodocker import DockerError

        container = client.containers.container(container_id)
        with contextlib.suppress(DockerError):
            if not ended and grace is not None:
                await container.stop(t=max(1, round(grace.total_seconds())))
            elif not ended and not delete:
                await container.kill()
        if delete:
            await remove(client, container_id)

    cleaning = asyncio.ensure_future(clean())
    _CLEANUP.add(cleaning)
    cleaning.add_done_callback(_CLEANUP.discard)
    while not cleaning.done():
        try:
            await asyncio.shield(cleaning)
        except asyncio.CancelledError:
            if cleaning.cancelled():
                raise


def _grace(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        grace = parse_duration(text)
    except ValueError as error:
        raise TaskFailed(f"property `taskRunner.killGracePeriod`: {error}") from None
    return grace if grace > timedelta(0) else None


def _login(given: Mapping[str, Any], image: str) -> dict[str, str] | None:
    if given.get("credentials"):
        return login_of_credentials(given["credentials"], image)
    if given.get("config"):
        return login_of_config(given["config"], image)
    return None
