"""A past for a server to search: executions with their events, task runs and log lines, in the embedded log and index.

They take the way of all others, through the log and the indexer; only nobody decides or runs them, so 100,000 take
about two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.index import records
from flowtide.index.port import Index
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log
from flowtide.log.topics import load_topics
from flowtide.model.records import format_date
from flowtide.services.indexer import Indexer
from flowtide.services.ports import EMBEDDED_PARTITIONS, open_log
from flowtide.settings import Settings

SPAN = timedelta(days=30)
"""How long the past is."""
_BEGINNING = "history-began"
_PORTION = 1_000


def fill_folder(folder: Path, executions: int, lines: int = 10) -> float:
    """Fill the data folder of an embedded server that does not run; gives the seconds, 0 for one that was filled."""
    mark = folder / _BEGINNING
    if mark.exists():
        return 0.0
    folder.mkdir(parents=True, exist_ok=True)
    start = datetime.now(UTC) - SPAN
    began = time.perf_counter()
    asyncio.run(_fill_folder(folder, executions, lines, start))
    mark.write_text(format_date(start))
    return time.perf_counter() - began


async def _fill_folder(folder: Path, executions: int, lines: int, start: datetime) -> None:
    from flowtide.index.embedded import EmbeddedIndex

    log = EmbeddedLog(folder / "log.db", clock=time.time, partitions=EMBEDDED_PARTITIONS)
    await log.start()
    await log.ensure_topics(list(load_topics().values()))
    index = EmbeddedIndex(folder / "index.db")
    await index.start()
    try:
        await fill(log, index, executions, lines, start)
    finally:
        await index.close()
        await log.close()


async def fill(log: Log, index: Index, executions: int, lines: int, start: datetime) -> None:
    """Put so many executions, with so many log lines each, on the log and through the indexer."""
    indexer = Indexer(log, index, clock=lambda: datetime.now(UTC), batch_size=4_000)
    await indexer.step()
    async for _ in appended(log, executions, lines, start):
        while await indexer.step():
            pass
    await indexer.close()


async def fill_log(settings_file: Path, executions: int, lines: int) -> None:
    """Put them on the log of a server that runs, which indexes them itself."""
    log = open_log(Settings.load([settings_file], {}))
    await log.start()
    try:
        await log.ensure_topics(list(load_topics().values()))
        async for _ in appended(log, executions, lines, datetime.now(UTC) - SPAN):
            pass
    finally:
        await log.close()


async def appended(log: Log, executions: int, lines: int, start: datetime) -> AsyncIterator[None]:
    """Put executions on the log, a portion at a time."""
    apart = SPAN / executions
    for first in range(0, executions, _PORTION):
        portion = range(first, min(first + _PORTION, executions))
        await log.append(
            [
                message
                for number in portion
                for message in records(number, start=start, apart=apart, lines=lines)
            ]
        )
        yield


def main() -> None:
    """Fill a folder from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=10, help="log lines of each")
    options = parser.parse_args()
    print(round(fill_folder(options.folder, options.executions, options.lines), 1), "seconds")


if __name__ == "__main__":
    main()
