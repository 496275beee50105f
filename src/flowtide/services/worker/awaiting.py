"""Waiting for one of several things: events, or work within a time limit of the worker's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from flowtide.services.worker.settings import Clock


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def within(work: Awaitable[Any], limit: timedelta, clock: Clock) -> None:
    """Wait for work, at most so long; what is not done by then is cancelled."""
    working = asyncio.ensure_future(work)
    timing = asyncio.ensure_future(clock.sleep(limit))
    await asyncio.wait({working, timing}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    timing.cancel()
    await asyncio.gather(working, timing, return_exceptions=True)
