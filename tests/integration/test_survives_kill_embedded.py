"""The standalone process on the embedded log is killed at any moment under load: nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from flowtide.testing.servers import ALL, QUICK, Api, Server, Shape, embedded_shape
from tests.integration.survival import LOAD, NO_TICK, TICK, Load, all_ended, busy_one, check_seen

KILLS = 20


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_standalone_process_survives_twenty_kills(tmp_path: Path) -> None:
    """Every accepted execution ends, each task is decided once, schedules fire once, lost attempts are seen."""
    shape = embedded_shape(tmp_path, QUICK)
    with Server(shape, ALL, name="standalone") as server:
        await _kill_and_check(shape, server)


async def _kill_and_check(shape: Shape, server: Server) -> None:
    dice = random.Random(41)  # moments, not secrets
    await server.start()
    async with Api(server.port) as api:
        await api.must_save(LOAD)
        await api.must_save(TICK)
    load = Load(server.port, per_second=15)
    asking = asyncio.create_task(load.run())
    try:
        for _ in range(KILLS):
            await asyncio.sleep(dice.uniform(0.2, 2.0))
            await busy_one([server])
            server.kill()
            await server.start()
        await asyncio.sleep(2)
    finally:
        load.stop()
        await asking
    assert load.refused == []
    assert len(load.accepted) > KILLS
    async with Api(server.port) as api:
        await api.must_update("survival", "tick", NO_TICK)
        for execution_id in load.accepted[-20:]:
            await api.ended(execution_id, 60)
        await _until_quiet(api)
    assert await server.stop() == 0
    log = await shape.open_log()
    try:
        history = await all_ended(log, 0)
    finally:
        await log.close()
    history.check()
    history.check_load(load.accepted)
    history.check_ticks(at_least=int(0.9 * load.seconds))
    assert history.resubmitted, "no kill hit a running task, so this shows less than it should"
    history.tell(f"{KILLS} kills of a standalone process", load)
    await server.start()
    async with Api(server.port) as api:
        await check_seen(api, history)
    await server.stop()


async def _until_quiet(api: Api) -> None:
    """Wait until the index shows no open execution."""
    for _ in range(240):
        answer = await api.call(
            "GET",
            "/executions/search",
            params=[("state", state) for state in ("CREATED", "RUNNING", "QUEUED")] + [("size", "1")],
        )
        if answer.body["total"] == 0:
            return
        await asyncio.sleep(0.25)
