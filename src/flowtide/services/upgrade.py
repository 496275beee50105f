"""Upgrades of what is kept: what a version needs, told before it is made, and made (UPG-2).

In come settings; out go sentences.  Servers do the same when they start, except that an index which an earlier version
made and this one cannot read is put aside only here.  State: none.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from flowtide.log.topics import load_topics
from flowtide.services.indexer import GROUP, TOPICS
from flowtide.services.ports import LOG_FILE, open_index, open_log
from flowtide.settings import QueueType, Settings


async def planned(settings: Settings) -> list[str]:
    """What `upgrade` would do, a sentence each; nothing is changed.  Raises LogUnavailable, IndexUnavailable."""
    topics = list(load_topics().values())
    async with AsyncExitStack() as stack:
        if settings.queue.type is QueueType.EMBEDDED and not (settings.data_path / LOG_FILE).exists():
            missing = [topic.name for topic in topics]  # to open it would make it
        else:
            log = open_log(settings)
            await log.start()
            stack.push_async_callback(log.close)
            missing = await log.missing_topics(topics)
        return [*(f"the topic {name} is made" for name in missing), *await open_index(settings).outdated()]


async def upgrade(settings: Settings) -> list[str]:
    """Make topics, tables, templates and fields of this version; gives what was done.

    What is already there stays.  An index that cannot be read is put aside, and made anew by the next indexer, from as
    far back as the log reaches: stop all servers before.  Raises GroupBusy when an indexer runs, LogUnavailable,
    IndexUnavailable.
    """
    async with AsyncExitStack() as stack:
        log = open_log(settings)
        await log.start()
        stack.push_async_callback(log.close)
        topics = list(load_topics().values())
        missing = await log.missing_topics(topics)
        await log.ensure_topics(topics)
        index = open_index(settings)
        stack.push_async_callback(index.close)
        done = [*(f"the topic {name} is made" for name in missing), *await index.outdated()]
        aside = await index.set_aside()
        if aside is not None:
            await log.seek_group(GROUP, TOPICS, "beginning")
            done.append(f"the former index is {aside} now; remove it when the new one is complete")
        await index.start()
        return done
