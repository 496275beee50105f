"""The connection to a container engine: an address comes in, a client or an error that says what to do goes out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from flowtide.errors import TaskFailed

if TYPE_CHECKING:
    from aiodocker import Docker as Client
    from aiodocker import DockerError

DEFAULT_ADDRESS: Final = "unix:///var/run/docker.sock"
_CONNECTION_FAILED: Final = 900  # the status by which the library says that nothing answered
_WAY_OUT: Final = (
    "Start Docker, or set DOCKER_HOST (or the runner's property `host`) to the address of a Docker-compatible "
    "engine. To run it on the worker's host instead, set on the task `taskRunner: {type: "
    "io.kestra.plugin.core.runner.Process}`, or for all script tasks of the flow `pluginDefaults: [{type: "
    "io.kestra.plugin.scripts, values: {taskRunner: {type: io.kestra.plugin.core.runner.Process}}}]`"
)


def check_library() -> None:
    """Raises TaskFailed when the client library is not installed; to be called in a thread, for it reads files."""
    try:
        import aiodocker  # noqa: F401 - only whether it is there
    except ImportError:
        raise TaskFailed(
            "this task runs in a Docker container, the default of script tasks, and the worker was installed "
            f"without the client for it; install `flowtide[docker]` and restart the worker. {_WAY_OUT}"
        ) from None


@asynccontextmanager
async def engine(address: str | None) -> AsyncIterator[Client]:
    """A client of the engine at `address`, else of DOCKER_HOST, else of the system's socket.

    Errors of the engine become TaskFailed inside the block too; a missing engine says what to do.
    """
    from aiodocker import Docker as Client
    from aiodocker import DockerError
    from aiohttp import ClientError

    place = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
    try:
        client = Client(url=place)
    except (ValueError, OSError) as error:
        raise TaskFailed(
            f"the Docker engine's address {place!r} cannot be used: {error}. {_WAY_OUT}"
        ) from error
    try:
        yield client
    except DockerError as error:
        raise failure(error, place) from error
    except ClientError as error:
        raise TaskFailed(f"the connection to the Docker engine at {place} broke: {error}") from error
    finally:
        await client.close()


def failure(error: DockerError, place: str) -> TaskFailed:
    """What a person can do about an error of the engine."""
    if error.status == _CONNECTION_FAILED:
        return TaskFailed(
            f"this task runs in a Docker container, the default of script tasks, and no Docker engine answers "
            f"at {place}. {_WAY_OUT}"
        )
    return TaskFailed(f"the Docker engine refused: {error.message}")
