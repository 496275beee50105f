"""Files of script tasks: input files come into the working directory, output files go to the storage (C §13)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flowtide.errors import TaskFailed
from flowtide.model.file_patterns import glob_expression
from flowtide.model.task import RunContext

STORED_URI = re.compile(r"kestra:///[-a-zA-Z0-9%._+~#=/]*")
_STORED_FOLDER = ".stored-"  # of files whose URI stood in the commands
_OTHER_FILE = re.compile(r"(?:nsfile|file)://\S+")  # of a namespace, or of the worker's host


async def place_input_files(files: Mapping[str, Any], context: RunContext) -> None:
    """Write each file under its name: the file where the value is the URI of one, else the value as text (S30)."""
    for name, value in files.items():
        if value is None:
            continue
        path = local_path(context.working_directory, name)
        await asyncio.to_thread(_make_room, context.working_directory, path)
        if isinstance(value, str) and (
            STORED_URI.fullmatch(value.strip()) or _OTHER_FILE.fullmatch(value.strip())
        ):
            await context.get_file(value.strip(), path)
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            await asyncio.to_thread(path.write_text, text, encoding="utf-8", errors="replace")


def _make_room(folder: Path, path: Path) -> None:
    """Make the folder of a file.  In a directory that tasks share, an earlier one may have left links.

    Raises TaskFailed when one of them leads out of the directory.
    """
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        name = path.relative_to(folder).as_posix()
        raise TaskFailed(
            f"property `inputFiles`: a link in {name[:200]!r} leads out of the working directory"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()


def local_path(folder: Path, name: str) -> Path:
    """The path of a file in the working directory.  Raises TaskFailed for a name that leads out of it."""
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise TaskFailed(
            f"property `inputFiles`: the name {name[:200]!r} is not a relative path; only relative paths without "
            "`.` and `..` are supported"
        )
    return folder.joinpath(*parts)


async def localized(text: str, context: RunContext, own_files: set[Path]) -> str:
    """Download every stored file whose URI stands in `text`, and put its local path there instead (S31)."""
    places: dict[str, str] = {}
    for uri in STORED_URI.findall(text):
        if uri in places or uri == "kestra:///":
            continue
        name = unquote(uri.rsplit("/", 1)[-1]) or "file"
        path = context.working_directory / f"{_STORED_FOLDER}{len(places)}-{len(own_files)}" / name
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await context.get_file(uri, path)
        own_files.add(path)
        places[uri] = str(path)
    return STORED_URI.sub(lambda match: places.get(match[0], match[0]), text) if places else text


async def store_output_files(
    patterns: Sequence[str], context: RunContext, *, own_files: Collection[Path]
) -> dict[str, str]:
    """Store the files that match any pattern; gives URIs by path relative to the working directory (S32)."""
    if not patterns:
        return {}
    expressions = [output_pattern(pattern) for pattern in patterns]
    found = await asyncio.to_thread(_files, context.working_directory, own_files)
    stored: dict[str, str] = {}
    for name in found:
        if any(expression.fullmatch(name) for expression in expressions):
            stored[name] = await context.put_file(context.working_directory / name, name)
    return stored


def remove_files(paths: Collection[Path]) -> None:
    """Remove files that are not needed any more, and the folders that were made for them."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
        if path.parent.name.startswith(_STORED_FOLDER):
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _files(folder: Path, own_files: Collection[Path]) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            # A link could name any file of the host.
            if path.is_symlink() or not path.is_file() or path in own_files:
                continue
            found.append(path.relative_to(folder).as_posix())
    return found


def output_pattern(pattern: str) -> re.Pattern[str]:
    """What finds the files that a pattern of `outputFiles` names.  Raises TaskFailed for one that cannot be read."""
    try:
        return re.compile(glob_expression(pattern.removeprefix("./")), re.DOTALL)
    except re.error as error:
        raise TaskFailed(f"property `outputFiles`: the pattern {pattern!r} cannot be read: {error}") from None
