"""How far the index has come: a key and topics come in, and the answer waits until what they had is in the index."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

from aiohttp import web

from flowtide.api.keys import LOG, SITE
from flowtide.log.partitioner import partition_of
from flowtide.log.port import Log
from flowtide.services.indexer import GROUP

_LOOK_SECONDS = (0.005, 0.01, 0.02, 0.05)
_READ_AT_ONCE = 2_000
_PATIENCE = timedelta(milliseconds=100)


async def is_indexed(request: web.Request, keys: Collection[str], topics: Collection[str]) -> bool:
    """Wait until the index has what these topics had of keys when this was called; False when it takes too long.

    Positions alone do not tell: a log may count what it never delivers, such as the marks of transactions.
    """
    log = request.app[LOG]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.app[SITE].answer_timeout.total_seconds()
    for topic in topics:
        ends = await log.end_offsets(topic)
        count = log.partitions(topic)
        for partition in sorted({partition_of(key, count) for key in keys}):
            looks = 0
            while True:
                position = (await log.positions(GROUP, topic)).get(partition, 0)
                if position >= ends[partition]:
                    break
                if not await _has_records_of(log, topic, partition, position, keys):
                    break
                if loop.time() >= deadline:
                    return False
                await asyncio.sleep(_LOOK_SECONDS[min(looks, len(_LOOK_SECONDS) - 1)])
                looks += 1
    return True


async def _has_records_of(log: Log, topic: str, partition: int, position: int, keys: Collection[str]) -> bool:
    """Whether there are records of these keys from a position on."""
    reader = await log.reader(topic, {partition: position})
    try:
        while not await reader.at_end():
            records = await reader.poll(maximum=_READ_AT_ONCE, timeout=_PATIENCE)
            if any(record.key in keys for record in records):
                return True
        return False
    finally:
        await reader.close()
