"""The servers of the simulation: the real services, each with its own view of the log and nothing that it remembers.

A crash ends every task of a server at the await where it stands; a start begins with empty memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec

from flowtide.errors import IndexUnavailable, TaskFailed
from flowtide.expressions import Scope, render_value
from flowtide.index.port import Delete, Index, Write
from flowtide.index.queries import Bucket, Filter, Found, Group, Measure, Page, Query
from flowtide.log.embedded import EmbeddedLog
from flowtide.model.flow import Flow
from flowtide.model.identifiers import derived_identifier
from flowtide.model.plugin import Registry
from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.model.source import parse_flow
from flowtide.model.task import RunContext, RunnableTask
from flowtide.model.triggers.flow import FlowTrigger
from flowtide.processors.executions import executions_runtime
from flowtide.processors.runtime import Runtime
from flowtide.secrets import EnvironmentSecrets
from flowtide.services.catalog import Catalog
from flowtide.services.executor import Executor
from flowtide.services.indexer import Indexer
from flowtide.services.listeners import ListenerTable
from flowtide.services.liveness import Heartbeat, Liveness
from flowtide.services.plans import Plans
from flowtide.services.runtimes import flows_runtime, resources_runtime, triggers_runtime
from flowtide.services.scheduler import Scheduler
from flowtide.services.worker import Worker, WorkerSettings
from flowtide.storage import open_storage
from flowtide.telemetry import Metrics, Tracing
from flowtide.testing.clock import VirtualLoop
from tests.language import REGISTRY as LANGUAGE
from tests.simulation.faulty_log import Faults, FaultyLog

SERVER: ContextVar[str] = ContextVar("server", default="")
ATTEMPTS: list[tuple[str, str, int]] = []
"""Every attempt of a `Work` that began: (server, task run, attempt)."""


class Work(RunnableTask):
    """A task that takes time, and fails now and then; how, follows from its run and attempt."""

    mode: ClassVar[Any] = "async"

    seconds: float = 1.0
    failures: float = 0.0
    seed: int = 0

    async def run(self, context: RunContext) -> Any:
        """Work."""
        ATTEMPTS.append((SERVER.get(), context.task_run_id, context.attempt))
        chance = Random(f"{context.task_run_id} {context.attempt}")
        await asyncio.sleep(self.seconds * (0.1 + chance.random() * 2))
        if chance.random() < self.failures:
            raise TaskFailed("it was a bad day")
        return {"value": context.task_id}


class Note(RunnableTask):
    """A task that is over in a moment."""

    mode: ClassVar[Any] = "inline"

    failures: float = 0.0

    def run(self, context: RunContext) -> Any:
        """Note nothing."""
        if Random(f"{context.task_run_id} {context.attempt}").random() < self.failures:
            raise TaskFailed("it was a bad moment")
        return {"value": context.task_id}


FLOW = "io.kestra.plugin.core.trigger.Flow"
_plugins: dict[Any, Any] = {(kind, name): plugin for kind, name, plugin in LANGUAGE}
REGISTRY = Registry(
    {**_plugins, ("task", "Work"): Work, ("task", "Note"): Note, ("trigger", FLOW): FlowTrigger}
)


def parse(source: str, tenant: str = "main") -> Flow:
    """Read a flow.  Raises FlowInvalid."""
    return parse_flow(source, REGISTRY).valid()


class MemoryIndex(Index):
    """Documents in a dictionary, which can be away."""

    def __init__(self) -> None:
        self.away = False
        self.documents: dict[tuple[str, str, str], Write] = {}

    async def start(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def ensure(self) -> None:
        """There is nothing to make."""

    async def write(self, batch: Sequence[Write | Delete]) -> Mapping[int, str]:
        """See `Index`."""
        await asyncio.sleep(0.005)
        for position, document in enumerate(batch):
            if self.away:  # in the middle of a batch, too
                raise IndexUnavailable(f"the index is away, {position} documents were written")
            key = (document.kind, document.tenant, document.id)
            before = self.documents.get(key)
            if before is not None and before.version > document.version:
                continue
            if isinstance(document, Delete):
                self.documents.pop(key, None)
            else:
                self.documents[key] = document
        return {}

    async def refresh(self) -> None:
        """Everything is found at once."""

    async def get_many(self, kind: str, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Found]:
        """See `Index`."""
        if self.away:
            raise IndexUnavailable("the index is away")
        return {
            key: Found(id=key[1], version=found.version, body=found.body)
            for key in keys
            if (found := self.documents.get((kind, *key))) is not None
        }

    async def search(self, tenant: str, query: Query) -> Page:
        """Nobody searches here."""
        raise NotImplementedError

    async def count(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - the port's
        """Nobody counts here."""
        raise NotImplementedError

    async def aggregate(
        self,
        tenant: str,
        kind: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - the port's
        groups: Sequence[Group] = (),
        measures: Sequence[Measure] = (),
        limit: int | None = None,
    ) -> list[Bucket]:
        """Nobody aggregates here."""
        raise NotImplementedError

    async def delete(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - the port's
        """Nobody deletes here."""
        raise NotImplementedError

    async def clear(self, kinds: Sequence[str] = ()) -> None:
        """Nobody clears here."""
        raise NotImplementedError


class Server:
    """One server that can crash and start again."""

    def __init__(
        self,
        name: str,
        kind: ServiceType,
        log: EmbeddedLog,
        index: MemoryIndex,
        faults: Faults,
        loop: VirtualLoop,
        folder: Path,
        alter: Callable[[Runtime], None],
    ) -> None:
        self.name = name
        self.kind = kind
        self.failure: BaseException | None = None
        self.starts = 0
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their creation
        self._log = log
        self._index = index
        self._faults = faults
        self._loop = loop
        self._folder = folder
        self._alter = alter
        self._view: FaultyLog | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and did not crash."""
        return self._view is not None

    def start(self) -> None:
        """Begin with empty memory."""
        if self._view is not None:
            return
        self.starts += 1
        self._view = FaultyLog(self._log, self._faults, self.name)
        token = SERVER.set(self.name)
        self._loop.create_task(self._live(self._view), name=self.name)
        SERVER.reset(token)

    def crash(self) -> None:
        """End at once, wherever it stands; nothing it still does reaches the log."""
        if self._view is None:
            return
        self._view.dead = True
        self._view = None
        self._log.expel(self.name)
        for task in list(self.tasks):
            task.cancel()

    def expel(self) -> None:
        """Let the others believe that it is gone while it goes on."""
        self._log.expel(self.name)

    def noticed(self, error: BaseException) -> None:
        """A defect ended a part of it."""
        self.failure = self.failure or error

    async def _live(self, log: FaultyLog) -> None:
        while True:
            try:
                await self._start(log)
                return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if log.dead:
                    return
                if type(error).__name__ != "LogUnavailable":
                    self.noticed(error)
                    raise
                await asyncio.sleep(1)  # whoever starts servers tries again

    async def _start(self, log: FaultyLog) -> None:
        now = self._loop.now
        service_id = derived_identifier(self.name, str(self.starts), str(self._loop.time()))
        instance = ServiceInstance(
            id=service_id,
            type=self.kind,
            state=ServiceState.CREATED,
            host="simulation",
            version="0",
            started=now(),
            heartbeat=now(),
        )
        worker: list[Worker] = []

        def declared_dead(_: ServiceInstance) -> None:
            if worker:
                worker[0].on_declared_dead()
            self._loop.call_soon(self._restart)

        heartbeat = Heartbeat(log, instance, clock=now, on_declared_dead=declared_dead)
        match self.kind:
            case ServiceType.EXECUTOR:
                await self._execute(log, instance, heartbeat)
            case ServiceType.WORKER:
                await heartbeat.start()
                await heartbeat.become(ServiceState.RUNNING)
                worker.append(self._worker(log, service_id))
                await worker[0].run()
            case ServiceType.SCHEDULER:
                runtime = triggers_runtime(
                    log, instance=self.name, clock=now, registry=REGISTRY, render=self._render
                )
                self._alter(runtime)
                await Scheduler(runtime, heartbeat, on_failure=self.noticed).start()
            case _:
                await Indexer(
                    log, self._index, clock=now, instance=self.name, duration_clock=self._loop.time
                ).run()

    async def _execute(self, log: FaultyLog, instance: ServiceInstance, heartbeat: Heartbeat) -> None:
        now = self._loop.now
        catalog = Catalog(log, parse)
        await catalog.start()
        holder: list[Executor] = []
        liveness = Liveness(
            log,
            service_id=instance.id,
            clock=now,
            on_worker_dead=lambda *found: holder[0].worker_died(*found),  # noqa: PLW0108 - it is filled below
        )
        runtimes = [
            executions_runtime(
                log,
                instance=self.name,
                plans=Plans(catalog),
                clock=now,
                catch_up=catalog.catch_up,
                listeners=ListenerTable(catalog),
                hooks=_Hooks(lambda: holder[0].took_over() if holder else None),
            ),
            flows_runtime(log, instance=self.name, clock=now, catalog=catalog),
            resources_runtime(log, instance=self.name, clock=now, parse=parse),
        ]
        for runtime in runtimes:
            self._alter(runtime)
        holder.append(
            Executor(
                runtimes[0], runtimes[1:], heartbeat=heartbeat, liveness=liveness, on_failure=self.noticed
            )
        )
        await holder[0].start()

    def _worker(self, log: FaultyLog, service_id: str) -> Worker:
        clock = _Clock(self._loop)
        return Worker(
            log,
            open_storage("local", {"base-path": str(self._folder)}),
            REGISTRY,
            instance_id=service_id,
            secrets=EnvironmentSecrets({}),
            settings=WorkerSettings(threads=3, working_folder=self._folder),
            clock=clock,
            random=Random(service_id),
            metrics=Metrics(process=False),
            tracing=Tracing(None),
        )

    def _restart(self) -> None:
        self.crash()
        self.start()

    def _render(self, value: Any, variables: Mapping[str, Any]) -> Any:
        return render_value(value, Scope(variables, now=self._loop.now), typed=True)


class _Clock:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return self._loop.now()

    async def sleep(self, duration: Any) -> None:
        await asyncio.sleep(duration.total_seconds())


class _Hooks:
    def __init__(self, took_over: Callable[[], None]) -> None:
        self._took_over = took_over

    def batch(self, records: int, seconds: float) -> None:
        """Nobody counts."""

    def dead_letter(self, topic: str) -> None:
        """Nobody counts."""

    def partitions(self, owned: int) -> None:
        self._took_over()


def decoded(value: bytes) -> Any:
    """A record as plain values."""
    return msgspec.json.decode(value)
