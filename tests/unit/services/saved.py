"""What tests of saved things share: a log in memory, a processor that saves, a catalog, and a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log, Record
from flowtide.log.topics import load_topics
from flowtide.model.conditions.dates import DayWeek
from flowtide.model.flow import Flow
from flowtide.model.plugin import Registry
from flowtide.model.source import parse_flow
from flowtide.model.task import RunnableTask
from flowtide.model.triggers.schedule import Schedule
from flowtide.processors.runtime import Runtime
from flowtide.services.catalog import Catalog
from flowtide.services.runtimes import resources_runtime
from flowtide.services.saving import ResourceClient

START = datetime(2025, 1, 1, 12, 0, 30, tzinfo=UTC)
TOPICS = tuple(load_topics().values())  # read before the event loop runs
SCHEDULE = "io.kestra.plugin.core.trigger.Schedule"
REGISTRY = Registry(
    {
        ("task", "Say"): RunnableTask,
        ("trigger", SCHEDULE): Schedule,
        ("condition", "DayWeek"): DayWeek,
    }
)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def source(flow_id: str = "hello", namespace: str = "company.team", *more: str) -> str:
    """A small flow."""
    return "\n".join([f"id: {flow_id}", f"namespace: {namespace}", "tasks: [{id: a, type: Say}]", *more, ""])


class House:
    """A log in memory with everything that saving needs; counts how often a flow was parsed."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.clock = Clock()
        self.parses = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.catalog = Catalog(log, self.parse, parsed_flows=3)
        ids = count()
        self.client = ResourceClient(
            log,
            self.catalog,
            instance="web",
            clock=self.clock,
            ids=lambda: f"request-{next(ids)}",
            patience=timedelta(seconds=3),
        )

    def parse(self, text: str, tenant: str = "main") -> Flow:
        self.parses += 1
        return parse_flow(text, REGISTRY).valid()

    def run(self, runtime: Runtime) -> asyncio.Task[None]:
        """Run a processor until the end of the test, or until the task is cancelled: a crash."""
        task = asyncio.create_task(runtime.run())
        self._tasks.append(task)
        return task

    def run_resources(self, instance: str = "executor") -> asyncio.Task[None]:
        """Run the processor of saved things."""
        return self.run(resources_runtime(self.log, instance=instance, clock=self.clock, parse=self.parse))

    async def records(self, topic: str) -> list[Record]:
        """Everything that can be read from a topic."""
        reader = await self.log.reader(topic, "beginning")
        found: list[Record] = []
        while not await reader.at_end():
            found += await reader.poll(maximum=10_000, timeout=timedelta(0))
        await reader.close()
        return found

    async def records_when(self, topic: str, enough: Callable[[list[Record]], object]) -> list[Record]:
        """Everything on a topic, as soon as `enough` is content with it."""
        async with asyncio.timeout(10):
            while not enough(found := await self.records(topic)):  # noqa: ASYNC110 - others write; there is no event
                await asyncio.sleep(0.005)
        return found

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.client.close()
        await self.catalog.close()


@asynccontextmanager
async def open_house(build: Callable[[EmbeddedLog], House] | None = None) -> AsyncIterator[House]:
    """A house that is cleaned up; `build` makes one of another kind."""
    log = EmbeddedLog(None, clock=START.timestamp, threaded=False)
    await log.start()
    await log.ensure_topics(TOPICS)
    house = House(log) if build is None else build(log)
    try:
        await house.catalog.start()
        await house.client.start()
        yield house
    finally:
        await house.close()
        await log.close()


parse_flow(
    source(), REGISTRY
).valid()  # pydantic looks for its plugins on disk the first time: not in an event loop
