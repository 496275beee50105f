"""Images: a name and a pull policy come in; afterwards the engine has the image, or the task fails (C DK4)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flowtide.errors import TaskFailed
from flowtide.model.task import TaskLogger

if TYPE_CHECKING:
    from aiodocker import Docker as Client

POLICIES: Final = ("ALWAYS", "IF_NOT_PRESENT", "NEVER")
_DEFAULT_REGISTRY: Final = "docker.io"
_DEFAULT_REGISTRY_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_NOT_FOUND: Final = 404


async def ensure_image(
    client: Client, image: str, *, policy: str, login: Mapping[str, str] | None, lines: TaskLogger
) -> None:
    """Fetch the image when the policy asks for it.  Raises TaskFailed when it is not to be had."""
    from aiodocker import DockerError

    if policy not in POLICIES:
        raise TaskFailed(f"property `taskRunner.pullPolicy`: {policy!r} is none of {', '.join(POLICIES)}")
    if policy != "ALWAYS":
        try:
            await client.images.inspect(image)
        except DockerError as error:
            if error.status != _NOT_FOUND:
                raise
            if policy == "NEVER":
                raise TaskFailed(
                    f"the engine has no image `{image}`, and `taskRunner.pullPolicy: NEVER` forbids to fetch it; "
                    "build it on the engine's host, or use IF_NOT_PRESENT"
                ) from error
        else:
            return
    lines.debug("Pulling the image {}", image)
    # The library reads from the name whom the login is for.
    name = image if login is None else _with_registry(image)
    try:
        await client.images.pull(name, auth=None if login is None else dict(login))
    except DockerError as error:
        raise TaskFailed(
            f"the image `{image}` could not be fetched: {error.message}. Is its name right, does the engine reach "
            "the registry, and does a private one have `taskRunner.credentials`? An image that is built locally "
            "needs `taskRunner.pullPolicy: NEVER`"
        ) from error
    lines.debug("The image {} is there", image)


def registry_of(image: str) -> str:
    """The registry that an image's name begins with, else Docker's own."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return _DEFAULT_REGISTRY if first in _DEFAULT_REGISTRY_NAMES else first
    return _DEFAULT_REGISTRY


def _with_registry(image: str) -> str:
    first = image.partition("/")[0]
    if registry_of(image) != _DEFAULT_REGISTRY or first in _DEFAULT_REGISTRY_NAMES:
        return image
    return f"{_DEFAULT_REGISTRY}/{image}" if "/" in image else f"{_DEFAULT_REGISTRY}/library/{image}"


def login_of_config(config: str | Mapping[str, Any], image: str) -> dict[str, str] | None:
    """The login for an image's registry in Docker's configuration file, given as text or mapping."""
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError as error:
            raise TaskFailed(f"property `taskRunner.config`: is no JSON: {error}") from None
    auths = config.get("auths") if isinstance(config, Mapping) else None
    if not isinstance(auths, Mapping):
        return None
    wanted = registry_of(image)
    for address, entry in auths.items():
        host = re.sub(r"^https?://", "", str(address)).split("/")[0]
        host = _DEFAULT_REGISTRY if host in _DEFAULT_REGISTRY_NAMES else host
        if host == wanted and isinstance(entry, Mapping):
            return _login({**entry, "serveraddress": str(address)})
    return None


def login_of_credentials(credentials: Mapping[str, Any], image: str) -> dict[str, str]:
    """The login that the property `credentials` gives, rendered."""
    values = dict(credentials)
    registry = values.pop("registry", None)
    return _login({**values, "serveraddress": registry or registry_of(image)})


def _login(values: Mapping[str, Any]) -> dict[str, str]:
    login = {key.lower(): str(value) for key, value in values.items() if value is not None}
    auth = login.pop("auth", None)
    if auth is not None and "username" not in login:
        try:
            user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except ValueError:
            raise TaskFailed("the registry's `auth` is not user:password in Base64") from None
        login |= {"username": user, "password": password}
    return login
