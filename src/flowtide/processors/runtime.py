"""The runtime of keyed processors: consume commands, change state, produce records, atomically, one batch at a time.

In come the records of one topic, and timers that the state holds; out go messages and changed pieces of
state, which are committed together with the position, or not at all.  A processor's logic is a `Partition`:
it knows one partition's state and nothing of logs, threads or tasks, so that the simulator and unit tests
run the same code.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from flowtide.errors import Fenced, FlowtideError, LogUnavailable, MessageTooLarge
from flowtide.log.port import Consumer, Log, Message, Record, StateChange
from flowtide.log.port import Partition as LogPartition
from flowtide.model.dead_letters import dead_letter
from flowtide.model.records import encode

_IDLE = timedelta(milliseconds=250)  # at most this long without looking at timers and requests
_BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = structlog.get_logger(__name__)


class BadRecord(FlowtideError):
    """The record cannot be handled, now or ever; it goes to the dead letters with this reason."""


class NotYet(FlowtideError):
    """Something that a record names is not known here: known things are brought up to date, then the batch is done
    again from its beginning, because the decision may have been halfway through.
    """


class TimerFailed(FlowtideError):
    """A timer led to a defect; `timer` names it to the partition, which skips it from now on."""

    def __init__(self, timer: str, reason: str) -> None:
        super().__init__(reason)
        self.timer = timer


def pass_over(state_topic: str, key: str, error: Exception) -> None:
    """Say that a piece of state is none of the processor's, so that garbage on its topic stops no partition."""
    log.warning("a piece of state cannot be read", topic=state_topic, key=key, reason=str(error))


class Partition(ABC):
    """The logic and the state of one partition.  Methods are called one at a time and never wait."""

    @abstractmethod
    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        """Take in one record.  Raises BadRecord before anything was changed, and NotYet only when not `certain`.

        Any other exception is a defect: the record goes to the dead letters, its effects are undone.
        """

    @abstractmethod
    def fire(self, now: datetime, maximum: int) -> None:
        """Take in at most `maximum` timers that are due.  Raises TimerFailed for a defect."""

    def refused(self, record: Record, reason: str) -> Sequence[Message]:
        """What is sent because a record was put aside, e.g. an answer to whoever waits for one."""
        return ()

    def skip_timers(self, timers: AbstractSet[str]) -> None:  # noqa: B027 - most partitions never raise TimerFailed
        """Never fire these again; their state stays.  Called on a partition that was just opened."""

    @property
    def last_timer(self) -> str | None:
        """The timer that was fired last, as TimerFailed names it."""
        return None

    @abstractmethod
    def next_due(self) -> datetime | None:
        """When the next timer is due; None without timers."""

    @abstractmethod
    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """What came of everything taken in since the last call: messages in order, and the
        changed pieces of state.
        """


Request = Callable[[Partition, datetime], None]


class Hooks(Protocol):
    """What the runtime tells its surroundings; every method is cheap and never raises."""

    def batch(self, records: int, seconds: float) -> None:
        """A batch was committed."""

    def dead_letter(self, topic: str) -> None:
        """A record was put aside."""

    def partitions(self, owned: int) -> None:
        """How many partitions this instance owns now."""


class NoHooks:
    """Tells nobody."""

    def batch(self, records: int, seconds: float) -> None:
        """Do nothing."""

    def dead_letter(self, topic: str) -> None:
        """Do nothing."""

    def partitions(self, owned: int) -> None:
        """Do nothing."""


class Runtime:
    """Runs one processor as a member of its group, until it is stopped.

    `open_partition(number, state)` builds the logic of a partition from its committed state; the mapping is
    kept up to date with every commit and must not be changed by the partition.  `catch_up` brings what
    partitions look up (saved flows) up to date, when one raised NotYet.  `clock` gives the time in UTC.
    `before_commit` is awaited with the messages of each batch, to make topics that they need.
    """

    def __init__(
        self,
        log: Log,
        *,
        group: str,
        topic: str,
        state_topic: str,
        instance: str,
        open_partition: Callable[[int, Mapping[str, bytes]], Partition],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        catch_up: Callable[[], Awaitable[None]] | None = None,
        maximum: int = 500,
        hooks: Hooks | None = None,
        before_commit: Callable[[Sequence[Message]], Awaitable[None]] | None = None,
    ) -> None:
        self._log = log
        self._group = group
        self._topic = topic
        self._state_topic = state_topic
        self._instance = instance
        self._open = open_partition
        self._clock = clock
        self._catch_up = catch_up
        self._maximum = maximum
        self._hooks = hooks or NoHooks()
        self._before_commit = before_commit
        self._states: dict[int, dict[str, bytes]] = {}
        self._partitions: dict[int, Partition] = {}
        self._positions: dict[int, int] = {}
        self._requests: list[Request] = []
        self._skipped: dict[int, set[str]] = {}  # timers that led to a defect
        self._stopping = False

    @property
    def owned(self) -> Mapping[int, Partition]:
        """The partitions that this instance owns now, for diagnostics; do not change them."""
        return self._partitions

    def request(self, action: Request) -> None:
        """Apply `action` to every owned partition with the next batch, e.g. because a worker died."""
        self._requests.append(action)

    def stop(self) -> None:
        """End `run` after the batch in hand."""
        self._stopping = True

    async def run(self) -> None:
        """Serve until stopped.  Loss of the log or of membership is survived: everything is
        restored from the log.
        """
        failures = 0
        while not self._stopping:
            try:
                consumer = await self._log.consumer(
                    group=self._group,
                    topics=[self._topic],
                    instance=self._instance,
                    state_topic=self._state_topic,
                )
            except LogUnavailable as error:
                failures = await self._back_off(failures, error)
                continue
            try:
                while not self._stopping:
                    await self._turn(consumer)
                    failures = 0
            except Fenced as error:
                log.warning("membership lost, starting again", group=self._group, reason=str(error))
            except LogUnavailable as error:
                failures = await self._back_off(failures, error)
            finally:
                self._forget()
                await consumer.close()

    async def _turn(self, consumer: Consumer) -> None:
        polled = await consumer.poll(maximum=self._maximum, timeout=self._patience())
        for partition in polled.revoked:
            self._states.pop(partition.number, None)
            self._partitions.pop(partition.number, None)
            self._positions.pop(partition.number, None)
        for assigned in polled.assigned:
            number = assigned.partition.number
            self._states[number] = dict(assigned.state)
            self._partitions[number] = self._open(number, self._states[number])
            self._positions.pop(number, None)
        if polled.revoked or polled.assigned:
            self._hooks.partitions(len(self._partitions))
        await self._batch(consumer, polled.records)

    async def _batch(self, consumer: Consumer, records: Sequence[Record]) -> None:
        """Take in a batch and commit it; a record that cannot be handled, or leads to too much,
        is put aside.
        """
        poison: dict[tuple[int, int], str] = {}
        requests, self._requests = self._requests, []
        try:
            await self._attempt(consumer, records, poison, requests)
            return
        except MessageTooLarge:
            self._reopen()
        # One at a time, so that only the record or the timer whose outcome is too large is put aside.
        for action in requests:
            await self._alone(consumer, [], poison, [action], timers=0)
        for record in records:
            await self._alone(consumer, [record], poison, [], timers=0)
        for number in list(self._partitions):
            while self._has_due_timer(number):
                await self._alone(consumer, [], poison, [], timers=1, only=number)

    async def _alone(
        self,
        consumer: Consumer,
        records: Sequence[Record],
        poison: dict[tuple[int, int], str],
        requests: Sequence[Request],
        *,
        timers: int,
        only: int | None = None,
    ) -> None:
        try:
            await self._attempt(consumer, records, poison, requests, timers=timers, only=only)
        except MessageTooLarge as error:
            timer = self._partitions[only].last_timer if only is not None else None
            log.error(
                "the outcome is too large for the log", group=self._group, timer=timer, reason=str(error)
            )
            if timer is not None and only is not None:
                self._skipped.setdefault(only, set()).add(timer)
            self._reopen()
            for record in records:
                poison.setdefault((record.partition, record.offset), str(error))
            try:
                await self._attempt(consumer, records, poison, [], timers=0)
            except MessageTooLarge:
                # As base64 a record near the limit is beyond it; where it stands on the log must do.
                await self._attempt(consumer, records, poison, [], timers=0, with_values=False)

    def _has_due_timer(self, number: int) -> bool:
        due = self._partitions[number].next_due()
        return due is not None and due <= self._clock()

    async def _attempt(
        self,
        consumer: Consumer,
        records: Sequence[Record],
        poison: dict[tuple[int, int], str],
        requests: Sequence[Request],
        *,
        timers: int | None = None,
        only: int | None = None,
        with_values: bool = True,
    ) -> None:
        started = self._clock()
        requests = list(requests)
        certain = self._catch_up is None
        while True:
            try:
                if self._take_in(records, poison, requests, timers=timers, only=only, certain=certain):
                    break
            except NotYet:
                assert self._catch_up is not None
                await self._catch_up()
                certain = True  # everything that these records could know of is known now
            # Something raised halfway through: forget what this batch did, and do it again without it.
            self._reopen()
        messages: list[Message] = []
        changes: list[StateChange] = []
        touched: set[int] = {record.partition for record in records}
        for number, partition in self._partitions.items():
            written, changed = partition.flush()
            if written or changed:
                messages.extend(written)
                changes.extend(changed)
                touched.add(number)
        for record in records:
            reason = poison.get((record.partition, record.offset))
            if reason is not None:
                messages.append(self._put_aside(record, reason, with_value=with_values))
                messages.extend(self._partitions[record.partition].refused(record, reason))
        if not touched:
            return
        positions = await self._positions_after(touched, records)
        if self._before_commit is not None:
            await self._before_commit(messages)
        await consumer.commit(positions=positions, messages=messages, changes=changes)
        for partition_, offset in positions.items():
            self._positions[partition_.number] = offset
        for change in changes:
            state = self._states[change.partition]
            if change.value is None:
                state.pop(change.key, None)
            else:
                state[change.key] = change.value
        self._hooks.batch(len(records), (self._clock() - started).total_seconds())

    def _reopen(self) -> None:
        for number in self._partitions:
            partition = self._open(number, self._states[number])
            if number in self._skipped:
                partition.skip_timers(self._skipped[number])
            self._partitions[number] = partition

    def _take_in(
        self,
        records: Sequence[Record],
        poison: dict[tuple[int, int], str],
        requests: list[Request],
        *,
        timers: int | None,
        only: int | None,
        certain: bool,
    ) -> bool:
        """Take in requests, records and timers; False when a defect showed, which is left out the next time.

        Raises NotYet when not `certain`.
        """
        now = self._clock()
        for action in list(requests):
            try:
                for partition in self._partitions.values():
                    action(partition, now)
            except Exception:
                log.exception("a request could not be carried out", group=self._group)
                requests.remove(action)
                return False
        for record in records:
            if (record.partition, record.offset) in poison:
                continue
            partition = self._partitions[record.partition]
            try:
                partition.handle(record, now, certain=certain)
            except (LogUnavailable, Fenced):
                raise
            except NotYet as error:
                if not certain:
                    raise
                log.exception("a record could not be handled", group=self._group, key=record.key)
                poison[record.partition, record.offset] = str(error)
                return False
            except BadRecord as error:
                # Nothing was changed, so nothing is undone.
                poison[record.partition, record.offset] = str(error)
            except Exception as error:
                log.exception("a record could not be handled", group=self._group, key=record.key)
                poison[record.partition, record.offset] = f"{type(error).__name__}: {error}"
                return False
        for number, partition in self._partitions.items():
            due = partition.next_due()
            if timers == 0 or (only is not None and only != number) or due is None or due > now:
                continue
            try:
                partition.fire(now, self._maximum if timers is None else timers)
            except TimerFailed as error:
                log.exception("a timer could not be fired", group=self._group, timer=error.timer)
                self._hooks.dead_letter(self._topic)
                self._skipped.setdefault(number, set()).add(error.timer)
                return False
        return True

    def _put_aside(self, record: Record, reason: str, *, with_value: bool) -> Message:
        self._hooks.dead_letter(record.topic)
        log.warning(
            "record put aside",
            group=self._group,
            topic=record.topic,
            key=record.key,
            offset=record.offset,
            reason=reason,
        )
        letter = dead_letter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value if with_value else None,
            reason=reason if with_value else f"{reason} (too large to keep)",
            group=self._group,
            at=self._clock(),
        )
        return Message(topic="dead_letters", key=record.key or "-", value=encode(letter))

    async def _positions_after(self, numbers: set[int], records: Sequence[Record]) -> dict[LogPartition, int]:
        if any(number not in self._positions for number in numbers):
            # A timer fired before the first record: the group's position must be committed again to fence
            # zombies.
            committed = await self._log.positions(self._group, self._topic)
            for number in numbers:
                self._positions.setdefault(number, committed.get(number, 0))
        positions = {LogPartition(self._topic, number): self._positions[number] for number in numbers}
        for record in records:
            positions[LogPartition(self._topic, record.partition)] = record.offset + 1
        return positions

    def _patience(self) -> timedelta:
        due = min((due for p in self._partitions.values() if (due := p.next_due()) is not None), default=None)
        if due is None:
            return _IDLE
        return max(timedelta(0), min(_IDLE, due - self._clock()))

    def _forget(self) -> None:
        self._states.clear()
        self._partitions.clear()
        self._positions.clear()
        self._hooks.partitions(0)

    async def _back_off(self, failures: int, error: LogUnavailable) -> int:
        delay = _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
        log.warning(
            "the log is not available, trying again",
            group=self._group,
            reason=str(error),
            after_seconds=delay,
        )
        await asyncio.sleep(delay)
        return failures + 1
