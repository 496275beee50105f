"""Outputs of task runs: made JSON, stored when they are too large, and read back where a later task names them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from flowtide.errors import StorageError, TaskFailed
from flowtide.model.jobs import RunTask
from flowtide.model.offload import (
    FILE_NAME,
    MARKER,
    MARKER_BYTES,
    offloaded,
    offloaded_places,
)
from flowtide.model.records import encode
from flowtide.storage import ExecutionFolder, Storage, check_readable, task_run_file


def checked_outputs(outputs: Any) -> dict[str, Any]:
    """Insist on a mapping.  Raises TaskFailed."""
    if outputs is None:
        return {}
    if not isinstance(outputs, Mapping):
        raise TaskFailed(f"the task gave {type(outputs).__name__} as outputs; they must be a mapping")
    if MARKER in outputs:
        raise TaskFailed(f"an output cannot have the name `{MARKER}`, which is reserved")
    return dict(outputs)


async def store_outputs(job: RunTask, outputs: Mapping[str, Any], storage: Storage) -> dict[str, Any]:
    """Store outputs as a JSON file of the task run; gives what travels in their place.

    Each attempt has a file of its own, because a report may still be on its way while the next attempt runs.
    """
    content = encode(outputs)
    folder = ExecutionFolder(job.flow.namespace, job.flow.id, job.execution_id)
    name = f"{job.attempt}/{FILE_NAME}"
    uri = task_run_file(folder, task_id=job.task_id, run_id=job.run_id, name=name)
    await storage.put(job.tenant_id, uri, content)
    return offloaded(uri, len(content))


def mentions_offloaded(variables: msgspec.Raw) -> bool:
    """Whether the variables of a job may hold a marker; costs one search over the bytes."""
    return MARKER_BYTES in bytes(variables)


async def resolve_outputs(
    variables: dict[str, Any],
    *,
    tenant_id: str,
    folder: ExecutionFolder,
    ancestors: Collection[str],
    storage: Storage,
) -> None:
    """Put the stored outputs in the place of their markers.  Raises StorageError."""
    read: dict[str, Any] = {}
    for container, key, uri in offloaded_places(variables):
        if uri not in read:
            check_readable(uri, folder=folder, ancestors=ancestors)
            try:
                read[uri] = msgspec.json.decode(await storage.get(tenant_id, uri))
            except msgspec.DecodeError as error:
                raise StorageError(f"the stored outputs {uri} are damaged: {error}") from error
        container[key] = read[uri]
