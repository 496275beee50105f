"""Installing and removing plugins, which are Python packages: names in, packages in a folder or environment out.

Where `plugins.path` (or -p) names a folder they go there, else into the environment of this Python (CLI-22).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from flowtide.errors import FlowtideError

_COORDINATE = re.compile(r"(?P<group>[A-Za-z0-9_.-]+):(?P<artifact>[A-Za-z0-9_.-]+)(:(?P<version>[^:]+))?")
_BUILT_IN = re.compile(r"(?:plugin|storage|secret)-(?P<name>.+)")


class PluginNotInstalled(FlowtideError):
    """A plugin cannot be installed or removed."""

    code = "plugin-not-installed"


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """A plugin of Kestra, as Maven names it."""

    group: str
    artifact: str
    version: str | None


def coordinate(text: str) -> Coordinate | None:
    """A Maven coordinate `group:artifact:version`; None for anything else, such as a package of Python."""
    found = _COORDINATE.fullmatch(text)
    if found is None or "/" in text:
        return None
    return Coordinate(group=found["group"], artifact=found["artifact"], version=found["version"])


def comes_with_flowtide(plugin: Coordinate, types: Sequence[str]) -> bool:
    """Whether Flowtide has types of its own by the names that a plugin's types begin with."""
    found = _BUILT_IN.fullmatch(plugin.artifact)
    if found is None:
        return False
    name = found["name"]
    names = {
        name,
        name.replace("-", "."),
        name.removeprefix("script-"),
        "scripts" if name.startswith("script") else name,
    }
    beginnings = tuple(f"{plugin.group}.{each}." for each in names)
    scripts = tuple(f"io.kestra.plugin.scripts.{each}." for each in names)
    return any(each.startswith((*beginnings, *scripts)) for each in types)


def install(packages: Sequence[str], folder: Path | None, repositories: Sequence[str]) -> None:
    """Install packages with pip, or uv where there is no pip; what they say goes to the terminal.

    Raises PluginNotInstalled.
    """
    command = [*_installer("install"), *packages]
    for repository in repositories:
        command += ["--extra-index-url", repository]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        command += ["--target", str(folder)]
    _run(command, f"{', '.join(packages)} could not be installed")


def uninstall(packages: Sequence[str], folder: Path | None) -> None:
    """Remove packages from the folder, or else from the environment.  Raises PluginNotInstalled."""
    if folder is None:
        confirm = [] if _has_pip() is False else ["--yes"]
        _run([*_installer("uninstall"), *confirm, *packages], f"{', '.join(packages)} could not be removed")
        return
    for package in packages:
        _remove(_found(package, folder), folder)


def _found(package: str, folder: Path) -> Distribution:
    wanted = _plain(package.partition("==")[0])
    for each in distributions(path=[str(folder)]):
        if _plain(each.name) == wanted:
            return each
    raise PluginNotInstalled(f"there is no package {package} in {folder}")


def _remove(package: Distribution, folder: Path) -> None:
    parents: set[Path] = set()
    root = folder.resolve()
    for file in package.files or ():
        path = Path(str(package.locate_file(file))).resolve()
        if root not in path.parents:
            continue  # programs, which stand elsewhere
        path.unlink(missing_ok=True)
        parents.update(each for each in path.parents if root in each.parents)
    for parent in sorted(parents, key=lambda each: -len(each.parts)):
        shutil.rmtree(parent / "__pycache__", ignore_errors=True)
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def _installer(verb: str) -> list[str]:
    if _has_pip():
        return [sys.executable, "-m", "pip", verb]
    uv = shutil.which("uv")
    if uv is None:
        raise PluginNotInstalled(
            f"{sys.executable} has no pip, and there is no uv: run `{sys.executable} -m ensurepip`, or install uv"
        )
    return [uv, "pip", verb, "--python", sys.executable]


def _run(command: Sequence[str], problem: str) -> None:
    done = subprocess.run(command, check=False)  # noqa: S603 - the packages that a person named
    if done.returncode != 0:
        raise PluginNotInstalled(f"{problem}; what stands above says why (`{' '.join(command)}`)")
