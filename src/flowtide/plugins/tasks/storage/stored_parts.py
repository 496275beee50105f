"""Cuts a stored file into stored parts: what `Split` and ForEachItem have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from flowtide.errors import TaskFailed
from flowtide.model.task import RunContext
from flowtide.plugins.tasks.storage.splitting import split_file, splitting_of

_AT_ONCE: Final = 16  # parts that are stored at the same time


async def store_parts(
    context: RunContext, uri: str, given: Mapping[str, Any], name: Callable[[int], str]
) -> list[str]:
    """Cut the file of a URI as the rendered properties say; gives the URIs of the parts.  Raises TaskFailed."""
    try:
        how = splitting_of(given)
    except ValueError as error:
        raise TaskFailed(str(error)) from None
    folder = context.working_directory
    source = folder / "source"
    await context.get_file(uri, source)
    parts = folder / "parts"
    try:
        paths = await asyncio.to_thread(_split, source, how, parts, name)
    except TimeoutError:
        raise TaskFailed("`regexPattern` takes too long on one of the lines") from None
    uris: list[str] = []
    for start in range(0, len(paths), _AT_ONCE):
        uris += await asyncio.gather(*(context.put_file(path) for path in paths[start : start + _AT_ONCE]))
    return uris


def _split(source: Path, how: Any, folder: Path, name: Callable[[int], str]) -> list[Path]:
    folder.mkdir()
    return split_file(source, how, folder, name)
