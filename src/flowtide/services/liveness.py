"""Heartbeats, and the watch over them: who lives, who died, and who is told (page 015, catalogue A §5).

In come records of the topic `services`; out go a server's own heartbeats, what checks found, and calls for
dead workers. The rules are those of `flowtide.services.lifecycle`; the clock and the sleep are handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
import structlog

from flowtide.errors import LogUnavailable
from flowtide.log.port import Log, Message, Reader, Record
from flowtide.model.records import UNREADABLE, encode
from flowtide.model.services import SERVICE_DECODER, ServiceInstance, ServiceState, ServiceType
from flowtide.services.lifecycle import (
    DEAD,
    DEFAULT_HEARTBEAT_INTERVAL,
    Finding,
    LivenessRules,
    RestartStrategy,
    heard,
    judge,
)

SERVICES = "services"

_POLL = timedelta(milliseconds=500)
_MAXIMUM = 1_000
_BACK_OFF_SECONDS = 0.5

Clock = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]
OnDeclaredDead = Callable[[ServiceInstance], None]
OnWorkerDead = Callable[[str, bool], None]  # the worker's id, and whether its runs are to be run again

logger = structlog.get_logger(__name__)


class Heartbeat:
    """Says regularly that a server lives, and notices when others took it for dead.

    `instance` is the server as it starts, CREATED.  `on_declared_dead` is called once, with what was found,
    when another server declared this one NOT_RUNNING: it must end itself (LIFE-5).  A log that is not
    available delays heartbeats and ends nothing.
    """

    def __init__(
        self,
        log: Log,
        instance: ServiceInstance,
        *,
        clock: Clock,
        on_declared_dead: OnDeclaredDead,
        interval: timedelta = DEFAULT_HEARTBEAT_INTERVAL,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._log = log
        self._instance = instance
        self._clock = clock
        self._on_declared_dead = on_declared_dead
        self._interval = interval
        self._sleep = sleep
        self._declared_dead = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def instance(self) -> ServiceInstance:
        """The server as it last said."""
        return self._instance

    async def start(self) -> None:
        """Say that the server is there, and go on saying so.  Raises LogUnavailable."""
        reader = await self._log.reader(SERVICES, "end")
        await self._say()
        self._tasks = [
            asyncio.create_task(self._beat(), name=f"heartbeat {self._instance.id}"),
            asyncio.create_task(self._watch(reader), name=f"liveness watch {self._instance.id}"),
        ]

    async def become(self, state: ServiceState, reason: str | None = None) -> None:
        """Tell a change of state at once; an unavailable log makes the next heartbeat tell it."""
        self._instance = msgspec.structs.replace(self._instance, state=state, reason=reason)
        await self._try_to_say()

    async def stop(self, state: ServiceState | None = None, reason: str | None = None) -> None:
        """Stop the heartbeats; with `state` the last one tells how the server ended."""
        tasks, self._tasks = self._tasks, []
        await _end(tasks)
        if state is not None:
            await self.become(state, reason)

    async def _beat(self) -> None:
        while True:
            await self._sleep(self._interval.total_seconds())
            await self._try_to_say()

    async def _try_to_say(self) -> None:
        try:
            await self._say()
        except LogUnavailable as error:
            logger.warning("the heartbeat could not be written", service=self._instance.id, reason=str(error))

    async def _say(self) -> None:
        if self._declared_dead:
            return  # what a server says after its death would only confuse
        self._instance = msgspec.structs.replace(self._instance, heartbeat=self._clock())
        await self._log.append([_message(self._instance)])

    async def _watch(self, reader: Reader | None) -> None:
        try:
            while not self._declared_dead:
                try:
                    # After an interruption what was missed counts too.
                    reader = reader or await self._log.reader(SERVICES, "beginning")
                    for record in await reader.poll(maximum=_MAXIMUM, timeout=_POLL):
                        self._look_at(record)
                except LogUnavailable:
                    await _closed(reader)
                    reader = None
                    await self._sleep(_BACK_OFF_SECONDS)
        finally:
            await _closed(reader)

    def _look_at(self, record: Record) -> None:
        if record.key != self._instance.id or self._declared_dead:
            return
        found = _read(record)
        if found is None or found.reported_by is None or found.state not in DEAD:
            return
        self._declared_dead = True
        logger.error(
            "this server was declared dead and ends itself", service=record.key, by=found.reported_by
        )
        self._on_declared_dead(found)


class Liveness:
    """Watches all servers; each executor has one.

    `service_id` is the executor's own instance.  `on_worker_dead(worker_id, resubmit)` is called once for
    each dead worker, also for those that were found dead by others or before the start, because each
    executor sees to its own partitions; it is called before the worker is declared NOT_RUNNING (LIFE-4).
    `resubmit` is False with the strategy NEVER. `sole_ids`: the ids of all servers that can exist, when
    this process is known to be the only one on its log; whoever else the topic names was ended with a
    former process and is declared dead at once.

    Its own server's heartbeats tell whether the log carries any: while they are missing nobody is judged, and
    everybody gets time to be heard again after they are back.  Kafka's client reports no failure while a broker
    is away, it only brings nothing.
    """

    def __init__(
        self,
        log: Log,
        *,
        service_id: str,
        clock: Clock,
        on_worker_dead: OnWorkerDead,
        rules: LivenessRules | None = None,
        sleep: Sleep = asyncio.sleep,
        sole_ids: Collection[str] | None = None,
    ) -> None:
        self._log = log
        self._id = service_id
        self._clock = clock
        self._on_worker_dead = on_worker_dead
        self._rules = rules or LivenessRules()
        self._sleep = sleep
        self._sole_ids = None if sole_ids is None else frozenset(sole_ids)
        self._instances: dict[str, ServiceInstance] = {}
        self._since: dict[str, datetime] = {}
        self._told: set[str] = set()
        self._judges_from = clock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def instances(self) -> Mapping[str, ServiceInstance]:
        """Every server that is known, by id."""
        return self._instances

    @property
    def is_informed(self) -> bool:
        """Whether what is known of all servers was read."""
        return bool(self._tasks)

    @property
    def dead_workers(self) -> frozenset[str]:
        """The workers that `on_worker_dead` was called for: for partitions that an executor takes
        over later.
        """
        return frozenset(self._told)

    async def start(self) -> None:
        """Read what is known of all servers, then watch them.  Raises LogUnavailable."""
        reader = await self._log.reader(SERVICES, "beginning")
        while not await reader.at_end():
            self._take_in(await reader.poll(maximum=_MAXIMUM, timeout=_POLL), live=False)
        self._judges_from = self._clock() + self._rules.initial_delay
        for instance in tuple(self._instances.values()):
            if instance.state in DEAD:
                self._tell_of(instance)
        if self._sole_ids is not None:
            for instance in tuple(self._instances.values()):
                if instance.id not in self._sole_ids and instance.state not in DEAD:
                    reason = "ended with its process"
                    hand_over = instance.type is ServiceType.WORKER
                    finding = Finding(state=ServiceState.NOT_RUNNING, reason=reason, hand_over=hand_over)
                    await self._declare(instance, finding)
        self._tasks = [
            asyncio.create_task(self._watch(reader), name="liveness"),
            asyncio.create_task(self._judge(), name="liveness checks"),
        ]

    async def stop(self) -> None:
        """Stop watching."""
        tasks, self._tasks = self._tasks, []
        await _end(tasks)

    async def check(self) -> None:
        """Judge every server once.  Raises LogUnavailable; what was not written then is found again."""
        now = self._clock()
        if self._hears_nothing(now):
            return
        for instance in tuple(self._instances.values()):
            lives = instance.state in _LIVING
            if instance.id == self._id or (lives and now < self._judges_from):
                continue
            finding = judge(instance, since=self._since[instance.id], now=now, rules=self._rules)
            if finding is not None:
                await self._declare(instance, finding)
                if self._clock() - now > self._rules.timeout / 2:
                    return  # the log stood still meanwhile: who is silent is to be seen anew

    def _hears_nothing(self, now: datetime) -> bool:
        """Whether the own heartbeats are missing for so long that the silence of others means nothing."""
        own = self._instances.get(self._id)
        return own is not None and own.state in _LIVING and self._is_silence(now - self._since[self._id])

    def _is_silence(self, span: timedelta) -> bool:
        return span > max(self._rules.timeout / 2, self._rules.heartbeat_interval)

    async def _declare(self, instance: ServiceInstance, finding: Finding) -> None:
        if finding.hand_over:
            self._tell_of(instance)
        now = self._clock()
        if finding.state is None:
            await self._log.append([Message(topic=SERVICES, key=instance.id, value=None)])
            self._forget(instance.id)
            return
        found = msgspec.structs.replace(
            instance, state=finding.state, reason=finding.reason, reported_by=self._id, heartbeat=now
        )
        await self._log.append([_message(found)])
        logger.info("a server changed its state", service=found.id, type=found.type, state=found.state)
        self._hear(found, now)

    def _tell_of(self, instance: ServiceInstance) -> None:
        """Have the runs of a dead worker taken from it, once."""
        if instance.type is ServiceType.WORKER and instance.id not in self._told:
            self._told.add(instance.id)
            self._on_worker_dead(instance.id, self._rules.restart_strategy is not RestartStrategy.NEVER)

    def _hear(self, said: ServiceInstance, at: datetime) -> None:
        before = self._instances.get(said.id)
        if said.id == self._id and before is not None and self._is_silence(at - self._since[said.id]):
            # The log was away, for everybody.
            self._judges_from = max(self._judges_from, at + self._rules.timeout)
        after = heard(before, said)
        if before is not None and (after is before or (after.state is before.state and after.reported_by)):
            return  # nothing new, or found by several: the first finding counts
        self._instances[said.id] = after
        self._since[said.id] = at

    def _take_in(self, records: Collection[Record], *, live: bool) -> None:
        for record in records:
            if record.value is None:
                self._forget(record.key)
                continue
            said = _read(record)
            if said is None:
                continue
            now = self._clock()
            # While reading live the own clock dates what is heard, so clocks of servers need not agree.
            self._hear(said, now if live else min(said.heartbeat, now))
            if live and self._instances[said.id].state in DEAD:
                self._tell_of(said)

    def _forget(self, service_id: str) -> None:
        self._instances.pop(service_id, None)
        self._since.pop(service_id, None)
        self._told.discard(service_id)

    async def _watch(self, reader: Reader | None) -> None:
        try:
            while True:
                try:
                    if reader is None:
                        reader = await self._log.reader(SERVICES, "beginning")
                        # Heartbeats could not be written either: everybody gets time to be heard again.
                        self._judges_from = self._clock() + self._rules.timeout
                    self._take_in(await reader.poll(maximum=_MAXIMUM, timeout=_POLL), live=True)
                except LogUnavailable as error:
                    logger.warning("servers cannot be watched, trying again", reason=str(error))
                    self._judges_from = self._clock() + self._rules.timeout
                    await _closed(reader)
                    reader = None
                    await self._sleep(_BACK_OFF_SECONDS)
        finally:
            await _closed(reader)

    async def _judge(self) -> None:
        while True:
            before = self._clock()
            await self._sleep(self._rules.interval.total_seconds())
            now = self._clock()
            if now - before > self._rules.interval + self._rules.timeout / 2:
                # It was this process that stood still, or its clock that was set: everybody else looks silent.
                logger.warning(
                    "this server stood still; others get time to be heard", since=before.isoformat()
                )
                self._judges_from = max(self._judges_from, now + self._rules.timeout)
            try:
                await self.check()
            except LogUnavailable as error:
                logger.warning("what was found of servers could not be written", reason=str(error))


_LIVING = frozenset(
    {ServiceState.CREATED, ServiceState.RUNNING, ServiceState.MAINTENANCE, ServiceState.TERMINATING}
)


def _message(instance: ServiceInstance) -> Message:
    return Message(topic=SERVICES, key=instance.id, value=encode(instance))


def _read(record: Record) -> ServiceInstance | None:
    try:
        return SERVICE_DECODER.decode(record.value or b"")
    except UNREADABLE as error:
        logger.warning("a record of a server cannot be read", key=record.key, reason=str(error))
        return None


async def _closed(reader: Reader | None) -> None:
    if reader is not None:
        with suppress(LogUnavailable):
            await reader.close()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
