"""Puts files of namespaces into the folder of a task, as its property `namespaceFiles` says (NSF-02 to NSF-04)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from flowtide.errors import TaskFailed
from flowtide.expressions import truthy
from flowtide.model.file_patterns import any_pattern
from flowtide.model.namespace_files import NamespaceFilesProperty
from flowtide.model.task import RunContext

_AT_ONCE: Final = 8  # files that are fetched at the same time


async def mount_namespace_files(
    definition: NamespaceFilesProperty | None, context: RunContext, directory: Path
) -> list[Path]:
    """Fetch the files that `definition` wants below `directory`, which exists; gives those that were written.

    None, or a definition that is not enabled, fetches nothing.  Raises TaskFailed for a file that is there already
    and may not be, a pattern that cannot be read, and a path that another file bars.
    """
    if definition is None or not truthy(await context.evaluate(definition.enabled)):
        return []
    try:
        include = any_pattern(await texts(definition.include, context) or ["/**"])
        exclude = any_pattern(await texts(definition.exclude, context))
    except ValueError as error:
        raise TaskFailed(f"property `namespaceFiles`: {error}") from None
    namespaces = await texts(definition.namespaces, context) or [context.namespace]
    written: dict[Path, None] = {}
    for namespace in namespaces:
        root = directory / namespace if definition.folder_per_namespace else directory
        wanted = [
            file
            for file in await context.platform.files.list(namespace)
            if include(file.path) and not exclude(file.path)
        ]
        for start in range(0, len(wanted), _AT_ONCE):
            targets = []
            for file in wanted[start : start + _AT_ONCE]:
                target = root.joinpath(*file.path.strip("/").split("/"))
                if await _may_write(target, file.path, namespace, definition, context):
                    targets.append((file.path, target))
            await asyncio.gather(*(_fetch(namespace, path, target, context) for path, target in targets))
            written.update((target, None) for _, target in targets)
    if written:
        lines = context.logger
        lines.debug("{} namespace files are in the working directory", len(written))
    return list(written)


async def texts(value: Any, context: RunContext) -> list[str]:
    """Names of a property that is a list, a single name, or a template that gives one of them."""
    rendered = await context.evaluate(
        list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
    )
    if rendered is None:
        return []
    flat: list[str] = []
    for each in rendered if isinstance(rendered, list | tuple) else [rendered]:
        flat += [str(inner) for inner in each] if isinstance(each, list | tuple) else [str(each)]
    return [each for each in flat if each]


async def _may_write(
    target: Path, path: str, namespace: str, definition: NamespaceFilesProperty, context: RunContext
) -> bool:
    if not await asyncio.to_thread(target.exists):
        return True
    there = f"the file `{path}` of the namespace `{namespace}` is in the working directory already"
    lines = context.logger
    if definition.if_exists == "FAIL":
        raise TaskFailed(f"{there}, and `namespaceFiles.ifExists` is FAIL")
    if definition.if_exists == "WARN":
        lines.warn("{}; the one that was there stays", there)
    elif definition.if_exists == "OVERWRITE":
        lines.debug("{}; it is overwritten", there)
    return definition.if_exists == "OVERWRITE"


async def _fetch(namespace: str, path: str, target: Path, context: RunContext) -> None:
    try:
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise TaskFailed(
            f"the file `{path}` of the namespace `{namespace}` cannot be put into the working directory: "
            f"{error.strerror}"
        ) from None
    await context.platform.files.fetch(namespace, path, target)
