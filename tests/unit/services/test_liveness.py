"""Heartbeats and the watch over them, on a log in memory with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from flowtide.errors import LogUnavailable
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message, Reader
from flowtide.log.topics import load_topics
from flowtide.model.services import SERVICE_DECODER, ServiceInstance, ServiceState, ServiceType
from flowtide.services.lifecycle import LivenessRules, RestartStrategy
from flowtide.services.liveness import Heartbeat, Liveness

START = datetime(2025, 1, 1, tzinfo=UTC)
S = ServiceState
TOPIC = load_topics()["services"]  # read before the event loop runs


class Time:
    """A clock, and sleeps that last until the clock was moved past their end."""

    def __init__(self) -> None:
        self.now = START
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + timedelta(seconds=seconds), future))
        await future

    async def pass_by(self, span: timedelta) -> None:
        """Move the clock second by second, and let everybody act in between."""
        end = self.now + span
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=1))
            for due, future in self._sleepers:
                if due <= self.now and not future.done():
                    future.set_result(None)
            self._sleepers = [each for each in self._sleepers if not each[1].done()]
            await settle()


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(12):
        await asyncio.sleep(0)


class House:
    """A log on which servers live and die."""

    def __init__(self, log: EmbeddedLog, reader: Reader) -> None:
        self.log = log
        self.reader = reader  # from the beginning, as the topic is compacted
        self.history: list[tuple[str, str]] = []
        self.time = Time()
        self.dead: list[tuple[str, bool]] = []
        self.resigned: list[str] = []
        self.stops: list[Callable[[], object]] = []

    async def server(self, name: str, type_: ServiceType = ServiceType.WORKER) -> Heartbeat:
        instance = ServiceInstance(
            id=name,
            type=type_,
            state=S.CREATED,
            host="h",
            version="1",
            started=self.time.now,
            heartbeat=self.time.now,
        )
        heartbeat = Heartbeat(
            self.log,
            instance,
            clock=self.time,
            on_declared_dead=lambda found: self.resigned.append(found.id),
            sleep=self.time.sleep,
        )
        await heartbeat.start()
        await heartbeat.become(S.RUNNING)
        self.stops.append(heartbeat.stop)
        return heartbeat

    async def executor(
        self,
        name: str = "executor",
        strategy: RestartStrategy = RestartStrategy.AFTER_TERMINATION_GRACE_PERIOD,
        sole_ids: list[str] | None = None,
    ) -> Liveness:
        liveness = Liveness(
            self.log,
            service_id=name,
            clock=self.time,
            on_worker_dead=lambda worker, resubmit: self.dead.append((worker, resubmit)),
            rules=LivenessRules(restart_strategy=strategy),
            sleep=self.time.sleep,
            sole_ids=sole_ids,
        )
        await liveness.start()
        self.stops.append(liveness.stop)
        return liveness

    async def said(self) -> list[tuple[str, str]]:
        """Every change of state on the topic, in order."""
        while not await self.reader.at_end():
            for record in await self.reader.poll(maximum=10_000, timeout=timedelta(0)):
                state = (
                    "forgotten" if record.value is None else SERVICE_DECODER.decode(record.value).state.value
                )
                if [each for each in self.history if each[0] == record.key][-1:] != [(record.key, state)]:
                    self.history.append((record.key, state))
        return self.history


@pytest.fixture
async def house() -> AsyncIterator[House]:
    log = EmbeddedLog(None, clock=START.timestamp, threaded=False)
    await log.start()
    await log.ensure_topics([TOPIC])
    house = House(log, await log.reader("services", "beginning"))
    yield house
    for stop in house.stops:
        stopping = stop()
        assert asyncio.iscoroutine(stopping)
        await stopping
    await log.close()


async def test_a_living_server_is_left_alone(house: House) -> None:
    """LIFE-1: heartbeats come every three seconds, and nobody is declared anything."""
    await house.server("worker")
    liveness = await house.executor()
    await house.time.pass_by(timedelta(minutes=10))
    assert liveness.instances["worker"].state is S.RUNNING
    assert house.time.now - liveness.instances["worker"].heartbeat <= timedelta(seconds=3)
    assert await house.said() == [("worker", "CREATED"), ("worker", "RUNNING")]


@pytest.mark.parametrize(
    ("strategy", "after", "resubmit"),
    [
        (RestartStrategy.AFTER_TERMINATION_GRACE_PERIOD, timedelta(minutes=5, seconds=45), True),
        (RestartStrategy.IMMEDIATELY, timedelta(seconds=45), True),
        (RestartStrategy.NEVER, timedelta(seconds=45), False),
    ],
)
async def test_a_dead_worker_is_found_and_its_runs_are_taken_from_it_once(
    house: House, strategy: RestartStrategy, after: timedelta, resubmit: bool
) -> None:
    """LIFE-2, LIFE-4, LIFE-8: DISCONNECTED, then its runs, then NOT_RUNNING, INACTIVE and at last
    forgotten.
    """
    worker = await house.server("worker")
    liveness = await house.executor(strategy=strategy)
    await house.time.pass_by(timedelta(minutes=1))
    await worker.stop()
    await house.time.pass_by(after - timedelta(seconds=5))
    assert house.dead == []
    await house.time.pass_by(timedelta(seconds=25))
    assert house.dead == [("worker", resubmit)]
    assert liveness.dead_workers == {"worker"}
    assert [state for _, state in await house.said()] == [
        "CREATED", "RUNNING", "DISCONNECTED", "NOT_RUNNING", "INACTIVE",
    ]  # fmt: skip  # reads as a line
    house.time.now += timedelta(days=7)
    await house.time.pass_by(timedelta(seconds=10))
    assert (await house.said())[-1] == ("worker", "forgotten")
    assert liveness.instances == {}
    assert house.dead == [("worker", resubmit)]


async def test_every_executor_learns_of_a_dead_worker_once(house: House) -> None:
    """Each has partitions of its own to see to, whoever found it; also one that starts later."""
    worker = await house.server("worker")
    await house.executor("first", RestartStrategy.IMMEDIATELY)
    await house.executor("second", RestartStrategy.IMMEDIATELY)
    await worker.stop()
    await house.time.pass_by(timedelta(minutes=3))
    assert house.dead == [("worker", True), ("worker", True)]
    await house.executor("third", RestartStrategy.IMMEDIATELY)
    assert house.dead == [("worker", True)] * 3


async def test_a_worker_that_stopped_leaves_its_runs_at_once(house: House) -> None:
    """LIFE-2: it said itself that it is over, so no grace period follows."""
    worker = await house.server("worker")
    await house.executor()
    await house.time.pass_by(timedelta(minutes=1))
    await worker.become(S.TERMINATING)
    await worker.stop(S.TERMINATED_FORCED, "the grace period was over")
    await house.time.pass_by(timedelta(seconds=12))
    assert house.dead == [("worker", True)]
    assert [state for _, state in await house.said()][2:] == [
        "TERMINATING",
        "TERMINATED_FORCED",
        "NOT_RUNNING",
        "INACTIVE",
    ]


async def test_a_disconnected_server_recovers_with_its_next_heartbeat(house: House) -> None:
    """LIFE-3; its runs stay with it."""
    worker = await house.server("worker")
    liveness = await house.executor()
    await house.time.pass_by(timedelta(minutes=1))
    await worker.stop()
    await house.time.pass_by(timedelta(minutes=2))
    states = [liveness.instances["worker"].state]
    await worker.become(S.RUNNING)
    await house.time.pass_by(timedelta(seconds=10))
    states.append(liveness.instances["worker"].state)
    assert states == [S.DISCONNECTED, S.RUNNING]
    assert house.dead == []


async def test_a_server_that_was_declared_dead_ends_itself_and_is_silent(house: House) -> None:
    """LIFE-5: told once; what it would say afterwards changes nothing."""
    server = await house.server("webserver", ServiceType.WEBSERVER)
    found = msgspec.structs.replace(server.instance, state=S.NOT_RUNNING, reported_by="executor")
    await house.log.append([Message(topic="services", key="webserver", value=msgspec.json.encode(found))])
    await house.time.pass_by(timedelta(seconds=30))
    assert house.resigned == ["webserver"]
    await server.become(S.RUNNING)
    assert (await house.said())[-1] == ("webserver", "NOT_RUNNING")


async def test_an_executor_judges_nobody_before_it_has_watched_for_a_while(house: House) -> None:
    """After all servers were down together, each gets the initial delay to be heard again."""
    worker = await house.server("worker")
    await house.time.pass_by(timedelta(minutes=1))
    await worker.stop()
    house.time.now += timedelta(hours=1)
    liveness = await house.executor(strategy=RestartStrategy.IMMEDIATELY)
    await house.time.pass_by(timedelta(seconds=40))
    assert liveness.instances["worker"].state is S.RUNNING
    await house.time.pass_by(timedelta(seconds=20))
    assert house.dead == [("worker", True)]


async def test_an_executor_that_stood_still_itself_takes_nobody_for_dead(house: House) -> None:
    """A laptop that slept or a machine that was frozen: it is its own silence that it finds, not that of others."""
    await house.server("worker")
    liveness = await house.executor(strategy=RestartStrategy.IMMEDIATELY)
    await house.time.pass_by(timedelta(minutes=2))
    house.time.now += timedelta(hours=8)
    await house.time.pass_by(timedelta(minutes=2))
    assert [state for name, state in await house.said() if name == "worker"] == ["CREATED", "RUNNING"]
    assert (liveness.instances["worker"].state, house.dead, house.resigned) == (S.RUNNING, [], [])


async def test_a_log_that_carried_nothing_takes_nobody_for_dead(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is away brings neither failures nor heartbeats: who misses its own ones too judges nobody."""
    await house.server("executor", ServiceType.EXECUTOR)
    await house.server("worker")
    await house.executor("executor")
    await house.time.pass_by(timedelta(minutes=1))
    back = asyncio.Event()
    append = house.log.append

    async def wait(messages: Sequence[Message]) -> None:
        await back.wait()
        await append(messages)

    monkeypatch.setattr(house.log, "append", wait)
    await house.time.pass_by(timedelta(minutes=10))
    back.set()
    await house.time.pass_by(timedelta(minutes=2))
    assert [state for name, state in await house.said() if name == "worker"] == ["CREATED", "RUNNING"]
    assert (house.dead, house.resigned) == ([], [])


async def test_the_only_process_on_a_log_knows_that_its_predecessors_are_gone(house: House) -> None:
    """The servers of a former process are dead at once, without any timeout."""
    old = await house.server("old-worker")
    await old.stop()
    await house.server("new-worker")
    await house.executor("executor", sole_ids=["executor", "new-worker"])
    assert house.dead == [("old-worker", True)]
    assert ("old-worker", "NOT_RUNNING") in await house.said()
    await house.time.pass_by(timedelta(minutes=1))
    assert house.dead == [("old-worker", True)]


async def test_heartbeats_survive_an_unavailable_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tried again; the server does not end for it."""
    await house.server("worker")

    async def refuse(messages: object) -> None:
        raise LogUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(house.log, "append", refuse)
        await house.time.pass_by(timedelta(seconds=10))
    await house.time.pass_by(timedelta(seconds=5))
    liveness = await house.executor()
    assert house.time.now - liveness.instances["worker"].heartbeat <= timedelta(seconds=3)


async def test_garbage_on_the_topic_is_passed_over(house: House) -> None:
    """A record that is no server stops neither a watch nor a heartbeat."""
    await house.server("worker")
    liveness = await house.executor()
    await house.log.append([Message(topic="services", key="worker", value=b"\xff")])
    await house.time.pass_by(timedelta(minutes=2))
    assert list(liveness.instances) == ["worker"]
