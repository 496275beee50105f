"""Python packages of script tasks: requirements come in, a folder for PYTHONPATH goes out (C Y01 to Y03).

Folders are kept beside the working directories, by the hash of Python's version and the requirements, so that every
flow with the same needs shares one.  A folder gets its name when it is complete; two workers may race for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from flowtide.errors import TaskFailed
from flowtide.model.entries import Level
from flowtide.model.runner import OutputStream, RunnerCommand
from flowtide.model.task import RunContext
from flowtide.plugins.runners.process import Process

_FOLDER: Final = "flowtide-python-packages"
_PYTHON_IMAGE: Final = re.compile(r"(?:^|/)python:(\d+\.\d+(?:\.\d+)?)")
_PYTHON_OF_IMAGES: Final = "3.13"  # of the default image
_PROBE: Final = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


async def installed(
    requirements: Sequence[str],
    context: RunContext,
    *,
    manager: Literal["UV", "PIP"],
    keep: bool,
    python_version: str | None,
    image: str | None = None,
) -> Path | None:
    """Install what is not installed yet.  Raises TaskFailed when that fails or Python's version is another.

    `image` is the container's, whose Python the packages are for; None when the worker's own Python runs the script.
    """
    python = await asyncio.to_thread(_python)
    version = "".join(await _run([python, "-c", _PROBE], context)).strip()
    target_version: str | None = None
    if image is not None:
        target_version = version = _version_in(image, python_version, context)
    elif python_version is not None and not f"{version}.".startswith(f"{python_version}."):
        raise TaskFailed(
            f"property `pythonVersion`: the worker has Python {version}, not {python_version}; the Process runner uses "
            "the worker's own"
        )
    wanted_packages = sorted({requirement.strip() for requirement in requirements if requirement.strip()})
    if not wanted_packages:
        return None
    for requirement in wanted_packages:
        if requirement.startswith("-"):
            raise TaskFailed(
                f"property `dependencies`: {requirement[:100]!r} is an option, not a requirement"
            )
    digest = hashlib.sha256("\n".join([version, sys.platform, *wanted_packages]).encode()).hexdigest()[:32]
    directory = context.working_directory
    lines = context.logger
    target = directory.parent / _FOLDER / digest if keep else directory / ".packages"
    if keep and await asyncio.to_thread(target.is_dir):
        lines.debug("The packages {} are installed already", ", ".join(wanted_packages))
        return target
    partial = target.with_name(f".{uuid4().hex}")
    await asyncio.to_thread(partial.parent.mkdir, parents=True, exist_ok=True)
    try:
        arguments = await asyncio.to_thread(_installer, manager, python, partial, target_version)
        lines.debug("Installing {}", ", ".join(wanted_packages))
        await _run([*arguments, *wanted_packages], context)
        # Another worker may have been faster; its folder is as good as ours.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(partial.rename, target)
    finally:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    return target


def _python() -> str:
    return shutil.which("python3") or shutil.which("python") or sys.executable


def _version_in(image: str, given: str | None, context: RunContext) -> str:
    """The version of Python that a container has, as far as that can be known from outside (Y02)."""
    if given is not None:
        return given
    match = _PYTHON_IMAGE.search(image)
    if match is not None:
        return match[1]
    lines = context.logger
    lines.warn(
        "The Python version of the image {} is not known, so packages are installed for {}; set `pythonVersion`",
        image,
        _PYTHON_OF_IMAGES,
    )
    return _PYTHON_OF_IMAGES


def _installer(manager: Literal["UV", "PIP"], python: str, target: Path, version: str | None) -> list[str]:
    """The command that installs what is appended to it; `version` is that of another Python than this one."""
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if manager == "UV" and uv is not None:
        other = [] if version is None else ["--python-version", version]
        return [uv, "pip", "install", "--quiet", "--python", python, *other, "--target", str(target), "--"]
    options = ["--quiet", "--disable-pip-version-check", "--target", str(target)]
    if version is not None:
        options += ["--python-version", version, "--only-binary", ":all:"]
    return [python, "-m", "pip", "install", *options, "--"]


async def _run(arguments: Sequence[str], context: RunContext) -> list[str]:
    """Run a helper; gives what it printed.  Raises TaskFailed with its last words."""
    printed: list[str] = []
    complaints: list[str] = []

    def on_line(stream: OutputStream, line: str) -> None:
        (printed if stream == "stdout" else complaints).append(line)
        if stream == "stderr":
            context.logger.log(Level.DEBUG, line)

    command = RunnerCommand(arguments=arguments, environment={}, working_directory=context.working_directory)
    result = await Process(type="io.kestra.plugin.core.runner.Process").run(command, context, on_line)
    if result.exit_code != 0:
        said = " ".join(line.strip() for line in complaints[-5:])
        raise TaskFailed(
            f"property `dependencies`: {Path(arguments[0]).name} failed with exit code {result.exit_code}: {said}"
        )
    return printed
