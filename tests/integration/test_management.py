"""The management port of a whole process: the shapes that Kestra's tools know (catalogue A §12)."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from flowtide.model.services import ServiceType
from flowtide.services.process import Process
from flowtide.settings import Settings

SERVICES = (ServiceType.EXECUTOR, ServiceType.WORKER, ServiceType.SCHEDULER, ServiceType.INDEXER)


@asynccontextmanager
async def _serving(folder: Path, overrides: Mapping[str, Any] | None = None) -> AsyncIterator[ClientSession]:
    """A process on a free port, and a client of it."""
    given = {"data-path": str(folder), "endpoints.all.port": "0", "endpoints.all.host": "127.0.0.1"}
    settings = Settings.load(environment={}, overrides={**given, **(overrides or {})})
    process = Process(settings, SERVICES, management=True)
    async with process.serving():
        port = process.parts["management"].port
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client


async def _json(client: ClientSession, path: str, status: int = 200) -> Any:
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_health_tells_of_the_parts(tmp_path: Path) -> None:
    """Name, status and details of log, index, service and disk (MGMT-2); probes are up (MGMT-3)."""
    async with _serving(tmp_path) as client:
        health = await _json(client, "/health")
        liveness = await _json(client, "/health/liveness")

    assert (health["name"], health["status"]) == ("kestra", "UP")
    assert set(health["details"]) == {
        "compositeDiscoveryClient()", "embeddedLog", "embeddedIndex", "service", "diskSpace"
    }  # fmt: skip  # a paragraph
    disk = health["details"]["diskSpace"]
    assert disk["name"] == "diskSpace"
    assert disk["details"]["threshold"] == 10_485_760
    assert liveness["status"] == "UP"


async def test_prometheus_has_the_lag_of_every_queue(tmp_path: Path) -> None:
    """The text format, with a gauge of the lag for each topic that this process consumes (MET-10)."""
    async with _serving(tmp_path) as client, client.get("/prometheus") as response:
        text = await response.text()

        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for topic in ("execution_commands", "worker_jobs", "trigger_commands", "execution_events"):
        assert f'kestra_queue_message_lag_count{{queue_name="{topic}"}} ' in text
    assert "process_cpu_usage" in text


async def test_metrics_are_listed_and_read_by_name(tmp_path: Path) -> None:
    """`/metrics` has names, `/metrics/NAME` measurements and tags, as Micrometer has them."""
    async with _serving(tmp_path) as client:
        names = (await _json(client, "/metrics"))["names"]
        threads = await _json(client, "/metrics/worker.job.thread")
        await _json(client, "/metrics/no.such", 404)

    assert "worker.job.thread" in names
    assert threads["measurements"][0]["statistic"] == "VALUE"
    assert threads["measurements"][0]["value"] > 0
    assert [tag["tag"] for tag in threads["availableTags"]] == ["worker_group"]


async def test_streams_tell_what_they_own(tmp_path: Path) -> None:
    """Each consumer group with its partitions and its lag, and the lag by partition (MGMT-5)."""
    async with _serving(tmp_path) as client:
        streams = {each["clientId"]: each for each in await _json(client, "/kafkastreams")}
        lags = await _json(client, "/kafkastreams/executor/lag")
        await _json(client, "/kafkastreams/nobody/lag", 404)

    assert set(streams) == {"executor", "flows", "resources", "triggers", "indexer", "worker"}
    assert streams["executor"]["lag"] == 0
    assert {(each["topic"], each["lag"]) for each in lags} == {("execution_commands", 0)}


async def test_workers_and_schedulers_show_what_they_do(tmp_path: Path) -> None:
    """Nothing runs and nothing is scheduled, and that is said in their shapes."""
    async with _serving(tmp_path) as client:
        worker, scheduler = await _json(client, "/worker"), await _json(client, "/scheduler")

    assert worker == {"runningCount": 0, "pendingCount": 0, "runnings": []}
    assert scheduler == {"schedulableCount": 0, "schedulable": []}


async def test_levels_change_while_running(tmp_path: Path) -> None:
    """POST sets a level under Kestra's logger name, null takes it back, nonsense is refused (MGMT-6)."""
    before = logging.getLogger("flowtide.log.kafka").level
    path = "/loggers/org.apache.kafka"
    try:
        async with _serving(tmp_path) as client:
            async with client.post(path, json={"configuredLevel": "TRACE"}) as response:
                assert response.status == 200
            changed = await _json(client, path)
            async with client.post(path, json={"configuredLevel": "LOUD"}) as response:
                assert response.status == 400
            async with client.post(path, data=b"{") as response:
                assert response.status == 400
            async with client.post(path, json={"configuredLevel": None}) as response:
                assert response.status == 200
            back = await _json(client, path)
            every = await _json(client, "/loggers")
    finally:
        logging.getLogger("flowtide.log.kafka").setLevel(before)

    assert changed == {"configuredLevel": "TRACE", "effectiveLevel": "TRACE"}
    assert back["configuredLevel"] == "NOT_SPECIFIED"
    assert {"levels", "loggers"} == set(every)
    assert "ROOT" in every["loggers"]


async def test_env_masks_secrets(tmp_path: Path) -> None:
    """The settings in force, without passwords (MGMT-4)."""
    secret = "a-very-secret-password"
    overrides = {"server.basic-auth.username": "a@example.org", "server.basic-auth.password": secret}
    async with _serving(tmp_path, overrides) as client, client.get("/env") as response:
        text = await response.text()

    assert "a@example.org" in text
    assert secret not in text


async def test_threads_and_tasks_are_dumped(tmp_path: Path) -> None:
    """Where every thread is, by file, function and line."""
    async with _serving(tmp_path) as client:
        dump = await _json(client, "/threaddump")

    main = next(thread for thread in dump["threads"] if thread["threadName"] == "MainThread")
    assert main["stackTrace"][0]["lineNumber"] > 0
    assert any(task["taskName"] == "worker" for task in dump["tasks"])


async def test_a_login_guards_all_but_the_probes(tmp_path: Path) -> None:
    """With basic auth configured, callers need it; kubelet's probes do not (MGMT-1)."""
    overrides = {"endpoints.all.basic-auth.username": "ops", "endpoints.all.basic-auth.password": "pässword"}
    async with _serving(tmp_path, overrides) as client:
        await _json(client, "/health", 401)
        await _json(client, "/health/liveness")
        right = "Basic " + b64encode("ops:pässword".encode()).decode()
        wrong = "Basic " + b64encode(b"ops:password").decode()
        for header, status in ((right, 200), (wrong, 401), ("Basic !", 401), ("Bearer x", 401)):
            async with client.get("/health", headers={"Authorization": header}) as response:
                assert response.status == status


async def test_endpoints_can_be_switched_off(tmp_path: Path) -> None:
    """`endpoints.NAME.enabled: false` takes an endpoint away, the others stay (MGMT-7)."""
    async with _serving(tmp_path, {"endpoints.env.enabled": "false"}) as client:
        await _json(client, "/env", 404)
        await _json(client, "/info")


async def test_a_port_in_use_is_an_error_of_the_start(tmp_path: Path) -> None:
    """The second process on a port does not start, and gives the first one's data back at once."""
    async with _serving(tmp_path / "a") as client:
        port = str(client._base_url.port) if client._base_url is not None else ""
        with pytest.raises(OSError, match="address already in use"):
            async with _serving(tmp_path / "b", {"endpoints.all.port": port}):
                pass
