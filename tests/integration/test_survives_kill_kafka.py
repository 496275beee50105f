"""Executors, workers and schedulers on Kafka and Elasticsearch are killed under load: nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from flowtide.log.port import Log
from flowtide.model.services import ServiceType
from flowtide.testing.servers import QUICK, Api, Server, Shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices
from tests.integration.survival import LOAD, NO_TICK, TICK, Load, all_ended, busy_one, check_seen

pytestmark = [pytest.mark.kafka, pytest.mark.elasticsearch, pytest.mark.slow]

KILLS = 20
_HOSTS = (ServiceType.WEBSERVER, ServiceType.INDEXER)
PATIENT = {
    "flowtide.server.liveness.timeout": "PT60S",
    "flowtide.server.termination-grace-period": "PT60S",
}
_KINDS = (ServiceType.EXECUTOR, ServiceType.WORKER, ServiceType.SCHEDULER)


@pytest.fixture
async def shape(tmp_path: Path, kafka_address: str, elasticsearch_url: str) -> AsyncIterator[Shape]:
    """An installation with topics and indices of its own."""
    prefix = f"test_survive_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(
        tmp_path, kafka=kafka_address, elasticsearch=elasticsearch_url, prefix=prefix, overrides=QUICK
    )
    await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)


@pytest.mark.timeout(400)
async def test_services_on_kafka_survive_twenty_kills(shape: Shape) -> None:
    """Two of each kind, one of them killed every other second and started again: see the checks."""
    dice = random.Random(43)  # moments, not secrets
    with ExitStack() as stack:
        web = stack.enter_context(Server(shape, _HOSTS, name="web"))
        others = [
            stack.enter_context(Server(shape, (kind,), name=f"{kind.value.lower()}-{number}"))
            for number in (1, 2)
            for kind in _KINDS
        ]
        await _start(web, others)
        async with Api(web.port) as api:
            await api.must_save(LOAD)
            await api.must_save(TICK)
            load = Load(web.port, per_second=10)
            asking = asyncio.create_task(load.run())
            try:
                for number in range(KILLS):
                    await asyncio.sleep(dice.uniform(0.5, 2.5))
                    # Each kind in turn, so that each is killed often; which of the two is left to chance, but
                    # a worker that runs something, or its death would show little.
                    kind = _KINDS[number % len(_KINDS)].value.lower()
                    pair = [each for each in others if each.name.startswith(kind)]
                    dice.shuffle(pair)
                    await asyncio.gather(*(each.ready(60) for each in pair))
                    victim = await busy_one(pair) if kind == "worker" else pair[0]
                    victim.kill()
                    victim.launch()
                await asyncio.gather(*(each.ready(60) for each in others))
                await asyncio.sleep(2)
            finally:
                load.stop()
                await asking
            await asyncio.sleep(5)  # dates that were late are made up for
            await api.must_update("survival", "tick", NO_TICK)
            log = await shape.open_log()
            try:
                await _check(log, api, load)
            finally:
                await log.close()


@pytest.mark.timeout(400)
async def test_executors_and_workers_come_and_go(shape: Shape) -> None:
    """A second executor and worker join and leave in order under load, several times: nothing is lost or doubled."""
    # Nobody dies here, and on a busy machine nobody shall be taken for dead.
    shape = replace(shape, overrides={**shape.overrides, **PATIENT})
    with ExitStack() as stack:
        web = stack.enter_context(Server(shape, (*_HOSTS, *_KINDS), name="all"))
        guests = [
            stack.enter_context(Server(shape, (kind,), name=f"{kind.value.lower()}-2"))
            for kind in (ServiceType.EXECUTOR, ServiceType.WORKER)
        ]
        await web.start()
        async with Api(web.port) as api:
            await api.must_save(LOAD)
            load = Load(web.port, per_second=10)
            asking = asyncio.create_task(load.run())
            try:
                for _ in range(3):
                    await asyncio.gather(*(each.start() for each in guests))
                    await asyncio.sleep(3)
                    assert await asyncio.gather(*(each.stop(90) for each in guests)) == [0, 0]
            finally:
                load.stop()
                await asking
            log = await shape.open_log()
            try:
                history = await all_ended(log)
                history.check()
                history.check_load(load.accepted)
                assert history.resubmitted == [], "a worker that leaves in order loses no attempt"
                history.tell("three guests of two kinds on Kafka", load)
                await check_seen(api, history)
            finally:
                await log.close()


async def _start(first: Server, others: list[Server]) -> None:
    await first.start()  # creates the topics
    for each in others:
        each.launch()
    await asyncio.gather(*(each.ready(90) for each in others))


async def _check(log: Log, api: Api, load: Load) -> None:
    assert load.refused == []
    assert len(load.accepted) > KILLS
    history = await all_ended(log)
    history.check()
    history.check_load(load.accepted)
    history.check_ticks(at_least=int(0.9 * load.seconds))
    assert history.resubmitted, "no kill hit a running task, so this shows less than it should"
    history.tell(f"{KILLS} kills on Kafka", load)
    await check_seen(api, history)
