"""Where script tasks run that do not say it: `--script-runner` and what answers on this machine in, settings out."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from flowtide.cli.options import Command

if TYPE_CHECKING:
    from flowtide.settings import Settings

_DEFAULT_ENGINE: Final = "unix:///var/run/docker.sock"
_PATIENCE_SECONDS: Final = 2.0
_PROCESS_DEFAULT: Final[Mapping[str, Any]] = {
    "type": "io.kestra.plugin.scripts",
    "values": {"taskRunner": {"type": "io.kestra.plugin.core.runner.Process"}},
}


class ScriptRunner(StrEnum):
    """The choices of the option."""

    DOCKER = "docker"  # the default of the flow language
    PROCESS = "process"
    AUTO = "auto"  # Docker when an engine answers at the start, else Process


def script_runner_option(command: Command) -> Command:
    """Add the option, as `script_runner`."""
    return click.option(
        "--script-runner",
        type=click.Choice([each.value for each in ScriptRunner]),
        default=ScriptRunner.DOCKER.value,
        help="Where script tasks without `taskRunner` run; auto takes processes where no container engine answers.",
    )(command)


def with_script_runner(settings: Settings, choice: ScriptRunner) -> tuple[Settings, str | None]:
    """The settings with a plugin default for script tasks where one is wanted, and what to tell the operator.

    A default for `taskRunner` that the settings have already is left alone.
    """
    reason = "as `--script-runner` asks"
    if choice is ScriptRunner.AUTO:
        missing = _missing_engine()
        if missing is None:
            return settings, None
        reason = f"because {missing}"
    elif choice is ScriptRunner.DOCKER:
        return settings, None
    given = settings.plugins.defaults
    if any("taskRunner" in {**entry, **(entry.get("values") or {})} for entry in given):
        return settings, None
    plugins = replace(settings.plugins, defaults=(*given, _PROCESS_DEFAULT))
    return replace(settings, plugins=plugins), (
        f"script tasks without a `taskRunner` run as processes of this machine, not isolated, {reason}; "
        "with a container engine, or with a default of your own in `plugins.defaults`, they run as that says"
    )


def _missing_engine() -> str | None:
    """Why no container can be started, or None."""
    address = os.environ.get("DOCKER_HOST") or _DEFAULT_ENGINE
    if importlib.util.find_spec("aiodocker") is None:
        return "`flowtide[docker]` is not installed"
    if not _answers(address):
        return f"no container engine answers at {address}"
    return None


def _answers(address: str) -> bool:
    """Whether a Docker-compatible engine answers; one that speaks TLS or SSH is believed to when it accepts."""
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(_PATIENCE_SECONDS)
            place: Any = parts.path
        elif parts.scheme in ("tcp", "http", "https", "ssh") and parts.hostname:
            connection = socket.create_connection(
                (parts.hostname, parts.port or (22 if parts.scheme == "ssh" else 2375)), _PATIENCE_SECONDS
            )
            place = None
        else:
            return False
        with connection:
            if place is not None:
                connection.connect(place)
            if parts.scheme in ("https", "ssh") or os.environ.get("DOCKER_TLS_VERIFY"):
                return True
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.")
    except (OSError, ValueError):
        return False
