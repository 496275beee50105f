"""Schedules on a log in memory: from a saved flow to commands, with two schedulers that crash and are
thrown out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.keys import ExecutionKey, TriggerKey, execution_key
from flowtide.log.port import Message, Record
from flowtide.model.commands import COMMAND_DECODER, AnswerSlot, CreateExecution
from flowtide.model.flow_commands import AcquireSlot
from flowtide.model.records import encode
from flowtide.model.resources import ResourceKind
from flowtide.model.services import SERVICE_DECODER, ServiceInstance, ServiceState, ServiceType
from flowtide.model.states import State
from flowtide.model.trigger_records import TRIGGER_STATE_DECODER, ReleaseTrigger
from flowtide.processors.runtime import Runtime
from flowtide.processors.triggers import execution_id_of
from flowtide.services.liveness import Heartbeat
from flowtide.services.runtimes import flows_runtime, triggers_runtime
from flowtide.services.scheduler import Scheduler
from tests.unit.services.saved import REGISTRY, SCHEDULE, START, House, open_house, source


def render(template: Any, variables: Mapping[str, Any]) -> Any:
    """No templates here."""
    return template


def schedules(house: House, instance: str) -> Runtime:
    return triggers_runtime(house.log, instance=instance, clock=house.clock, registry=REGISTRY, render=render)


def scheduled(flow_id: str, *, overlap: bool = True) -> str:
    trigger = f"{{id: tick, type: {SCHEDULE}, cron: '* * * * *', allowConcurrent: {str(overlap).lower()}}}"
    return source(flow_id, "company.team", f"triggers: [{trigger}]")


def creations_in(records: list[Record]) -> dict[str, list[CreateExecution]]:
    """The commands to create executions, by the id of the execution."""
    found: dict[str, list[CreateExecution]] = {}
    for record in records:
        command = COMMAND_DECODER.decode(record.value or b"")
        assert isinstance(command, CreateExecution)
        found.setdefault(execution_key(record.key).execution_id, []).append(command)
    return found


async def creations(house: House) -> dict[str, list[CreateExecution]]:
    """All creations so far."""
    return creations_in(await house.records("execution_commands"))


async def wait_for(house: House, executions: int) -> dict[str, list[CreateExecution]]:
    """All creations, as soon as there are so many."""
    return creations_in(
        await house.records_when("execution_commands", lambda found: len(found) >= executions)
    )


async def crash(task: asyncio.Task[None]) -> None:
    """End a processor in the middle of whatever it does."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as house:
        yield house


async def test_a_saved_flow_is_scheduled_and_a_deleted_one_no_more(house: House) -> None:
    """From the save over the definition to the command, and back."""
    house.run_resources()
    house.run(schedules(house, "scheduler"))
    await house.client.save_flow("main", "company.team", "hello", scheduled("hello"))
    await house.records_when("trigger_events", len)
    house.clock.now = START.replace(minute=1, second=0)
    (found,) = (await wait_for(house, 1)).items()
    key = TriggerKey("main", "company.team", "hello", "tick")
    assert found[0] == execution_id_of(key, datetime(2025, 1, 1, 12, 1, tzinfo=UTC))
    await house.client.delete(ResourceKind.FLOW, "main", "company.team/hello")
    await house.records_when(
        "trigger_events", lambda found: TRIGGER_STATE_DECODER.decode(found[-1].value or b"").removed
    )
    house.clock.now += timedelta(hours=1)
    await asyncio.sleep(0.3)
    assert sum(map(len, (await creations(house)).values())) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_two_schedulers_that_crash_and_are_thrown_out_fire_each_date_exactly_once(
    house: House, seed: int
) -> None:
    """At each minute something happens to a scheduler; afterwards each date of each flow was commanded once.

    The seed decides who crashes, is thrown out or joins, and when.
    """
    random = Random(seed)
    assert isinstance(house.log, EmbeddedLog)
    house.run_resources()
    flows = [f"flow{number}" for number in range(8)]
    for flow in flows:
        await house.client.save_flow("main", "company.team", flow, scheduled(flow))
    running = {name: house.run(schedules(house, name)) for name in ("one", "two")}
    await house.records_when("trigger_events", lambda found: len(found) >= len(flows))
    minutes = 12
    for minute in range(1, minutes + 1):
        house.clock.now = START.replace(minute=minute, second=random.randrange(60))
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        name = random.choice(["one", "two"])
        match random.choice(["crash", "expel", "nothing"]):
            case "crash":
                house.log.expel(name)
                await crash(running[name])
                running[name] = house.run(schedules(house, name))
            case "expel":
                house.log.expel(name)
        await asyncio.sleep(random.choice([0, 0.001, 0.02]))
    found = await wait_for(house, minutes * len(flows))
    expected = {
        execution_id_of(
            TriggerKey("main", "company.team", flow, "tick"), datetime(2025, 1, 1, 12, minute, tzinfo=UTC)
        )
        for flow in flows
        for minute in range(1, minutes + 1)
    }
    assert set(found) == expected, f"seed {seed}"
    assert {len(commands) for commands in found.values()} == {1}, f"seed {seed}"


async def test_a_locked_schedule_waits_across_a_restart(house: House) -> None:
    """The lock is state: a new scheduler waits for the same execution, and goes on when it is over."""
    house.run_resources()
    first = house.run(schedules(house, "one"))
    await house.client.save_flow("main", "company.team", "hello", scheduled("hello", overlap=False))
    await house.records_when("trigger_events", len)
    house.clock.now = START.replace(minute=1, second=0)
    (execution_id,) = await wait_for(house, 1)
    await crash(first)
    house.run(schedules(house, "two"))
    house.clock.now = START.replace(minute=2, second=0)
    await asyncio.sleep(0.1)
    assert sum(map(len, (await creations(house)).values())) == 1
    release = ReleaseTrigger(at=house.clock.now, execution_id=execution_id, state=State.SUCCESS)
    key = str(TriggerKey("main", "company.team", "hello", "tick"))
    await house.log.append([Message(topic="trigger_commands", key=key, value=encode(release))])
    assert len(await wait_for(house, 2)) == 2


async def test_a_scheduler_joins_says_so_and_leaves(house: House) -> None:
    """It is RUNNING until it is TERMINATED_GRACEFULLY, and stopping twice is harmless."""
    instance = ServiceInstance(
        id="scheduler-1",
        type=ServiceType.SCHEDULER,
        state=ServiceState.CREATED,
        host="h",
        version="1",
        started=START,
        heartbeat=START,
    )
    heartbeat = Heartbeat(house.log, instance, clock=house.clock, on_declared_dead=lambda found: None)
    failures: list[BaseException] = []
    scheduler = Scheduler(schedules(house, "scheduler-1"), heartbeat, on_failure=failures.append)

    async def state() -> str:
        return SERVICE_DECODER.decode((await house.records("services"))[-1].value or b"").state.value

    await scheduler.start()
    assert await state() == "RUNNING"
    await scheduler.stop()
    await scheduler.stop()
    assert await state() == "TERMINATED_GRACEFULLY"
    assert failures == []


async def test_a_raised_limit_admits_those_who_wait(house: House) -> None:
    """From the save of another limit to the answer to the execution that waited, through the catalog."""
    house.run_resources()
    house.run(flows_runtime(house.log, instance="executor", clock=house.clock, catalog=house.catalog))
    await house.client.save_flow(
        "main", "company.team", "busy", source("busy", "company.team", "concurrency: {limit: 1}")
    )
    for execution in ("a", "b"):
        command = AcquireSlot(execution_id=execution, at=house.clock.now)
        await house.log.append(
            [Message(topic="flow_commands", key="main/company.team/busy", value=encode(command))]
        )
    await house.client.save_flow(
        "main", "company.team", "busy", source("busy", "company.team", "concurrency: {limit: 2}")
    )
    found = await house.records_when("execution_commands", lambda found: len(found) >= 3)
    answers: dict[str, list[str]] = {}
    for record in found:
        answer = COMMAND_DECODER.decode(record.value or b"")
        assert isinstance(answer, AnswerSlot)
        answers.setdefault(record.key, []).append(answer.state.value)
    assert answers == {
        str(ExecutionKey("main", "a")): ["RUNNING"],
        str(ExecutionKey("main", "b")): ["QUEUED", "RUNNING"],
    }
