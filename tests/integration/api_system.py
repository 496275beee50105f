"""A whole small Flowtide in this process for tests of the API: in-memory log and index, executor, worker, indexer.

Requests go through a real socket to the real application.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from flowtide.api.application import Backends, application
from flowtide.api.authentication import Authentication
from flowtide.api.keys import Site
from flowtide.api.security import Security
from flowtide.api.setup import SavedCredentials
from flowtide.expressions import Scope, compile_template, render_value
from flowtide.index.embedded import EmbeddedIndex
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model.commands import ReportRunEnded, ReportRunStarted
from flowtide.model.entries import Level, LogEntry
from flowtide.model.identifiers import identifier_of
from flowtide.model.jobs import CONTROL_DECODER, JOB_DECODER, KillRun, RunTask
from flowtide.model.records import encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.processors.executions import executions_runtime
from flowtide.secrets import EnvironmentSecrets
from flowtide.services.audit import Audit
from flowtide.services.catalog import Catalog
from flowtide.services.credentials import Credentials
from flowtide.services.dedicated import Dedicated
from flowtide.services.indexer import TOPICS, Indexer
from flowtide.services.plans import Plans
from flowtide.services.platform import Platforms
from flowtide.services.platform.isolation import Isolation
from flowtide.services.plugins import discover_plugins
from flowtide.services.runtimes import flows_runtime, resources_runtime
from flowtide.services.saving import ResourceClient
from flowtide.services.secret_keys import SecretKeys
from flowtide.services.secret_store import SecretStore
from flowtide.settings import Settings
from flowtide.storage import RoutedStorage, Storage, open_blocking
from flowtide.telemetry import Metrics, Tracing

USERNAME, PASSWORD = "admin@example.org", "Admin1234"
LOGIN = "Basic " + b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
Client = TestClient[Any, Any]


@dataclass
class System:
    """The running parts, and two clients of the API."""

    client: Client  # logged in
    stranger: Client  # not logged in
    log: EmbeddedLog
    index: EmbeddedIndex
    indexer: Indexer
    catalog: Catalog
    storage: Storage
    backends: Backends
    site: Site

    async def indexed(self) -> None:
        """Everything that is on the log is in the index."""
        while any((await self.log.lag("indexer", TOPICS)).values()):
            await self.indexer.step()
        await self.index.refresh()

    async def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """Ask again until the answer is as wanted, and give it."""
        while True:
            await self.indexed()
            async with self.client.get(path) as response:
                body = await response.json()
                if response.status == 200 and holds(body):
                    return body
            await asyncio.sleep(0)


def _check(template: str) -> None:
    compile_template(template)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    site: Site | None = None,
    username: str | None = USERNAME,
    password: str | None = PASSWORD,
    open_urls: tuple[str, ...] = (),
    with_executor: bool = True,
    security: Security | None = None,
) -> AsyncIterator[System]:
    """Start the parts; everything ends with the block."""
    registry = discover_plugins()
    log = EmbeddedLog(None, clock=lambda: datetime.now(UTC).timestamp(), partitions=4)
    await log.start()
    await log.ensure_topics(list(load_topics().values()))
    index = EmbeddedIndex(None)
    await index.start()
    numbers = iter(range(1, 1_000_000))
    clock = lambda: datetime.now(UTC)  # noqa: E731 - one expression, named for its role

    def new_identifier() -> str:
        return identifier_of(next(numbers))

    async def index_of() -> EmbeddedIndex:
        return index

    def parse(source: str) -> Any:
        return parse_flow(source, registry, check=_check)

    catalog = Catalog(log, lambda source, _: parse(source).valid())
    await catalog.start()
    resources = ResourceClient(log, catalog, instance="test", clock=clock, ids=new_identifier)
    runtimes = [
        resources_runtime(log, instance="test", clock=clock, parse=lambda source, _: parse(source).flow)
    ]
    if with_executor:
        runtimes.append(
            executions_runtime(
                log, instance="test", plans=Plans(catalog), clock=clock, catch_up=catalog.catch_up
            )
        )
        runtimes.append(flows_runtime(log, instance="test", clock=clock, catalog=catalog))
    tasks = [asyncio.create_task(runtime.run()) for runtime in runtimes]
    tasks.append(asyncio.create_task(_work(log, clock)))
    await resources.start()
    indexer = Indexer(log, index, clock=clock)
    settings = Settings.load(environment={}, overrides={"flowtide.data-path": str(folder / "data")})
    keys = SecretKeys(settings, None, catalog, resources)
    dedicated = Dedicated(catalog, keys)

    instance_storage = open_blocking("local", {"base-path": str(folder)})
    storage = Storage(RoutedStorage(instance_storage, dedicated.storage_place))
    secrets = SecretStore(
        catalog=catalog,
        client=resources,
        keys=keys,
        fallback=EnvironmentSecrets({}),
        clock=clock,
        dedicated=dedicated,
    )
    credentials = Credentials(
        catalog=catalog, client=resources, secrets=secrets, clock=clock, ids=new_identifier
    )
    audit = Audit(log, clock=clock, ids=new_identifier)
    backends = Backends(
        security=security or Security(),
        log=log,
        index=index,
        storage=storage,
        catalog=catalog,
        resources=resources,
        authentication=Authentication(
            SavedCredentials(catalog, resources),
            username=username,
            password=password,
            open_urls=open_urls,
            hash_rounds=4,
        ),
        metrics=Metrics(process=False),
        tracing=Tracing(None),
        clock=clock,
        new_identifier=new_identifier,
        platforms=Platforms(
            log=log,
            catalog=catalog,
            client=resources,
            storage=storage,
            index=index_of,
            clock=clock,
            new_identifier=new_identifier,
            credentials=credentials,
            isolation=Isolation(denied=dedicated.denied),
        ),
        registry=registry,
        parse_flow=lambda source, tenant: parse(source),
        audit=audit,
        secrets=secrets,
        dedicated=dedicated,
        credentials=credentials,
        render=lambda value, variables: render_value(value, Scope(variables, now=clock), typed=True),
    )
    site = site or Site()
    # Tests write the index when they like; a list that waited for it would wait in vain.
    site = replace(site, answer_timeout=timedelta(seconds=20), index_timeout=timedelta(0))
    server = TestServer(application(backends, site))
    try:
        async with TestClient(server, headers={"Authorization": LOGIN}) as client:
            stranger: Client = TestClient(server)
            try:
                yield System(
                    client=client,
                    stranger=stranger,
                    log=log,
                    index=index,
                    indexer=indexer,
                    catalog=catalog,
                    storage=storage,
                    backends=backends,
                    site=site,
                )
            finally:
                await stranger.session.close()
    finally:
        for runtime in runtimes:
            runtime.stop()
        tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await audit.close()
        await indexer.close()
        await resources.close()
        await catalog.close()
        await storage.close()
        await index.close()
        await log.close()


async def _work(log: EmbeddedLog, clock: Callable[[], datetime]) -> None:
    """A worker that ends every task run at once with a log line, but holds those of tasks named `hold` until killed.

    The first attempt of tasks named `flaky` fails.
    """
    jobs = await log.consumer(group="worker", topics=["worker_jobs"], instance="test")
    controls = await log.reader("worker_controls", "end")
    held: dict[str, RunTask] = {}
    while True:
        for record in (await jobs.poll(maximum=100, timeout=timedelta(milliseconds=5))).records:
            job = JOB_DECODER.decode(record.value or b"")
            assert isinstance(job, RunTask)
            key = f"{job.tenant_id}/{job.execution_id}"
            started = ReportRunStarted(at=clock(), run_id=job.run_id, attempt=job.attempt, worker_id="w1")
            line = LogEntry(
                tenant_id=job.tenant_id,
                namespace=job.flow.namespace,
                flow_id=job.flow.id,
                execution_id=job.execution_id,
                task_id=job.task_id,
                task_run_id=job.run_id,
                attempt_number=job.attempt,
                timestamp=clock(),
                level=Level.INFO,
                message=f"ran {job.task_id}",
            )
            await log.append(
                [
                    Message(topic="logs", key=key, value=encode(line)),
                    Message(topic="execution_commands", key=key, value=encode(started)),
                ]
            )
            if job.task_id == "hold":
                held[job.run_id] = job
            else:
                fails = job.task_id == "flaky" and job.attempt == 0
                await _report(log, job, State.FAILED if fails else State.SUCCESS, clock())
        for record in await controls.poll(maximum=100, timeout=timedelta(0)):
            control = CONTROL_DECODER.decode(record.value or b"")
            assert isinstance(control, KillRun)
            named = [
                run_id
                for run_id, job in held.items()
                if job.execution_id == control.execution_id and control.run_id in ("", run_id)
            ]
            for run_id in named:
                await _report(log, held.pop(run_id), State.KILLED, clock())


async def _report(log: EmbeddedLog, job: RunTask, state: State, now: datetime) -> None:
    task = msgspec.json.decode(job.task)
    ended = ReportRunEnded(
        at=now,
        run_id=job.run_id,
        attempt=job.attempt,
        worker_id="w1",
        state=state,
        outputs={"value": task.get("format", "")},
    )
    key = f"{job.tenant_id}/{job.execution_id}"
    await log.append([Message(topic="execution_commands", key=key, value=encode(ended))])
