"""A server process: opens what the settings name, wires the services that were asked for, starts and stops them.

Everything that is real enters here: the clock, randomness, the environment.  Services are started in the order in
which they need one another and stopped in the reverse one; what was opened is closed by the block that opened it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import secrets as system_secrets
import signal
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from flowtide import __version__
from flowtide.engine.support import warn_of_unsupported
from flowtide.errors import FlowtideError
from flowtide.expressions import compile_template
from flowtide.index.port import Index
from flowtide.log.keys import FlowKey
from flowtide.log.port import Log
from flowtide.log.topics import load_topics
from flowtide.model.flow import Flow, PluginDefault
from flowtide.model.identifiers import identifier_of
from flowtide.model.instance import KillSwitch
from flowtide.model.plugin import Registry
from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.model.source import ParsedFlow, parse_flow
from flowtide.processors import executions as executions_processor
from flowtide.processors import flows as flows_processor
from flowtide.processors import resources as resources_processor
from flowtide.processors import triggers as triggers_processor
from flowtide.processors.executions import executions_runtime
from flowtide.processors.job_topics import jobs_topic, topic_of_group
from flowtide.secrets import STORED_KINDS, open_encryption, open_secrets
from flowtide.services.audit import Audit
from flowtide.services.catalog import Catalog
from flowtide.services.credentials import Credentials
from flowtide.services.dedicated import Dedicated, manager_opener
from flowtide.services.execution_metrics import ExecutionMetrics, ProcessorMetrics, ScheduleMetrics
from flowtide.services.executor import Executor
from flowtide.services.leader_jobs import start_leader_jobs
from flowtide.services.lent_index import LentIndex
from flowtide.services.lifecycle import liveness_rules
from flowtide.services.listeners import ListenerTable
from flowtide.services.liveness import Heartbeat, Liveness
from flowtide.services.operations import Operations
from flowtide.services.outbound import outbound_rules
from flowtide.services.plans import Plans
from flowtide.services.platform import Platforms
from flowtide.services.platform.isolation import isolation_of
from flowtide.services.platform.namespaces import Namespaces
from flowtide.services.plugin_configurations import (
    allowed_paths_of_types,
    plugin_configurations,
    recover_missed_schedules,
    subflow_outputs,
)
from flowtide.services.plugin_defaults import plugin_defaults
from flowtide.services.plugins import discover_plugins
from flowtide.services.ports import indexer_patience, open_files, open_index, open_log
from flowtide.services.rendering import Rendering
from flowtide.services.runtimes import flows_runtime, resources_runtime, triggers_runtime
from flowtide.services.saving import ResourceClient
from flowtide.services.scheduler import Scheduler
from flowtide.services.secret_keys import SecretKeys
from flowtide.services.secret_store import SecretStore
from flowtide.services.templates import Templates
from flowtide.services.watched import Stream, Watched
from flowtide.services.worker.settings import SystemClock, WorkerSettings
from flowtide.services.worker_groups import AllowedTenants, WorkerGroups
from flowtide.settings import QueueType, Settings
from flowtide.storage import Storage
from flowtide.telemetry import Metrics, Tracing, configure_tracing

if TYPE_CHECKING:
    from aiohttp import web
    from opentelemetry.sdk.trace.export import SpanExporter

ALL_SERVICES = frozenset(ServiceType)

logger = structlog.get_logger(__name__)


class Startable(Protocol):
    """A service of a process."""

    async def start(self) -> None:
        """Begin to serve."""

    async def stop(self) -> None:
        """Serve no more, in order."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is real: replaced in tests."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    environment: Mapping[str, str]
    host: str
    ids: Callable[[], str] = lambda: identifier_of(system_secrets.randbits(128))


def system_surroundings() -> Surroundings:
    """The real ones."""
    return Surroundings(environment=dict(os.environ), host=platform.node() or "localhost")


class Process:
    """The services of one process and what they share.  `run` serves until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        services: Collection[ServiceType],
        *,
        surroundings: Surroundings | None = None,
        registry: Registry | None = None,
        web_application: Callable[[Process], web.Application] | None = None,
        management: bool = False,
        span_exporter: SpanExporter | None = None,
        standing_switches: Mapping[str, KillSwitch] | None = None,
    ) -> None:
        """`web_application` builds what the webserver serves; a process with one needs it.

        `management` opens the management port; `span_exporter` takes the place of the configured one;
        `standing_switches` are kill switches of this process alone, by their names.
        """
        self._web_application = web_application
        self._with_management = management
        self._span_exporter = span_exporter
        self._standing_switches = standing_switches or {}
        self.settings = settings
        self.services = frozenset(services)
        self.surroundings = surroundings or system_surroundings()
        self.registry = registry or discover_plugins()
        self.encryption = open_encryption(  # None: SECRETs fail
            settings.encryption.secret_key, settings.encryption.former_secret_keys
        )
        self._outer_secrets = open_secrets(
            settings.secret.type,
            self.surroundings.environment,
            options=settings.secret.options,
            encryption=self.encryption,
            folder=settings.data_path,
        )
        self.metrics = Metrics(prefix=settings.metrics.prefix, labels=tuple(settings.metrics.labels))
        self.log: Log
        self.index: Index
        self.storage: Storage
        self.catalog: Catalog
        self.client: ResourceClient
        self.platforms: Platforms
        self.rendering: Rendering
        self.tracing: Tracing
        self.heartbeats: dict[ServiceType, Heartbeat] = {}
        self.parts: dict[str, Any] = {}  # what was started, by name, for diagnostics
        self.ready = asyncio.Event()
        self.started_at = self.surroundings.clock()
        self._plugin_defaults = plugin_defaults(settings)
        self._namespaces: Callable[[str], Namespaces] | None = None  # there once the process is open
        self._ending = asyncio.Event()
        self._failure: BaseException | None = None
        # A server keeps its name when it starts again; one that takes any free port has none to keep.
        self._server = f"{self.surroundings.host}-{settings.management.port or f'process-{os.getpid()}'}"
        self._watched = Watched(
            settings=settings, metrics=self.metrics, services=self.services, is_ready=self.ready.is_set
        )

    # Life.

    async def run(self) -> None:
        """Serve until `stop`, a signal, or a failure, which is raised."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            async with self.serving():
                await self._ending.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        if self._failure is not None:
            raise self._failure

    def _on_signal(self, number: signal.Signals) -> None:
        """The first signal ends the process in order, an interrupt after it at once (whoever asks twice means it)."""
        if self._ending.is_set() and number is signal.SIGINT:
            os._exit(128 + number)
        self.stop()

    def stop(self) -> None:
        """End `run` in order: no new work, running work gets the grace period."""
        self._ending.set()

    def fail(self, error: BaseException) -> None:
        """A part of the process ended by a defect, or others took it for dead: the process ends."""
        if self._failure is None:
            self._failure = error
        self._ending.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Process]:
        """Everything is started inside the block, and stopped in the reverse order after it."""
        async with AsyncExitStack() as stack:
            await self._open(stack)
            for start in self._starts():
                await start(stack)
            self.operations.watch(self.parts, self.heartbeats)
            self.ready.set()
            yield self
            self.ready.clear()

    async def _open(self, stack: AsyncExitStack) -> None:
        """The log, files and what every service reads."""
        settings = self.settings
        if self._with_management:
            from flowtide.services.management import Management  # processes without it start faster

            management = Management(self._watched)
            await management.start()
            stack.push_async_callback(management.stop)
            self.parts["management"] = management
        self.tracing = configure_tracing(settings, exporter=self._span_exporter)
        stack.callback(self.tracing.close)
        self.log = open_log(settings)
        await self.log.start()
        stack.push_async_callback(self.log.close)
        self._watched.log = self.log
        await self.log.ensure_topics(list(load_topics().values()))
        self.catalog = Catalog(self.log, self._parse)
        await self.catalog.start()
        stack.push_async_callback(self.catalog.close)
        self.client = ResourceClient(
            self.log,
            self.catalog,
            instance=f"{self._server}-saving",
            clock=self.surroundings.clock,
            ids=self.surroundings.ids,
        )
        stack.push_async_callback(self.client.close)
        self.operations = Operations(
            self.catalog, clock=self.surroundings.clock, standing=self._standing_switches
        )
        stack.push_async_callback(self.operations.close)
        self.audit = Audit(self.log, clock=self.surroundings.clock, ids=self.surroundings.ids)
        stack.push_async_callback(self.audit.close)
        secret = settings.secret
        keys = SecretKeys(settings, self.encryption, self.catalog, self.client)
        self.dedicated = Dedicated(self.catalog, keys)
        self.storage = open_files(settings, self.dedicated.storage_place)
        stack.push_async_callback(self.storage.close)
        self.secrets = SecretStore(
            catalog=self.catalog,
            client=self.client,
            keys=keys,
            fallback=self._outer_secrets,
            clock=self.surroundings.clock,
            read_only=secret.read_only or secret.type not in STORED_KINDS,
            dedicated=self.dedicated,
            outside=manager_opener(self.surroundings.environment, self.encryption),
        )
        outbound = outbound_rules(settings)
        self.credentials = Credentials(
            catalog=self.catalog,
            client=self.client,
            secrets=self.secrets,
            clock=self.surroundings.clock,
            ids=self.surroundings.ids,
            outbound=outbound,
        )
        self._lent_index = LentIndex(lambda: open_index(settings))
        stack.push_async_callback(self._lent_index.close)
        self.platforms = Platforms(
            log=self.log,
            catalog=self.catalog,
            client=self.client,
            storage=self.storage,
            index=self._index_of,
            clock=self.surroundings.clock,
            new_identifier=self.surroundings.ids,
            allowed_paths=settings.local_files.allowed_paths,
            allowed_paths_of=allowed_paths_of_types(self.settings),
            isolation=isolation_of(settings, self.dedicated.denied),
            stores_outputs=self.dedicated.stores_outputs,
            credentials=self.credentials,
            outbound=outbound,
        )
        self._namespaces = self.platforms.namespaces
        self.rendering = self._rendering(ServiceType.WEBSERVER)

    async def _index_of(self) -> Index:
        """The index, opened when it is first needed in a process whose services do not need it."""
        own = self.services & {ServiceType.WEBSERVER, ServiceType.INDEXER}
        return self.index if own else await self._lent_index.get()

    def _rendering(self, service: ServiceType) -> Rendering:
        return Rendering(
            self.platforms,
            secrets=self.secrets,
            cipher=self.encryption,
            clock=self.surroundings.clock,
            service=service,
        )

    def _starts(self) -> list[Callable[[AsyncExitStack], Any]]:
        starts: list[Callable[[AsyncExitStack], Any]] = []
        if self.services & {ServiceType.WEBSERVER, ServiceType.INDEXER}:
            starts.append(self._start_index)
        for service, start in (
            (ServiceType.EXECUTOR, self._start_executor),
            (ServiceType.SCHEDULER, self._start_scheduler),
            (ServiceType.INDEXER, self._start_indexer),
            (ServiceType.WORKER, self._start_worker),
            (ServiceType.WEBSERVER, self._start_webserver),
        ):
            if service in self.services:
                starts.append(start)
        return starts

    # The services.

    async def _start_index(self, stack: AsyncExitStack) -> None:
        self.index = open_index(self.settings)
        stack.push_async_callback(self.index.close)  # also after a start that failed halfway
        await self.index.start()
        self._watched.index = self.index

    async def _start_executor(self, stack: AsyncExitStack) -> None:
        clock = self.surroundings.clock
        instance = self._instance(ServiceType.EXECUTOR)
        heartbeat = self._heartbeat(instance)
        holder: list[Executor] = []

        def worker_died(worker_id: str, resubmit: bool) -> None:
            holder[0].worker_died(worker_id, resubmit)

        liveness = Liveness(
            self.log,
            service_id=instance.id,
            clock=clock,
            on_worker_dead=worker_died,
            rules=liveness_rules(self.settings),
            sole_ids=self._sole_ids(),
        )
        plans = Plans(
            self.catalog,
            instance_variables=self.worker_settings().base_variables(),
            cipher=self.encryption,
            subflow_outputs=subflow_outputs(self.settings),
            listeners=self.settings.listeners.enabled,
            templates=Templates(self.catalog, self._parse) if self.settings.templates.enabled else None,
            default_groups=self.dedicated.worker_groups,
            namespace_variables=lambda tenant, namespace: self.platforms.namespaces(tenant).variables(
                namespace
            ),
        )
        executions = executions_runtime(
            self.log,
            switches=self.operations,
            may_use=AllowedTenants(self.catalog),
            has_workers=WorkerGroups(lambda: liveness.instances if liveness.is_informed else None),
            instance=self._member(ServiceType.EXECUTOR),
            plans=plans,
            clock=clock,
            catch_up=self.catalog.catch_up,
            observer=ExecutionMetrics(self.metrics, with_labels=bool(self.settings.metrics.labels)),
            tracing=self.tracing,
            hooks=ProcessorMetrics(
                self.metrics, "execution_commands", lambda _: holder[0].took_over() if holder else None
            ),
            listeners=ListenerTable(self.catalog, self.platforms.check_access),
            check_access=self.platforms.check_access,
        )
        flows = flows_runtime(
            self.log,
            instance=self._member(ServiceType.EXECUTOR),
            clock=clock,
            catalog=self.catalog,
            render=self.rendering.render,
            render_inputs=self.rendering.render_inputs,
            hooks=ProcessorMetrics(self.metrics, "flow_commands"),
            on_popped=self._count_popped,
        )
        resources = resources_runtime(
            self.log,
            instance=self._member(ServiceType.EXECUTOR),
            clock=clock,
            parse=self._parse,
            hooks=ProcessorMetrics(self.metrics, "resource_commands"),
        )
        executor = Executor(
            executions, (flows, resources), heartbeat=heartbeat, liveness=liveness, on_failure=self.fail
        )
        holder.append(executor)
        self.parts["executor"] = executor
        self.parts["executions"] = executions
        self._watched.streams += [
            Stream(group=executions_processor.GROUP, topics=("execution_commands",), runtime=executions),
            Stream(group=flows_processor.GROUP, topics=(flows_processor.COMMANDS,), runtime=flows),
            Stream(
                group=resources_processor.GROUP, topics=(resources_processor.COMMANDS,), runtime=resources
            ),
        ]
        self.parts["liveness"] = liveness
        await self._begin(stack, executor)
        start_leader_jobs(
            stack,
            settings=self.settings,
            # Of all executors the one that owns the first partition of what is saved.
            is_leader=lambda: 0 in resources.owned,
            catalog=self.catalog,
            client=self.client,
            dedicated=self.dedicated,
            platforms=self.platforms,
            storage=self.storage,
            index=self._index_of,
            log=self.log,
            clock=clock,
        )

    async def _start_scheduler(self, stack: AsyncExitStack) -> None:
        rendering = self._rendering(ServiceType.SCHEDULER)
        instance = self._instance(ServiceType.SCHEDULER)
        heartbeat = self._heartbeat(instance)
        holder: list[Scheduler] = []

        def worker_died(worker_id: str, resubmit: bool) -> None:
            holder[0].worker_died(worker_id, resubmit)

        liveness = Liveness(
            self.log,
            service_id=instance.id,
            clock=self.surroundings.clock,
            on_worker_dead=worker_died,
            rules=liveness_rules(self.settings),
            sole_ids=self._sole_ids(),
        )
        metrics = ScheduleMetrics(
            self.metrics, "trigger_commands", lambda _: holder[0].took_over() if holder else None
        )
        runtime = triggers_runtime(
            self.log,
            instance=self._member(ServiceType.SCHEDULER),
            clock=self.surroundings.clock,
            registry=self.registry,
            render=rendering.render,
            render_inputs=rendering.render_inputs,
            recover=recover_missed_schedules(self.settings),
            default_group=self.dedicated.trigger_group,
            evaluations=metrics,
            hooks=metrics,
        )
        self.parts["triggers"] = runtime
        self._watched.triggers = runtime
        self._watched.streams.append(
            Stream(group=triggers_processor.GROUP, topics=(triggers_processor.COMMANDS,), runtime=runtime)
        )
        scheduler = Scheduler(runtime, heartbeat, liveness=liveness, on_failure=self.fail)
        holder.append(scheduler)
        await self._begin(stack, scheduler)

    async def _start_indexer(self, stack: AsyncExitStack) -> None:
        from flowtide.services import indexer as indexing  # processes without it start faster

        indexer = indexing.Indexer(
            self.log,
            self.index,
            batch_size=self.settings.indexer.batch_size,
            batch_duration=indexer_patience(self.settings),
            clock=self.surroundings.clock,
            instance=self._member(ServiceType.INDEXER),
            metrics=indexing.TelemetryMetrics(self.metrics),
        )
        self.parts["indexer"] = indexer
        self._watched.streams.append(Stream(group=indexing.GROUP, topics=tuple(indexing.TOPICS)))

        async def stop() -> None:
            indexer.stop()

        await self._host(stack, ServiceType.INDEXER, indexer.run, stop)

    async def _start_worker(self, stack: AsyncExitStack) -> None:
        from flowtide.services.worker.worker import Worker  # processes without it start faster

        instance = self._instance(ServiceType.WORKER)
        worker = Worker(
            self.log,
            self.storage,
            self.registry,
            instance_id=instance.id,
            secrets=self.secrets,
            settings=self.worker_settings(),
            clock=SystemClock(),
            random=random.SystemRandom(),
            metrics=self.metrics,
            tracing=self.tracing,
            cipher=self.encryption,
            platforms=self.platforms,
            on_problem=lambda sentence: logger.warning("worker", problem=sentence),
        )
        self.parts["worker"] = worker
        self._watched.worker = worker
        group = self.settings.worker.group
        if group is not None:
            await self.log.ensure_topics([topic_of_group(group)])
        said = {name: value for name, value in worker.properties().items() if name != "running"}
        instance = msgspec.structs.replace(instance, properties={**instance.properties, **said})
        self._watched.streams.append(
            Stream(
                group="worker" if group is None else f"worker-{group}", topics=(self.worker_settings().topic,)
            )
        )
        grace = self.settings.server.termination_grace_period

        async def stop() -> None:
            await worker.stop(grace)

        await self._host(
            stack,
            ServiceType.WORKER,
            worker.run,
            stop,
            instance=instance,
            on_declared_dead=worker.on_declared_dead,
            ends_forced=lambda: worker.has_abandoned,
        )

    async def _start_webserver(self, stack: AsyncExitStack) -> None:
        from flowtide.services.webserver import STALLED_AFTER, Webserver  # processes without it start faster

        await self.client.start()
        heartbeat = self._heartbeat(self._instance(ServiceType.WEBSERVER))
        await heartbeat.start()
        if self._web_application is None:
            raise ValueError("a process with a webserver needs a web application")
        server = self.settings.server
        webserver = Webserver(
            self._web_application(self),
            host=server.host,
            port=server.port,
            idle_timeout=server.idle_timeout,
            head_timeout=min(server.read_idle_timeout, STALLED_AFTER),
            write_timeout=min(server.write_idle_timeout, STALLED_AFTER),
            access_log=server.access_log.enabled,
            access_log_exclusions=server.access_log.exclusions,
        )
        self.parts["webserver"] = webserver
        await webserver.start()
        await heartbeat.become(ServiceState.RUNNING)

        async def stop() -> None:
            await heartbeat.become(ServiceState.TERMINATING)
            await webserver.stop()
            await heartbeat.stop(ServiceState.TERMINATED_GRACEFULLY)

        stack.push_async_callback(stop)

    async def _host(
        self,
        stack: AsyncExitStack,
        service: ServiceType,
        run: Callable[[], Any],
        stop: Callable[[], Any],
        *,
        instance: ServiceInstance | None = None,
        on_declared_dead: Callable[[], None] | None = None,
        ends_forced: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run a coroutine as a service with a heartbeat; its failure ends the process."""
        heartbeat = self._heartbeat(instance or self._instance(service), on_declared_dead)
        await heartbeat.start()
        task = asyncio.create_task(run(), name=service.value.lower())

        def ended(task: asyncio.Task[Any]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                logger.error("a service ended by a defect", service=service.value, exc_info=error)
                self.fail(error)

        task.add_done_callback(ended)
        await heartbeat.become(ServiceState.RUNNING)

        async def end() -> None:
            await heartbeat.become(ServiceState.TERMINATING)
            await stop()
            await asyncio.wait({task}, timeout=10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            forced = ends_forced()
            await heartbeat.stop(
                ServiceState.TERMINATED_FORCED if forced else ServiceState.TERMINATED_GRACEFULLY
            )

        stack.push_async_callback(end)

    async def _begin(self, stack: AsyncExitStack, service: Startable) -> None:
        await service.start()
        stack.push_async_callback(service.stop)

    # What services are handed.

    def worker_settings(self) -> WorkerSettings:
        """What the operator configured for workers and for expressions."""
        settings = self.settings
        group = settings.worker.group
        return WorkerSettings(
            threads=settings.worker.threads,
            group=group,
            topic=jobs_topic(group),
            working_folder=settings.tasks.tmp_dir,
            environment=self.surroundings.environment,
            variables_prefix=settings.variables.env_vars_prefix,
            global_variables=settings.variables.globals,
            environment_name=settings.environment.name,
            url=settings.url,
            recursive_rendering=settings.variables.recursive_rendering,
            plugin_configurations=plugin_configurations(self.settings),
        )

    def _count_popped(self, flow: FlowKey) -> None:
        self.metrics.counter("executor.execution.popped.count", *flow).add()

    def read_flow(self, source: str, tenant: str = "main") -> ParsedFlow:
        """Read a flow with the plugins and defaults of this instance, and compile its templates."""
        parsed = parse_flow(
            source,
            self.registry,
            plugin_defaults=self._plugin_defaults,
            namespace_defaults=self._defaults_of(tenant),
            check=_check_template,
        )
        return warn_of_unsupported(parsed)

    def _parse(self, source: str, tenant: str) -> Flow:
        return parse_flow(
            source,
            self.registry,
            plugin_defaults=self._plugin_defaults,
            namespace_defaults=self._defaults_of(tenant),
        ).valid()

    def _defaults_of(self, tenant: str) -> Callable[[str], list[Sequence[PluginDefault]]] | None:
        """What gives the plugin defaults of a tenant's namespaces."""
        return None if self._namespaces is None else self._namespaces(tenant).plugin_defaults

    def _instance(self, service: ServiceType) -> ServiceInstance:
        now = self.surroundings.clock()
        return ServiceInstance(
            id=self.surroundings.ids(),
            type=service,
            state=ServiceState.CREATED,
            host=self.surroundings.host,
            version=__version__,
            started=now,
            heartbeat=now,
            properties={"managementPort": str(self.settings.management.port)},
        )

    def _heartbeat(
        self, instance: ServiceInstance, on_declared_dead: Callable[[], None] | None = None
    ) -> Heartbeat:
        def declared_dead(found: ServiceInstance) -> None:
            if on_declared_dead is not None:
                on_declared_dead()
            self.fail(
                DeclaredDead(
                    f"another server took this {instance.type.value.lower()} for dead: {found.reason}"
                )
            )

        heartbeat = Heartbeat(
            self.log,
            instance,
            clock=self.surroundings.clock,
            on_declared_dead=declared_dead,
            interval=self.settings.server.liveness.heartbeat_interval,
        )
        self.heartbeats[instance.type] = heartbeat
        return heartbeat

    def _member(self, service: ServiceType) -> str:
        """The name in consumer groups: the same after a restart of the same server, another on every other one."""
        return f"{self._server}-{service.value.lower()}"

    def _sole_ids(self) -> Collection[str] | None:
        """The embedded log belongs to one process: whoever else it names ended with a former one."""
        if self.settings.queue.type is not QueueType.EMBEDDED:
            return None
        return [heartbeat.instance.id for heartbeat in self.heartbeats.values()]


def _check_template(text: str) -> None:
    compile_template(text)


class DeclaredDead(FlowtideError):
    """Others took this server for dead and gave its work away, so it ends itself (LIFE-5)."""

    code = "declared-dead"
