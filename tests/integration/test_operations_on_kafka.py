"""Operations of an installation whose services are processes of their own, on Kafka and Elasticsearch."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.cli.sys import _reset_slots
from flowtide.cli.sys_ee import _count_flows, _restore
from flowtide.errors import GroupBusy
from flowtide.log.topics import load_topics
from flowtide.model.services import ServiceType
from flowtide.secrets import encryption_of_phrase
from flowtide.services.backups import Backups
from flowtide.services.indexer import reindex
from flowtide.services.ports import open_index, open_log
from flowtide.services.process import Process
from flowtide.settings import Settings
from flowtide.testing.servers import kafka_shape
from tests.integration.installation import Caller, installed, settings_of
from tests.integration.outside import remove_topics_and_indices

pytestmark = [pytest.mark.kafka, pytest.mark.elasticsearch]

QUICK = """
id: quick
namespace: ops.team
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: said}]
"""
PAUSED = """
id: paused
namespace: ops.team
concurrency: {limit: 1}
tasks: [{id: wait, type: io.kestra.plugin.core.flow.Pause}]
"""
GROUPED = """
id: grouped
namespace: ops.team
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: said, workerGroup: {key: gpu}}]
"""
EXECUTIONS = "/main/executions"
_PATIENCE = timedelta(seconds=30)
KEY = "a phrase of more than thirty-two characters"


@dataclass
class Place:
    """Where an installation is: real Kafka and Elasticsearch with names of its own."""

    folder: Path
    kafka: str
    elasticsearch: str
    prefix: str

    def overrides(self, topics: str = "") -> dict[str, Any]:
        """The settings; `topics` names other topics over the same indices."""
        shape = kafka_shape(
            self.folder, kafka=self.kafka, elasticsearch=self.elasticsearch, prefix=self.prefix, partitions=1
        )
        more = {
            "flowtide.kafka.defaults.topic-prefix": f"{self.prefix}{topics}",
            "flowtide.kafka.defaults.consumer-prefix": f"{self.prefix}{topics}",
            "indexer.batch-duration": "PT0.05S",
        }
        return {**shape.overrides, **more}

    def settings(self, topics: str = "") -> Settings:
        """The settings of a command."""
        return Settings.load(environment={}, overrides=settings_of(self.folder, self.overrides(topics)))


@pytest.fixture
async def place(tmp_path: Path, kafka_address: str, elasticsearch_url: str) -> AsyncIterator[Place]:
    """Topics and indices that nobody else uses."""
    found = Place(tmp_path, kafka_address, elasticsearch_url, f"test_ops_{uuid.uuid4().hex[:10]}_")
    yield found
    await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, found.prefix)


async def _until(caller: Caller, path: str, holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(30):
        while True:
            answer = await caller.ask("GET", path)
            if answer.status == 200 and holds(answer.body):
                return answer.body
            await asyncio.sleep(0.05)


async def _state(caller: Caller, execution: Mapping[str, Any], wanted: str) -> Any:
    return await _until(
        caller, f"{EXECUTIONS}/{execution['id']}", lambda found: found["state"]["current"] == wanted
    )


async def test_switches_maintenance_and_groups_reach_every_process(place: Place) -> None:
    """INS-02, WG-01, ANN-01, KS-01, MM-01: what one webserver is told, the other shows, and every service does."""
    async with installed(place.folder, place.overrides(), apart=True, groups=("gpu",)) as found:
        admin = found.admin
        for source in (QUICK, PAUSED, GROUPED):
            await admin.must("POST", "/main/flows", source)
        listed = await _until(
            admin,
            "/instance/services/search?size=20&filters[state][EQUALS]=RUNNING",
            lambda body: body["total"] == len(ServiceType) + 2,
        )
        kinds = sorted(each["type"] for each in listed["results"])
        assert kinds == sorted([*ServiceType, ServiceType.WORKER, ServiceType.WEBSERVER])

        await admin.must("POST", "/instance/workergroups", {"key": "gpu", "description": "fast"})
        run = await admin.must("POST", f"{EXECUTIONS}/ops.team/grouped?wait=true")
        assert run["state"]["current"] == "SUCCESS"
        (group,) = (await admin.must("GET", "/instance/workergroups"))["workerGroups"]
        assert group["activeWorkers"] == 1

        banner = await admin.must("POST", "/banners", {"message": "tonight", "type": "WARNING"})
        assert [each["message"] for each in await admin.must("GET", "/banners/active")] == ["tonight"]
        await admin.must("DELETE", f"/banners/{banner['id']}", status=204)
        assert await admin.must("GET", "/banners/active") == []

        waiting = await admin.must("POST", f"{EXECUTIONS}/ops.team/paused")
        await _state(admin, waiting, "PAUSED")
        switch = {"name": "stop", "tenantId": "main", "namespace": "ops", "evaluationType": "KILL"}
        made = await admin.must("POST", "/kill-switches", switch)
        await _state(admin, waiting, "KILLED")
        assert (await admin.must("POST", f"{EXECUTIONS}/ops.team/quick?wait=true"))["state"][
            "current"
        ] == "KILLED"
        await admin.must("DELETE", f"/kill-switches/{made['id']}", status=204)

        await admin.must("POST", "/instance/maintenance/enter")
        rested = await _until(admin, "/instance/maintenance/status", lambda body: body["ready"])
        assert rested["services"]["WORKER"] == {"total": 2, "inMaintenance": 2}
        held = await admin.must("POST", f"{EXECUTIONS}/ops.team/quick")
        assert (await admin.must("GET", f"{EXECUTIONS}/{held['id']}"))["state"]["current"] == "CREATED"
        await admin.must("POST", "/instance/maintenance/exit")
        await _state(admin, held, "SUCCESS")
        await _until(
            admin,
            "/instance/maintenance/status",
            lambda body: not body["services"]["WORKER"]["inMaintenance"],
        )


def _backups(process: Process) -> Backups:
    return Backups(
        catalog=process.catalog,
        client=process.client,
        storage=process.storage,
        dedicated=process.dedicated,
        secrets=process.secrets,
        clock=process.surroundings.clock,
    )


async def test_an_installation_is_built_again(place: Place, tmp_path: Path) -> None:
    """BKP-1, CLI-44 to CLI-46, UPG-6: from a backup, the index from the log, the log from index and backup."""
    cipher = encryption_of_phrase(KEY, "test")
    full, one = io.BytesIO(), io.BytesIO()
    async with installed(place.folder, place.overrides(), webservers=0) as found:
        admin = found.admin
        for source in (QUICK, PAUSED):
            await admin.must("POST", "/main/flows", source)
        await admin.must("PUT", "/main/namespaces/ops.team/kv/colour", '"blue"')
        await admin.must("PUT", "/main/namespaces/ops.team/secrets", {"key": "TOKEN", "value": "Xyzzyplugh"})
        await admin.must("POST", "/main/roles", {"name": "readers", "permissions": {"FLOW": ["READ"]}})
        await admin.must("POST", f"{EXECUTIONS}/ops.team/quick?wait=true")
        process = found.processes["all"]
        counts = await _backups(process).write(full, cipher, tenant=None)
        assert counts["FLOW"] == 2
        await _backups(process).write(one, cipher, tenant="main")
        for text in (b"Xyzzyplugh", b"ops.team", b"readers"):
            assert text not in full.getvalue() + one.getvalue()
        await admin.must("POST", "/tenants", {"id": "copy", "name": "Copy"})
        one.seek(0)
        await _backups(process).read(one, cipher, to_tenant="copy")
        assert (await admin.must("GET", "/copy/flows/search"))["total"] == 2
        assert (await admin.must("GET", "/copy/namespaces/ops.team/kv/colour"))["value"] == "blue"
        async with AsyncExitStack() as stack:
            log, index = open_log(place.settings()), open_index(place.settings())
            stack.push_async_callback(log.close)
            stack.push_async_callback(index.close)
            await log.start()
            await log.ensure_topics(list(load_topics().values()))
            await index.start()
            with pytest.raises(GroupBusy):
                await reindex(log, index)  # with an indexer that runs nothing is changed
        before = await admin.must("GET", f"{EXECUTIONS}/search?size=10")

    async with AsyncExitStack() as stack:
        log, index = open_log(place.settings()), open_index(place.settings())
        stack.push_async_callback(log.close)
        stack.push_async_callback(index.close)
        await log.start()
        await log.ensure_topics(list(load_topics().values()))
        await index.start()
        await reindex(log, index)
        await index.refresh()
        assert await index.count("main", "executions") == 0
    assert await _count_flows(place.settings(), _PATIENCE) == 4
    assert await _reset_slots(place.settings(), False) == 4
    async with installed(place.folder, place.overrides(), webservers=0) as found:
        again = await _until(
            found.admin, f"{EXECUTIONS}/search?size=10", lambda body: body["total"] == before["total"]
        )
        assert {each["id"] for each in again["results"]} == {each["id"] for each in before["results"]}
        await _until(found.admin, "/main/auditlogs/search?resources=FLOW", lambda body: body["total"] == 2)

    # The topics are lost: flows come back from the index, the rest from the backup.
    restored, there = await _restore(place.settings("new_"), ("main",), flows=True)
    assert (restored, there) == (2, 0)
    async with installed(place.folder, place.overrides("new_"), webservers=0) as found:
        admin = found.admin
        assert (await admin.must("GET", "/main/flows/search"))["total"] == 2
        full.seek(0)
        await _backups(found.processes["all"]).read(full, cipher, to_tenant=None)
        assert (await admin.must("GET", "/main/namespaces/ops.team/kv/colour"))["value"] == "blue"
        assert (await admin.must("GET", "/main/roles/search?q=readers"))["total"] == 1
        run = await admin.must("POST", f"{EXECUTIONS}/ops.team/quick?wait=true")
        assert run["state"]["current"] == "SUCCESS"
    async with installed(tmp_path / "elsewhere", {}) as found:
        full.seek(0)
        await _backups(found.processes["all"]).read(full, cipher, to_tenant=None)
        assert (await found.admin.must("GET", "/main/flows/search"))["total"] == 2
        assert (await found.admin.must("GET", "/main/namespaces/ops.team/secrets"))["total"] == 1
