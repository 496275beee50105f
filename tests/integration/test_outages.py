"""The broker, the index and the disk fail under load: executions wait or go on, and nothing is missing afterwards."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowtide.testing.servers import ALL, QUICK, Api, Server, Shape, embedded_shape, kafka_shape
from tests.integration.outside import Outside, remove_topics_and_indices
from tests.integration.survival import LOAD, Load, all_ended, check_seen

pytestmark = pytest.mark.slow

PREFIX = f"test_outage_{uuid.uuid4().hex[:10]}_"


@pytest.fixture
def private_kafka(tmp_path: Path, kafka_address: str) -> Iterator[Outside]:
    """A broker that this test may stop; started where a shared one is there too."""
    with Outside("kafka", tmp_path) as kafka:
        yield kafka


@pytest.fixture
def private_elasticsearch(tmp_path: Path, elasticsearch_url: str) -> Iterator[Outside]:
    """An Elasticsearch that this test may stop."""
    with Outside("elasticsearch", tmp_path) as elasticsearch:
        yield elasticsearch


@asynccontextmanager
async def _under_load(server: Server, per_second: float) -> AsyncIterator[Load]:
    load = Load(server.port, per_second=per_second)
    asking = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await asking
    assert load.refused == []


@pytest.mark.kafka
@pytest.mark.elasticsearch
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stops", [1, 2])
async def test_a_broker_that_stops_and_starts_loses_nothing(
    tmp_path: Path, private_kafka: Outside, elasticsearch_url: str, stops: int
) -> None:
    """While it is away requests are answered 503 or not at all; what was accepted ends, once it is back."""
    prefix = f"{PREFIX}{stops}_"  # each with a broker of its own counts its own executions in the index
    shape = _shape(tmp_path, f"127.0.0.1:{private_kafka.port}", elasticsearch_url, prefix)
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(LOAD)
            async with _under_load(server, 8) as load:
                for _ in range(stops):
                    await asyncio.sleep(3)
                    await asyncio.to_thread(private_kafka.stop)
                    await asyncio.sleep(3)
                    await asyncio.to_thread(private_kafka.start)
                await asyncio.sleep(8)
            assert server.exit_code is None, server.output[-3000:]
            await _complete(shape, api, load, "the broker was away")
        assert await server.stop() == 0
    await asyncio.to_thread(
        remove_topics_and_indices, f"127.0.0.1:{private_kafka.port}", elasticsearch_url, prefix
    )


@pytest.mark.kafka
@pytest.mark.elasticsearch
@pytest.mark.timeout(300)
async def test_executions_go_on_while_elasticsearch_is_down(
    tmp_path: Path, kafka_address: str, private_elasticsearch: Outside
) -> None:
    """Executions start and end without the index; when it is back it catches up, and nothing is missing."""
    shape = _shape(tmp_path, kafka_address, f"http://127.0.0.1:{private_elasticsearch.port}")
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(LOAD)
            async with _under_load(server, 8) as load:
                await asyncio.sleep(3)
                await asyncio.to_thread(private_elasticsearch.stop)
                before = len(load.accepted)
                await asyncio.sleep(6)
                assert len(load.accepted) > before, "nothing was accepted while the index was down"
                answer = await api.call("GET", "/executions/search")
                assert answer.status == 503, answer
                assert "Traceback" not in answer.text
            log = await shape.open_log()
            try:
                history = await all_ended(log)  # while the index is still down
                history.check()
                history.check_load(load.accepted)
            finally:
                await log.close()
            await asyncio.to_thread(private_elasticsearch.start)
            await check_seen(api, history, patience_seconds=60)
            history.tell("Elasticsearch was down", load)
        assert await server.stop() == 0
    await asyncio.to_thread(
        remove_topics_and_indices, kafka_address, f"http://127.0.0.1:{private_elasticsearch.port}", PREFIX
    )


@pytest.mark.timeout(200)
async def test_a_full_disk_is_told_and_corrupts_nothing(tmp_path: Path) -> None:
    """The embedded log cannot grow: requests are refused with the reason, and all goes on when there is room again."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("prlimit (util-linux) is not installed: it gives the server the quota of this test")
    shape = embedded_shape(tmp_path, QUICK)
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(LOAD)
            await api.run("survival", "load", {"number": "1"})
        assert await server.stop() == 0
        largest = max(file.stat().st_size for file in (tmp_path / "data").rglob("*") if file.is_file())
        # No file may grow beyond this: writing fails as on a full disk, and SIGXFSZ is ignored by Python.
        server.launch(limits=[prlimit, f"--fsize={largest + 1_000_000}"])
        await server.ready()
        told = ""
        async with Api(server.port) as api, _under_load(server, 30) as load:
            for _ in range(120):
                answer = await api.start("survival", "load", {"number": "7"})
                if answer.status != 200:
                    told = answer.text
                    assert answer.status in (503, 507), answer
                    break
                await asyncio.sleep(0.25)
        assert told, "the disk was never full"
        assert "Traceback" not in told
        server.kill()
        await server.start()  # with room again
        async with Api(server.port) as api:
            for execution_id in load.accepted[-10:]:
                await api.ended(execution_id, 60)
            for execution_id in load.accepted:
                await api.ended(execution_id, 60)
        assert await server.stop() == 0
        log = await shape.open_log()
        try:
            history = await all_ended(log, 0)
        finally:
            await log.close()
        history.check()
        history.check_load(load.accepted)
        history.tell("a full disk", load)


async def _complete(shape: Shape, api: Api, load: Load, title: str) -> None:
    log = await shape.open_log()
    try:
        history = await all_ended(log)
    finally:
        await log.close()
    history.check()
    history.check_load(load.accepted)
    await check_seen(api, history, patience_seconds=60)
    history.tell(title, load)


def _shape(folder: Path, kafka: str, elasticsearch: str, prefix: str = PREFIX) -> Shape:
    return kafka_shape(folder, kafka=kafka, elasticsearch=elasticsearch, prefix=prefix, overrides=QUICK)
