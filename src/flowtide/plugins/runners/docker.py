"""`scripts.runner.docker.Docker`: the default runner of script tasks (C §20); this version has no container engine.

Its properties are validated as they are on the pages; running says what to do instead, and nothing else is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.plugin import Part
from flowtide.model.runner import OutputStream, Runner, RunnerCommand
from flowtide.model.task import RunContext


class Cpu(Part):
    """Processor time of the container."""

    cpus: float | str


class Memory(Part):
    """Memory of the container; sizes such as `512MB` or `512Mi`."""

    memory: str | None = None
    memory_swap: str | None = None
    memory_swappiness: int | str | None = None
    memory_reservation: str | None = None
    kernel_memory: str | None = None
    oom_kill_disable: bool | None = None


class Credentials(Part):
    """How to log in to the registry of the image."""

    registry: str | None = None
    username: str | None = None
    password: str | None = None
    registry_token: str | None = None
    identity_token: str | None = None
    auth: str | None = None


class DeviceRequest(Part):
    """Devices of the host, such as graphics cards."""

    driver: str | None = None
    count: int | None = None
    device_ids: list[str] | None = None
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Docker(Runner):
    """Run in a container of its own."""

    title: ClassVar[str] = "Run in a Docker container"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",)

    host: Annotated[str | None, Field(title="The URI of the Docker engine")] = None
    config: Annotated[
        str | dict[str, Any] | None,
        Field(title="Docker's configuration file", description="As text or mapping."),
    ] = None
    credentials: Annotated[Credentials | None, Field(title="Login to a private registry")] = None
    user: Annotated[str | None, Field(title="The user inside the container")] = None
    entry_point: Annotated[list[str] | None, Field(title="The entry point of the container")] = None
    extra_hosts: Annotated[list[str] | None, Field(title="More host names, as name:address")] = None
    network_mode: Annotated[str | None, Field(title="The network, such as `host`")] = None
    volumes: Annotated[
        list[str] | None,
        Field(title="Folders of the host", description="As host:container; must be allowed."),
    ] = None
    pull_policy: Annotated[
        str, Field(title="When the image is fetched", description="ALWAYS, IF_NOT_PRESENT or NEVER.")
    ] = "IF_NOT_PRESENT"
    device_requests: Annotated[list[DeviceRequest] | None, Field(title="Devices of the host")] = None
    cpu: Annotated[Cpu | None, Field(title="Limit of processor time")] = None
    memory: Annotated[Memory | None, Field(title="Limits of memory")] = None
    shm_size: Annotated[str | None, Field(title="Size of /dev/shm")] = None
    privileged: Annotated[bool | str | None, Field(title="Whether the container may do everything")] = None
    file_handling_strategy: Annotated[
        str, Field(title="How files reach the container", description="VOLUME or MOUNT.")
    ] = "VOLUME"
    delete: Annotated[bool | str, Field(title="Whether the container is removed at the end")] = True
    kill_grace_period: Annotated[str | None, Field(title="How long a kill waits")] = None
    wait: Annotated[bool | str, Field(title="Whether the task waits for the end")] = True

    def check(self) -> None:
        """Refuse."""
        raise TaskFailed(
            "this task runs in a Docker container, the default of script tasks, and this version cannot start "
            "containers. To run it on the worker's host, set on the task `taskRunner: {type: "
            "io.kestra.plugin.core.runner.Process}`, or for all script tasks of the flow `pluginDefaults: [{type: "
            "io.kestra.plugin.scripts, values: {taskRunner: {type: io.kestra.plugin.core.runner.Process}}}]`"
        )

    async def run(
        self, command: RunnerCommand, context: RunContext, on_line: Callable[[OutputStream, str], None]
    ) -> int:
        """Refuse, as `check` does."""
        self.check()
        raise AssertionError("check always raises")
