"""The parts of the Docker runner's properties, and the sizes that people write in them (C DK2 to DK5)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.plugin import Part

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class Cpu(Part):
    """Processor time of the container."""

    cpus: Annotated[
        float | str, Field(title="How many processors it may use", description="Such as 1 or 0.5.")
    ]


class Memory(Part):
    """Memory of the container; sizes such as `512MB` or `512Mi`, both counted in powers of 1024."""

    memory: Annotated[str | None, Field(title="The most it may use")] = None
    memory_swap: Annotated[
        str | None, Field(title="Memory and swap together", description="`-1` for as much as there is.")
    ] = None
    memory_swappiness: Annotated[
        int | str | None, Field(title="How readily memory is swapped out", description="0 to 100.")
    ] = None
    memory_reservation: Annotated[
        str | None, Field(title="What it gets when memory is short", description="A soft limit.")
    ] = None
    kernel_memory: Annotated[str | None, Field(title="The most kernel memory it may use")] = None
    oom_kill_disable: Annotated[
        bool | str | None, Field(title="Whether it is spared when memory runs out")
    ] = None


class Credentials(Part):
    """How to log in to the registry of the image."""

    registry: Annotated[str | None, Field(title="The registry's address")] = None
    username: Annotated[str | None, Field(title="The user")] = None
    password: Annotated[str | None, Field(title="The password")] = None
    registry_token: Annotated[str | None, Field(title="A bearer token for the registry")] = None
    identity_token: Annotated[str | None, Field(title="A token that stands for the login")] = None
    auth: Annotated[
        str | None, Field(title="User and password", description="As user:password in Base64.")
    ] = None


class DeviceRequest(Part):
    """Devices of the host, such as graphics cards."""

    driver: Annotated[str | None, Field(title="The driver, such as `nvidia`")] = None
    count: Annotated[int | None, Field(title="How many; -1 for all")] = None
    device_ids: Annotated[list[str] | None, Field(title="Which ones")] = None
    capabilities: Annotated[
        list[list[str]] | None, Field(title="What they must be able to do", description="Any of the lists.")
    ] = None
    options: Annotated[dict[str, str] | None, Field(title="Options of the driver")] = None


def size_bytes(text: Any, name: str) -> int:
    """A size such as `512MB`, `0.5GB`, `512Mi` or a number of bytes.  Raises TaskFailed naming the property."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise TaskFailed(
            f"property `taskRunner.{name}`: {text!r} is not a size; write it like 512MB or 512Mi"
        )
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])


def truth(value: Any) -> bool:
    """A rendered flag."""
    return str(value).strip().lower() == "true"
