"""Runs the analytics app until a signal: settings in; topics are created, then Faust is started in this event loop.

Faust's own worker is not used: it would set up logging and signals of its own.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from pathlib import Path
from typing import Any

from flowtide.errors import FlowtideError, SettingsError
from flowtide.log.topics import load_topics
from flowtide.services.ports import ExtraMissing, open_log
from flowtide.settings import QueueType, Settings
from flowtide.telemetry import get_logger

_STOP_SECONDS = 30.0
_TALKATIVE = ("faust.transport.producer",)  # warns whenever it waits for the broker, which it does under load
logger = get_logger(__name__)


class AnalyticsFailed(FlowtideError):
    """Faust ended by itself; the cause says why."""

    code = "analytics-failed"


async def run(settings: Settings, *, ready: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is set once Faust runs.

    Raises SettingsError when the log is not on Kafka, ExtraMissing without Faust, LogUnavailable without a broker,
    and AnalyticsFailed when Faust ends by itself.
    """
    if settings.queue.type is not QueueType.KAFKA:
        problem = (
            f"`queue.type` is {settings.queue.type.value}, and the analytics app reads its events from Kafka; set it "
            "to kafka (a server on the embedded log has its figures on /prometheus)"
        )
        raise SettingsError([problem])
    try:
        from flowtide.analytics.app import EVENTS, INTERNAL_TOPICS, STATISTICS, Analytics, Plan
    except ImportError as error:
        raise ExtraMissing(
            f"the analytics app needs a package that is missing ({error.name}): pip install 'flowtide[analytics]'"
        ) from error
    from flowtide.analytics.connection import connection

    for name in _TALKATIVE:
        if name not in settings.logger.levels:
            logging.getLogger(name).setLevel(logging.ERROR)
    reach = connection(settings)
    if reach.unused:
        logger.warning(
            "these of kafka.client.properties have no effect on the analytics app", names=list(reach.unused)
        )
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    try:
        topics = load_topics()
        log = open_log(settings)
        await log.start()
        try:
            await log.ensure_topics([topics[EVENTS], topics[STATISTICS], *INTERNAL_TOPICS])
            partitions = {name: log.partitions(name) for name in (EVENTS, *(t.name for t in INTERNAL_TOPICS))}
        finally:
            await log.close()
        if len(set(partitions.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in partitions.items())
            raise SettingsError(
                [
                    f"these topics need the same number of partitions: {counts}; remove those of the analytics app"
                ]
            )
        kafka = settings.kafka
        with tempfile.TemporaryDirectory(prefix="flowtide-analytics-") as folder:
            analytics = Analytics(
                Plan(
                    connection=reach,
                    topic_prefix=kafka.topic_prefix,
                    group=f"{kafka.consumer_prefix}_analytics",
                    partitions=partitions[EVENTS],
                    replication_factor=kafka.topic_replication_factor,
                    folder=Path(folder),
                    message_limit_bytes=kafka.message_protection.limit_bytes,
                )
            )
            await _serve(analytics.app, ending, ready)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _serve(app: Any, ending: asyncio.Event, ready: asyncio.Event | None) -> None:
    """Start Faust, wait for the end or a crash, and stop it."""
    app.finalize()
    stopping = asyncio.create_task(ending.wait())
    starting = asyncio.create_task(app.start())
    try:
        await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            logger.info("the analytics app runs", group=app.conf.id)
            if ready is not None:
                ready.set()
            crashing = asyncio.create_task(app.wait_until_stopped())
            await asyncio.wait({stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
            crashing.cancel()
    finally:
        for task in (stopping, starting):
            task.cancel()
        await asyncio.gather(stopping, starting, return_exceptions=True)
        try:
            await asyncio.wait_for(app.stop(), _STOP_SECONDS)
        except TimeoutError:
            logger.warning(
                "Faust did not stop in time; what it had not committed is read again at the next start"
            )
    if app.crash_reason is not None:
        raise AnalyticsFailed(
            f"the analytics app ended: {type(app.crash_reason).__name__}: {app.crash_reason}; start it again, "
            "it goes on where it was"
        ) from app.crash_reason
