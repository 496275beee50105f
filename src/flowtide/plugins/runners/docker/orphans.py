"""Containers whose worker died: they run on (page 374), and are removed by whoever takes their place.

That is the next attempt of the same task run on any worker, and the next worker on the same host, which cannot be
wrong about a process of its own host.  A container of `wait: false` belongs to nobody and is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from flowtide.model.task import TaskLogger
from flowtide.plugins.runners.docker.labels import DETACHED, KEPT, OWNER, is_gone, is_of

if TYPE_CHECKING:
    from aiodocker import Docker as Client


async def remove_orphans(client: Client, *, execution_id: str, task_run_id: str, lines: TaskLogger) -> None:
    """Remove earlier containers of the task run, and those whose process on this host is gone.

    What `delete: false` keeps is only ended.
    """
    from aiodocker import DockerError

    for found in await client.containers.list(all=True, filters={"label": [OWNER]}):
        labels = found["Labels"]
        if DETACHED in labels:
            continue
        same = is_of(labels, execution_id=execution_id, task_run_id=task_run_id)
        if not same and not await asyncio.to_thread(is_gone, labels[OWNER]):
            continue
        if KEPT not in labels:
            lines.debug("Removing the container {} that an earlier worker left", found.id[:12])
            await remove(client, found.id)
        elif found["State"] == "running":
            with contextlib.suppress(DockerError):  # it ended meanwhile
                await found.kill()


async def remove(client: Client, container_id: str) -> None:
    """Remove a container with what it keeps, running or not; none there is as good."""
    from aiodocker import DockerError

    with contextlib.suppress(DockerError):
        await client.containers.container(container_id).delete(force=True, v=True)
