"""A worker on an embedded log in memory, with a clock that moves when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Self

import msgspec

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message, Record
from flowtide.log.topics import load_topics
from flowtide.model.commands import (
    COMMAND_DECODER,
    LoseWorker,
    ReportDirectoryOpened,
    ReportEvaluation,
    ReportRunEnded,
    ReportRunStarted,
)
from flowtide.model.encrypted import Cipher
from flowtide.model.entries import LOG_DECODER, METRIC_DECODER, LogEntry, MetricEntry
from flowtide.model.jobs import Evaluate, FlowRef, KillRun, RunTask
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.secrets import EnvironmentSecrets
from flowtide.services.plugins import discover_plugins
from flowtide.services.worker import Worker, WorkerSettings
from flowtide.storage import Storage, open_storage
from flowtide.telemetry import Metrics, Tracing

TOPICS = list(load_topics().values())
REGISTRY = discover_plugins()
for _kind in ("task", "runner"):
    for _name in REGISTRY.names(_kind):
        REGISTRY.find(_kind, _name)  # imported here, where reading files blocks nobody
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
Report = ReportRunStarted | ReportRunEnded | ReportEvaluation | ReportDirectoryOpened | LoseWorker


class FakeClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self._now = START
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + duration, future))
        await future

    @property
    def sleeping(self) -> int:
        return sum(1 for _, future in self._sleepers if not future.done())

    def advance(self, duration: timedelta) -> None:
        self._now += duration
        for due, future in self._sleepers:
            if due <= self._now and not future.done():
                future.set_result(None)


class WorkerHarness:
    """Gives jobs to one worker and collects what it reports.  Use as an async context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        registry: Registry | None = None,
        message_limit_bytes: int = 1024 * 1024,
        secrets: Mapping[str, str] | None = None,
        partitions: int = 1,
        cipher: Cipher | None = None,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.log = EmbeddedLog(
            None,
            clock=lambda: self.clock.now().timestamp(),
            partitions=partitions,
            message_limit_bytes=message_limit_bytes,
        )
        self.storage: Storage = open_storage("local", {"base-path": str(folder / "storage")})
        self.problems: list[str] = []
        self.metrics = Metrics(process=False)
        self.settings = WorkerSettings(
            working_folder=folder / "work", **{"threads": 4, "environment": {}, **settings}
        )
        self._registry = registry or REGISTRY
        self._cipher = cipher
        self._secrets = EnvironmentSecrets(secrets or {})
        self.worker = self.another_worker("worker-1")
        self.reports: list[Report] = []
        self.lines: list[LogEntry] = []
        self.measured: list[MetricEntry] = []
        self.dead_letters: list[Record] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._number = 0

    def another_worker(self, instance_id: str) -> Worker:
        return Worker(
            self.log,
            self.storage,
            self._registry,
            instance_id=instance_id,
            secrets=self._secrets,
            settings=self.settings,
            clock=self.clock,
            random=Random(1),
            metrics=self.metrics,
            tracing=Tracing(None),
            cipher=self._cipher,
            on_problem=self.problems.append,
        )

    async def __aenter__(self) -> Self:
        await self.log.start()
        await self.log.ensure_topics(TOPICS)
        self._tasks = [
            asyncio.create_task(self._follow("execution_commands", self._command)),
            asyncio.create_task(self._follow("logs", self._line)),
            asyncio.create_task(self._follow("metrics", self._metric)),
            asyncio.create_task(self._follow("dead_letters", self.dead_letters.append)),
        ]
        return self

    def start(self) -> asyncio.Task[None]:
        running = asyncio.create_task(self.worker.run())
        self._tasks.append(running)
        return running

    async def __aexit__(self, *_: object) -> None:
        self.worker.on_declared_dead()
        for task in self._tasks[:4]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.log.close()
        await self.storage.close()

    async def _follow(self, topic: str, handle: Callable[[Record], None]) -> None:
        reader = await self.log.reader(topic, "beginning")
        while True:
            for record in await reader.poll(maximum=1000, timeout=timedelta(seconds=1)):
                handle(record)

    def _command(self, record: Record) -> None:
        command = COMMAND_DECODER.decode(record.value or b"")
        assert isinstance(command, Report)
        self.reports.append(command)

    def _line(self, record: Record) -> None:
        self.lines.append(LOG_DECODER.decode(record.value or b""))

    def _metric(self, record: Record) -> None:
        self.measured.append(METRIC_DECODER.decode(record.value or b""))

    def job(
        self, type_name: str, /, *, variables: Mapping[str, Any] | None = None, **properties: Any
    ) -> RunTask:
        self._number += 1
        task = {"id": "t", "type": f"io.kestra.plugin.{type_name}", **properties}
        return RunTask(
            tenant_id="main",
            execution_id="e1",
            run_id=f"r{self._number}",
            attempt=0,
            task_id="t",
            flow=FlowRef(namespace="company.team", id="f", revision=1),
            task=msgspec.Raw(encode(task)),
            variables=msgspec.Raw(encode(variables or {})),
            at=self.clock.now(),
        )

    async def send(self, *jobs: RunTask | Evaluate | bytes) -> None:
        await self.log.append(
            [
                Message(
                    topic="worker_jobs", key="main/e1/r", value=job if isinstance(job, bytes) else encode(job)
                )
                for job in jobs
            ]
        )

    async def kill(self, run_id: str) -> None:
        kill = KillRun(tenant_id="main", execution_id="e1", run_id=run_id, at=self.clock.now())
        await self.log.append([Message(topic="worker_controls", key="main/e1", value=encode(kill))])

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until something holds; says what is known when it never does."""
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"it never held; problems {self.problems}, reports {self.reports}")

    def ended(self, run_id: str) -> ReportRunEnded | None:
        for report in self.reports:
            if isinstance(report, ReportRunEnded) and report.run_id == run_id:
                return report
        return None

    async def end_of(self, job: RunTask) -> ReportRunEnded:
        await self.until(lambda: self.ended(job.run_id) is not None)
        report = self.ended(job.run_id)
        assert report is not None
        return report

    async def run(self, type_name: str, /, **properties: Any) -> ReportRunEnded:
        """Send one job and wait for its end."""
        job = self.job(type_name, **properties)
        await self.send(job)
        return await self.end_of(job)

    def messages(self, level: str | None = None) -> list[str]:
        return [line.message for line in self.lines if level is None or line.level == level]
