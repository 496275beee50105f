"""`flowtide sys ...`: maintenance of an installation whose settings are read here (CLI-25)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from flowtide.cli.options import Invocation, common_options

if TYPE_CHECKING:
    from flowtide.settings import Settings

#: What Kestra calls the kinds, beside our names.
_SINGULAR = {
    "execution": "executions",
    "flow": "flows",
    "log": "logs",
    "metric": "metrics",
    "trigger": "triggers",
    "taskrun": "task_runs",
    "event": "events",
    "service": "services",
}


@click.group(name="sys")
def sys_() -> None:
    """Maintain an installation."""


@sys_.command()
@click.option(
    "--type",
    "kinds",
    multiple=True,
    help="Only this kind of documents; may be given again. By default all kinds.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Write documents over instead of removing them first: what is no longer on the log stays.",
)
@common_options
def reindex(invocation: Invocation, kinds: Sequence[str], keep: bool) -> None:
    """Have the search index written anew from the log.

    Stop the indexers (or the standalone server) before. The next indexer that starts does the work; what is
    older than the retention of its topic does not come back, unless --keep leaves it where it is.
    """
    from flowtide.index.kinds import KINDS

    names = [_SINGULAR.get(kind.lower(), kind) for kind in kinds] or list(KINDS)
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise click.BadParameter(f"there is no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    asyncio.run(_reindex(settings, names, keep))
    click.echo(f"{', '.join(names)}: the indexer writes them anew when it starts next")


async def _reindex(settings: Settings, kinds: Sequence[str], keep: bool) -> None:
    from flowtide.log.topics import load_topics
    from flowtide.services.indexer import reindex as start_anew
    from flowtide.services.ports import open_index, open_log

    async with AsyncExitStack() as stack:
        log = open_log(settings)
        await log.start()
        stack.push_async_callback(log.close)
        await log.ensure_topics(list(load_topics().values()))
        index = open_index(settings)
        await index.start()
        stack.push_async_callback(index.close)
        await start_anew(log, index, kinds, empty=not keep)
