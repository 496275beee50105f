"""Polling and realtime triggers with two schedulers and two workers that die: each thing starts one execution.

The log is in memory; a death is a task that is cancelled wherever it stands, and liveness telling of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.keys import execution_key
from flowtide.model.commands import COMMAND_DECODER, CreateExecution
from flowtide.model.flow import Flow
from flowtide.model.plugin import Registry
from flowtide.model.source import parse_flow
from flowtide.model.task import RunContext, RunnableTask
from flowtide.model.trigger import PollingTrigger, RealtimeTrigger, TriggerEvent
from flowtide.processors.runtime import Runtime
from flowtide.processors.triggers import TriggersPartition
from flowtide.secrets import EnvironmentSecrets
from flowtide.services.runtimes import triggers_runtime
from flowtide.services.worker import Worker, WorkerSettings
from flowtide.services.worker.settings import SystemClock
from flowtide.storage import open_storage
from flowtide.telemetry import Metrics, Tracing
from tests.unit.services.saved import House, open_house, source

THINGS = 12
_TAKEN: list[int] = []  # positions of the queue that were looked at, of all workers
_ALLOWED = [0]  # how many events a stream may have given


class Queue(PollingTrigger):
    """Finds the next thing of an endless queue whenever it looks."""

    async def evaluate(self, context: RunContext) -> Mapping[str, Any]:
        """Take some turns of the loop, so that a death finds it at work."""
        for _ in range(5):
            await asyncio.sleep(0)
        _TAKEN.append(len(_TAKEN))
        return {"execution": context.execution_id}


class Stream(RealtimeTrigger):
    """Gives the same events from the beginning whenever somebody listens."""

    async def listen(self, context: RunContext) -> AsyncIterator[TriggerEvent]:
        """Give all events, then wait."""
        for number in range(THINGS):
            while number >= _ALLOWED[0]:  # noqa: ASYNC110 - the test moves it; there is no event across workers
                await asyncio.sleep(0.001)
            yield TriggerEvent(variables={"value": number}, id=f"0/{number}")
        await asyncio.Event().wait()


REGISTRY = Registry(
    {("task", "Say"): RunnableTask, ("trigger", "Queue"): Queue, ("trigger", "Stream"): Stream}
)


class Town(House):
    """A house with schedulers and workers."""

    def __init__(self, log: EmbeddedLog, folder: Path) -> None:
        super().__init__(log)
        self._folder = folder
        self._numbers = count()
        self.schedulers: dict[str, tuple[Runtime, asyncio.Task[None]]] = {}
        self.workers: dict[str, asyncio.Task[None]] = {}
        self.dead: set[str] = set()

    def parse(self, text: str, tenant: str | None = None) -> Flow:
        return parse_flow(text, REGISTRY).valid()

    def start_scheduler(self, name: str) -> None:
        runtime = triggers_runtime(
            self.log,
            instance=name,
            clock=self.clock,
            registry=REGISTRY,
            render=lambda template, variables: template,
        )
        self.schedulers[name] = (runtime, self.run(runtime))
        self._tell(runtime)

    async def kill_scheduler(self, name: str) -> None:
        assert isinstance(self.log, EmbeddedLog)
        self.log.expel(name)
        await self._cancel(self.schedulers.pop(name)[1])

    def start_worker(self) -> str:
        name = f"worker-{next(self._numbers)}"
        worker = Worker(
            self.log,
            open_storage("local", {"base-path": str(self._folder)}),
            REGISTRY,
            instance_id=name,
            secrets=EnvironmentSecrets({}),
            settings=WorkerSettings(threads=2, working_folder=self._folder),
            clock=SystemClock(),
            random=Random(name),
            metrics=Metrics(process=False),
            tracing=Tracing(None),
        )
        self.workers[name] = asyncio.create_task(worker.run())
        return name

    async def kill_worker(self, name: str) -> None:
        """Kill it, and have every scheduler told."""
        assert isinstance(self.log, EmbeddedLog)
        task = self.workers.pop(name)
        self.log.expel(name)
        await self._cancel(task)
        self.dead.add(name)
        for runtime, _ in self.schedulers.values():
            self._tell(runtime)

    def _tell(self, runtime: Runtime) -> None:
        def tell(partition: Any, now: datetime) -> None:
            assert isinstance(partition, TriggersPartition)
            partition.lose_workers(set(self.dead), now)

        runtime.request(tell)

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def executions(self, at_least: int) -> dict[str, list[CreateExecution]]:
        """What was commanded, by the execution's id, as soon as there is so much."""
        found: dict[str, list[CreateExecution]] = {}
        for record in await self.records_when("execution_commands", lambda seen: len(seen) >= at_least):
            command = COMMAND_DECODER.decode(record.value or b"")
            assert isinstance(command, CreateExecution)
            found.setdefault(execution_key(record.key).execution_id, []).append(command)
        return found

    async def close(self) -> None:
        for task in self.workers.values():
            await self._cancel(task)
        await super().close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    _TAKEN.clear()
    async with open_house(lambda log: Town(log, tmp_path)) as house:
        assert isinstance(house, Town)
        house.run_resources()
        yield house


@pytest.mark.parametrize("seed", range(3))
async def test_each_evaluation_starts_one_execution_whoever_dies(town: Town, seed: int) -> None:
    """Schedulers and workers die at random; every execution was commanded once, and has what its evaluation found."""
    random = Random(seed)
    for name in ("one", "two"):
        town.start_scheduler(name)
    for _ in range(2):
        town.start_worker()
    trigger = "triggers: [{id: watch, type: Queue, interval: PT1M, allowConcurrent: true}]"
    await town.client.save_flow("main", "company.team", "polls", source("polls", "company.team", trigger))
    for minute in range(THINGS):
        await town.executions(minute + 1)
        match random.choice(["worker", "scheduler", "nothing"]):
            case "worker":
                await town.kill_worker(random.choice(sorted(town.workers)))
                town.start_worker()
            case "scheduler":
                name = random.choice(["one", "two"])
                await town.kill_scheduler(name)
                town.start_scheduler(name)
        town.clock.now += timedelta(minutes=1)
        for _ in range(random.randrange(30)):
            await asyncio.sleep(0)
        await town.kill_worker(random.choice(sorted(town.workers)))
        town.start_worker()
    found = await town.executions(THINGS + 1)
    assert {len(commands) for commands in found.values()} == {1}, f"seed {seed}"
    for execution_id, (command,) in found.items():
        assert command.trigger is not None
        assert command.trigger.variables == {"execution": execution_id}


@pytest.mark.parametrize("seed", range(3))
async def test_each_event_starts_one_execution_whoever_dies(town: Town, seed: int) -> None:
    """A source that delivers everything again to whoever listens next."""
    random = Random(seed)
    for name in ("one", "two"):
        town.start_scheduler(name)
    town.start_worker()
    town.start_worker()
    trigger = "triggers: [{id: hear, type: Stream}]"
    await town.client.save_flow("main", "company.team", "hears", source("hears", "company.team", trigger))
    for seen in (1, 3, 6, 9):
        _ALLOWED[0] = seen + 1
        await town.executions(seen)
        await town.kill_worker(random.choice(sorted(town.workers)))
        town.start_worker()
        name = random.choice(["one", "two"])
        await town.kill_scheduler(name)
        town.start_scheduler(name)
        town.clock.now += timedelta(seconds=10)
    _ALLOWED[0] = THINGS
    found = await town.executions(THINGS)
    values = sorted(
        command.trigger.variables["value"]
        for commands in found.values()
        for command in commands
        if command.trigger is not None
    )
    assert values == list(range(THINGS)), f"seed {seed}"
