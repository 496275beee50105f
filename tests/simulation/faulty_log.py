"""The log as one server of the simulation sees it: slow, sometimes away, sometimes silent about what it wrote.

In go a server's calls, out come those of the one log that all share.  A server that crashed reaches nothing any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from random import Random

from flowtide.errors import LogUnavailable
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Consumer, Log, Message, Partition, Polled, Reader, Record, StartAt, StateChange
from flowtide.log.topics import Topic


class Faults:
    """How badly the log behaves now; shared by all servers."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.away_until = 0.0  # loop time
        self.slowness_seconds = 0.0  # mean delay of a call
        self.lost_answers = 0.0  # probability that a write is done, and the writer not told
        self.repeats = 0.0  # probability that appended commands come once more, later
        self.crashes = 0.0  # probability that a call is a server's last one
        self.crash: Callable[[str], None] = lambda _: None
        self.tell: Callable[[str], None] = lambda _: None


class FaultyLog(Log):
    """One server's log."""

    def __init__(self, log: EmbeddedLog, faults: Faults, server: str) -> None:
        self._log = log
        self.faults = faults
        self.server = server
        self.dead = False

    async def pass_through(self) -> None:
        """Every call begins here.  Raises LogUnavailable."""
        faults = self.faults
        if not self.dead and faults.crashes and faults.random.random() < faults.crashes:
            faults.crash(self.server)
            await asyncio.sleep(0)
        if faults.slowness_seconds:
            await asyncio.sleep(faults.random.expovariate(1 / faults.slowness_seconds))
        if self.dead or asyncio.get_running_loop().time() < faults.away_until:
            raise LogUnavailable("the log is away")

    def answer(self) -> None:
        """Every write ends here.  Raises LogUnavailable."""
        faults = self.faults
        if faults.lost_answers and faults.random.random() < faults.lost_answers:
            faults.tell(f"an answer to {self.server} is lost")
            raise LogUnavailable("the answer was lost")

    async def start(self) -> None:
        """It was started."""

    async def close(self) -> None:
        """Others still use it."""

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """They are there."""

    def partitions(self, topic: str) -> int:
        """See `Log`."""
        return self._log.partitions(topic)

    async def append(self, messages: Sequence[Message]) -> None:
        """See `Log`."""
        await self.pass_through()
        await self._log.append(messages)
        commands = [message for message in messages if message.topic == "execution_commands"]
        faults = self.faults
        if commands and faults.repeats and faults.random.random() < faults.repeats:
            delay = faults.random.choice((0.0, 1.0, 20.0))
            loop = asyncio.get_running_loop()
            loop.call_later(delay, lambda: _SENDING.add(loop.create_task(self._log.append(commands))))
        self.answer()

    async def consumer(
        self, *, group: str, topics: Sequence[str], instance: str, state_topic: str | None = None
    ) -> Consumer:
        """See `Log`."""
        await self.pass_through()
        inner = await self._log.consumer(
            group=group, topics=topics, instance=instance, state_topic=state_topic
        )
        return _FaultyConsumer(inner, self)

    async def reader(self, topic: str, starts: Mapping[int, int | StartAt] | StartAt) -> Reader:
        """See `Log`."""
        await self.pass_through()
        return _FaultyReader(await self._log.reader(topic, starts), self)

    async def missing_topics(self, topics: Sequence[Topic]) -> list[str]:
        """See `Log`."""
        return await self._log.missing_topics(topics)

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """See `Log`."""
        await self.pass_through()
        return await self._log.end_offsets(topic)

    async def positions(self, group: str, topic: str) -> Mapping[int, int]:
        """See `Log`."""
        await self.pass_through()
        return await self._log.positions(group, topic)

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, int]:
        """See `Log`."""
        return await self._log.lag(group, topics)

    async def seek_group(self, group: str, topics: Sequence[str], to: StartAt) -> None:
        """See `Log`."""
        await self._log.seek_group(group, topics, to)


_SENDING: set[asyncio.Task[None]] = set()


class _FaultyConsumer(Consumer):
    def __init__(self, inner: Consumer, log: FaultyLog) -> None:
        self._inner = inner
        self._log = log

    async def poll(self, *, maximum: int, timeout: timedelta) -> Polled:
        await self._log.pass_through()
        return await self._inner.poll(maximum=maximum, timeout=timeout)

    async def commit(
        self,
        *,
        positions: Mapping[Partition, int],
        messages: Sequence[Message] = (),
        changes: Sequence[StateChange] = (),
    ) -> None:
        await self._log.pass_through()
        await self._inner.commit(positions=positions, messages=messages, changes=changes)
        self._log.answer()

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._inner.pause(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._inner.resume(partitions)

    async def close(self) -> None:
        await self._inner.close()  # a server that crashed was expelled before


class _FaultyReader(Reader):
    def __init__(self, inner: Reader, log: FaultyLog) -> None:
        self._inner = inner
        self._log = log

    async def poll(self, *, maximum: int, timeout: timedelta) -> Sequence[Record]:
        await self._log.pass_through()
        return await self._inner.poll(maximum=maximum, timeout=timeout)

    async def assign(self, starts: Mapping[int, int | StartAt]) -> None:
        await self._inner.assign(starts)

    async def at_end(self) -> bool:
        return await self._inner.at_end()

    def reached(self) -> Mapping[int, int]:
        return self._inner.reached()

    async def close(self) -> None:
        await self._inner.close()
