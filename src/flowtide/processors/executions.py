"""The *executions* processor: owns the fold of every execution of its partition, hands out jobs, starts children.

Key: tenant and execution.  In: `execution_commands`.  Out: `execution_events`, jobs and controls for workers, commands
to other executions, flows and triggers, log lines.  State: the pieces of `flowtide.engine.execution`, named
`{tenant}/{execution}|{piece}`; an ended execution leaves a marker for a while, so that a late duplicate of the command
that created it does not create it again.  Executions are decoded when a command or a timer first needs them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from flowtide.engine.decide import decide
from flowtide.engine.decide.commands.reports import stop
from flowtide.engine.execution import ROOT, Execution, decode_due, restore
from flowtide.engine.flow_retry import FLOW_RETRY
from flowtide.engine.outgoing import ToExecution, ToFlow, ToTrigger
from flowtide.engine.plan import Plan
from flowtide.engine.turn import FlowLookup, Turn
from flowtide.log.keys import ExecutionKey, execution_key
from flowtide.log.port import Log, Message, Record, StateChange
from flowtide.model.commands import (
    COMMAND_DECODER,
    AmendExecution,
    ConfirmSlot,
    CreateExecution,
    ExecutionCommand,
    FireTimer,
    KillExecution,
    LoseWorker,
    ReportChildEnded,
    ReportDirectoryOpened,
    ReportRunStarted,
    RestartExecution,
    RestoreExecution,
)
from flowtide.model.events import (
    ExecutionEvent,
)
from flowtide.model.flow_commands import ReleaseSlot
from flowtide.model.records import ENCODER, UNREADABLE
from flowtide.model.states import State
from flowtide.model.trigger_records import ReleaseTrigger
from flowtide.processors.amendments import events_of_amendment
from flowtide.processors.arrivals import Arrivals, pieces_by_name, read_marker
from flowtide.processors.execution_messages import message_of
from flowtide.processors.job_topics import JobTopics
from flowtide.processors.notes import Listeners, note_of_refusal, notes_of
from flowtide.processors.refusals import events_of_refusal
from flowtide.processors.runtime import BadRecord, Hooks, NotYet, Partition, Runtime, TimerFailed, pass_over
from flowtide.processors.switches import Switches, Verdict, of_creation, stopping
from flowtide.telemetry.traces import EXECUTOR, Tracing

logger = structlog.get_logger(__name__)

GROUP = "executor"
STATE = "execution_state"
MARKER_RETENTION = timedelta(minutes=2)
_MARKER = "x"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NEXT_LOOK = timedelta(minutes=1)
"""How long a timer waits again that was due while its flow was not known."""
_SUSPICION = timedelta(seconds=5)
"""How long the end of an attempt may stand behind its start, when the worker died before its start was read."""

Plans = Callable[[str, str, str, int | None], Plan | None]
"""(tenant, namespace, flow id, revision or None for the latest) -> the plan, or None when it is not known here."""

Clock = Callable[[], datetime]


class Observer(Protocol):
    """Is told of every event, e.g. for metrics; cheap, never raises."""

    def event(self, execution: Execution, plan: Plan, event: ExecutionEvent) -> None:
        """An event was decided; it is not committed yet."""


CheckAccess = Callable[[str, str, str], None]
"""(tenant, reader, owner): raises NamespaceForbidden where flows of `reader` may not use what `owner` has."""


class ExecutionsPartition(Partition):
    """The executions of one partition."""

    def __init__(
        self,
        number: int,
        state: Mapping[str, bytes],
        plans: Plans,
        observer: Observer | None = None,
        tracing: Tracing | None = None,
        *,
        job_partitions: int | None = None,
        dead_workers: set[str] | None = None,
        unreplaced_workers: set[str] | None = None,
        listeners: Listeners | None = None,
        has_workers: Callable[[str], bool] = lambda group: True,
        switches: Switches | None = None,
        may_use: Callable[[str, str], bool] = lambda tenant, group: True,
        check_access: CheckAccess = lambda tenant, reader, owner: None,
    ) -> None:
        """`listeners` tells which flows listen (None: none).  `job_partitions`: of the topic of jobs; None leaves
        the choice to the log.  `dead_workers` and `unreplaced_workers`, those whose runs are not handed out again,
        are added to, and shared by all partitions of a server.  `has_workers` tells whether somebody works in a
        worker group, `may_use` whether a tenant may use it.  `check_access` raises where flows of one namespace must
        not start those of another one (NSM-13).
        """
        self._check_access = check_access
        self._dead_workers = dead_workers if dead_workers is not None else set()
        self._unreplaced = unreplaced_workers if unreplaced_workers is not None else set()
        self._job_partitions = job_partitions
        self._listeners = listeners
        self._has_workers = has_workers
        self._switches = switches
        self._may_use = may_use
        self._to_review: deque[str] = deque()
        self._number = number
        self._state = state
        self._plans = plans
        self._observer = observer
        self._tracing = tracing if tracing is not None and tracing.traces(EXECUTOR) else None
        self._executions: dict[str, Execution] = {}
        self._pieces: dict[str, list[str]] = {}  # of executions that are not decoded yet: their pieces' names
        self._touched: dict[str, Execution] = {}
        self._timers: list[tuple[datetime, str, str]] = []  # (due, execution key, timer id); stale ones stay
        # Executions that are over: when that is forgotten, and the number after their last event.
        self._markers: dict[str, tuple[datetime, int | None]] = {}
        self._arrivals = Arrivals(self._change)
        self._opened: datetime | None = None  # when the first timer was looked at
        self._restored = False  # whether a predecessor left markers
        self._forgettable: deque[tuple[datetime, str]] = deque()
        self._suspects: deque[tuple[datetime, str, ReportRunStarted | None]] = deque()
        if self._dead_workers:
            self._suspects.append((_LONG_AGO, "", None))  # whoever was suspected before this was opened
        self._messages: list[Message] = []
        self._changes: list[StateChange] = []
        self._skipped: frozenset[str] = frozenset()
        self._last_timer: str | None = None
        markers = []
        for name, value in state.items():
            key, bar, piece = name.partition("|")
            try:
                execution_key(key)
                if not bar:
                    raise ValueError("it names no piece")
                due = decode_due(value) if piece.startswith("t:") else None
                marker = read_marker(value) if piece == _MARKER else None
            except UNREADABLE as error:
                pass_over(STATE, name, error)
                continue
            if marker is not None:
                markers.append((*marker, key))
                continue
            self._pieces.setdefault(key, []).append(piece)
            if due is not None:
                self._timers.append((due, key, piece[2:]))
        heapq.heapify(self._timers)
        self._restored = bool(markers)
        if switches is not None and switches.are_on:
            self.review()
        for due, next_event, key in sorted(markers, key=lambda marker: marker[0]):
            self._markers[key] = due, next_event
            self._forgettable.append((due, key))
        for key, pieces in list(pieces_by_name(self._pieces, state)):
            del self._pieces[key]
            self._arrivals.found(key, pieces)

    @property
    def live(self) -> int:
        """How many executions are not over."""
        return len(self._executions) + len(self._pieces)

    def review(self) -> None:
        """Look at every execution, a portion at a time: a kill switch or the maintenance began or ended."""
        self._to_review = deque([*self._pieces, *self._executions])

    # Partition.

    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        """Decide one command."""
        try:
            key = execution_key(record.key)
            command = COMMAND_DECODER.decode(record.value or b"")
        except UNREADABLE as error:
            raise BadRecord(f"not a command to an execution: {error}") from None
        place = f"{record.partition}/{record.offset}"
        if self._tracing is None:
            self._decide(key, record.key, command, now, certain=certain, place=place)
            return
        with self._tracing.span(
            f"EXECUTOR - {type(command).__name__}",
            category=EXECUTOR,
            traceparent=self._trace_parent(record.key, command),
            attributes={"kestra.tenantId": key.tenant, "kestra.executionId": key.execution_id},
        ):
            self._decide(key, record.key, command, now, certain=certain, place=place)

    def _trace_parent(self, name: str, command: ExecutionCommand) -> str | None:
        """The request that led to the execution (OTEL-3)."""
        if isinstance(command, CreateExecution):
            return command.trace_parent
        execution = self._find(name)
        return None if execution is None else execution.head.trace_parent

    def fire(self, now: datetime, maximum: int) -> None:
        """Fire the timers that are due, and forget markers that are old."""
        fired = 0
        for _ in range(min(len(self._to_review), maximum)):
            self._review(self._to_review.popleft(), now)
        while self._timers and self._timers[0][0] <= now and fired < maximum:
            _, name, timer_id = heapq.heappop(self._timers)
            timer = f"{name}|{timer_id}"
            if timer in self._skipped:
                continue
            self._last_timer = timer
            try:
                execution = self._find(name)
                wanted = None if execution is None else execution.timers.get(timer_id)
                if wanted is None or wanted > now:
                    continue  # it was cleared, or stands in the queue with its new date
                if execution is not None and self._waits(name, execution, timer_id, now):
                    heapq.heappush(self._timers, (now + _NEXT_LOOK, name, timer_id))
                    continue
                fired += 1
                self._decide(
                    execution_key(name), name, FireTimer(at=now, timer_id=timer_id), now, certain=True
                )
            except BadRecord as error:
                # Nothing was changed.  The execution stays as it is until its flow is known again.
                logger.warning("a timer cannot be fired", execution=name, timer=timer_id, reason=str(error))
                heapq.heappush(self._timers, (now + _NEXT_LOOK, name, timer_id))
            except Exception as error:
                raise TimerFailed(timer, f"{type(error).__name__}: {error}") from error
        while self._suspects and self._suspects[0][0] <= now:
            _, name, said = self._suspects.popleft()
            if said is None:
                self.lose_workers(set(self._dead_workers), now)
            else:
                self._lose(name, said.run_id, said.attempt, said.worker_id, now)
        # Bounded too: after an hour's standstill all markers of the hour before it are old at once.
        # A partition that was just opened may find duplicates before it that came while nobody read them.
        if self._opened is None:
            self._opened = now
        old = now if not self._restored or now >= self._opened + MARKER_RETENTION else _LONG_AGO
        while self._forgettable and self._forgettable[0][0] <= old and fired < maximum:
            fired += 1
            due, name = self._forgettable.popleft()
            if name in self._markers and self._markers[name][0] == due:  # else it ended again meanwhile
                del self._markers[name]
                self._change(name, _MARKER, None)
        self._arrivals.expire(now, max(0, maximum - fired))

    def next_due(self) -> datetime | None:
        """The earliest timer; a stale one costs one look."""
        if self._to_review:
            return _LONG_AGO
        due = self._timers[0][0] if self._timers else None
        if self._suspects and (due is None or self._suspects[0][0] < due):
            due = self._suspects[0][0]
        if self._forgettable:
            forget = self._forgettable[0][0]
            if self._restored and self._opened is not None:
                forget = max(forget, self._opened + MARKER_RETENTION)
            if due is None or forget < due:
                due = forget
        forget_arrival = self._arrivals.next_due()
        if forget_arrival is not None and (due is None or forget_arrival < due):
            due = forget_arrival
        return due

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """The messages since the last call, and the pieces of the executions that were touched."""
        changes = self._changes
        for name, execution in self._touched.items():
            for piece, value in execution.take_pieces():
                changes.append(StateChange(partition=self._number, key=f"{name}|{piece}", value=value))
        messages, self._messages, self._changes = self._messages, [], []
        self._touched.clear()
        return messages, changes

    def skip_timers(self, timers: AbstractSet[str]) -> None:
        """See `Partition.skip_timers`."""
        self._skipped = frozenset(timers)

    @property
    def last_timer(self) -> str | None:
        """See `Partition.last_timer`."""
        return self._last_timer

    def lose_workers(self, worker_ids: AbstractSet[str], now: datetime) -> None:
        """Take every attempt from workers that are dead, and hand it out again; also those that they reported to
        run, and of which nothing was read yet.
        """
        self._dead_workers |= worker_ids
        marks = [f'"worker_id":{ENCODER.encode(worker_id).decode()}'.encode() for worker_id in worker_ids]
        for name, pieces in list(self._pieces.items()):
            # An execution is decoded only when one of them ran something of it.
            values = (self._state[f"{name}|{piece}"] for piece in pieces if piece.startswith("r:"))
            if any(mark in value for value in values for mark in marks):
                self._find(name)
        for name, execution in list(self._executions.items()):
            lost = [
                run for run in execution.runs.values() if run.worker_id in worker_ids and run.run_id != ROOT
            ]
            for run in lost:
                assert run.worker_id is not None
                self._lose(name, run.run_id, run.attempt, run.worker_id, now)

    def leave_to_workers(self, worker_ids: AbstractSet[str], now: datetime) -> None:
        """Leave every attempt with workers that are dead, as the strategy NEVER wants it: a kill still ends it."""
        self._unreplaced |= worker_ids
        for name, pieces in list(self._pieces.items()):
            # An execution is decoded only when something of it is being killed.
            if any(b'"KILLING"' in self._state[f"{name}|{piece}"] for piece in pieces if piece[:2] == "r:"):
                self._find(name)
        for name in list(self._executions):
            self._end_killed(name, now)

    def _end_killed(self, name: str, now: datetime) -> None:
        """End what waits for a dead worker to report that it was killed."""
        execution = self._executions.get(name)
        for run in list(execution.runs.values()) if execution is not None else ():
            if run.state is State.KILLING and run.worker_id is not None and run.worker_id in self._unreplaced:
                self._lose(name, run.run_id, run.attempt, run.worker_id, now)

    def _lose(self, name: str, run_id: str, attempt: int, worker_id: str, now: datetime) -> None:
        timer = f"{name}|lost:{run_id}"
        if timer in self._skipped:
            return
        command = LoseWorker(at=now, run_id=run_id, attempt=attempt, worker_id=worker_id)
        try:
            self._decide(execution_key(name), name, command, now, certain=True)
        except BadRecord as error:
            # Nothing was changed.  One execution whose flow is gone must not keep the others from their attempts.
            logger.warning("a run cannot be handed out again", execution=name, run=run_id, reason=str(error))
        except Exception as error:
            raise TimerFailed(timer, f"{type(error).__name__}: {error}") from error

    # Deciding.

    def _decide(
        self,
        key: ExecutionKey,
        name: str,
        command: ExecutionCommand,
        now: datetime,
        *,
        certain: bool,
        place: str | None = None,
    ) -> None:
        execution = self._find(name)
        if self._switches is not None and self._switches.are_on:
            allowed = self._switched(key, name, execution, command, now)
            if allowed is None:
                return
            command = allowed
        if isinstance(command, RestoreExecution | AmendExecution | RestartExecution):
            if execution is None:
                self._revive(key, name, command, now, certain=certain, place=place)
            return  # one that runs is none that is over
        if execution is None:
            if isinstance(command, ReportRunStarted | ReportDirectoryOpened):
                # Nobody would use what this worker is about to do.
                self._send(key, stop(command, tenant=key.tenant, execution_id=key.execution_id, at=now))
            if isinstance(command, ConfirmSlot):
                # It is gone, however that happened: nobody else would give its slot back.
                release = ReleaseSlot(execution_id=key.execution_id, at=now)
                self._send(key, ToFlow(command.namespace, command.flow_id, release))
            if not isinstance(command, CreateExecution) or name in self._markers:
                return  # it is over, and whoever asks comes too late
            plan = self._plans(key.tenant, command.namespace, command.flow_id, command.flow_revision)
            if plan is None:
                if not certain:
                    raise NotYet(f"flow {command.namespace}.{command.flow_id} is not known")
                self._refuse(key, name, command, now, place)
                return
        else:
            head = execution.head
            plan = self._plans(key.tenant, head.namespace, head.flow_id, head.flow_revision)
            if plan is None:
                if not certain:
                    raise NotYet(f"flow {head.namespace}.{head.flow_id} is not known")
                raise BadRecord(
                    f"revision {head.flow_revision} of flow {head.namespace}.{head.flow_id} is gone"
                )
            if isinstance(command, FireTimer) and command.timer_id == FLOW_RETRY:
                execution = self._whole(name, execution)
        turn = self._decided(key, execution, plan, command, now, certain=certain, place=place)
        self._take(turn, name, now)
        if isinstance(command, KillExecution) and self._unreplaced:
            self._end_killed(name, now)
        if isinstance(command, ReportRunStarted) and command.worker_id in self._dead_workers:
            # It died before this was read, so nobody would look at the task run again.
            self._suspects.append((now + _SUSPICION, name, command))

    def _take(self, turn: Turn, name: str, now: datetime) -> None:
        if turn.exists:
            execution = turn.execution
            self._executions[name] = execution
            self._touched[name] = execution
            for event in turn.events:
                self._messages.append(
                    Message(topic="execution_events", key=name, value=ENCODER.encode(event))
                )
                if self._observer is not None:
                    self._observer.event(execution, turn.plan, event)
            for timer_id, due in execution.take_new_timers():
                heapq.heappush(self._timers, (due, name, timer_id))
            if execution.is_closed:
                del self._executions[name]
                self._mark(name, now, execution.progress.next_event)
            if self._listeners is not None and turn.reached:
                turn.outgoing.extend(notes_of(turn, self._listeners))
        for outgoing in turn.outgoing:
            self._messages.append(message_of(turn.tenant, turn.execution_id, outgoing, self._job_partitions))

    def _mark(self, name: str, now: datetime, next_event: int) -> None:
        due = now + MARKER_RETENTION
        self._markers[name] = due, next_event
        self._forgettable.append((due, name))
        self._change(name, _MARKER, ENCODER.encode((due, next_event)))

    def _change(self, name: str, piece: str, value: bytes | None) -> None:
        self._changes.append(StateChange(partition=self._number, key=f"{name}|{piece}", value=value))

    # Kill switches and maintenance.

    def _switched(
        self,
        key: ExecutionKey,
        name: str,
        execution: Execution | None,
        command: ExecutionCommand,
        now: datetime,
    ) -> ExecutionCommand | None:
        """What is left of a command: itself, nothing (IGNORE), or a creation that is stopped or held."""
        assert self._switches is not None
        if execution is not None:
            verdict = self._verdict(name, execution, now)
            if verdict is None:
                return command
            if verdict.state is None:
                return None
            if execution.progress.killing is None and not execution.is_over:
                self._to_review.append(name)
            return command
        if not isinstance(command, CreateExecution) or name in self._markers:
            return command
        return of_creation(self._switches, key, command, now)

    def _verdict(self, name: str, execution: Execution, now: datetime) -> Verdict | None:
        assert self._switches is not None
        head = execution.head
        return self._switches.verdict(head.tenant, head.namespace, head.flow_id, head.execution_id, now)

    def _waits(self, name: str, execution: Execution, timer_id: str, now: datetime) -> bool:
        """Whether a timer must wait: of an execution that is ignored, or the beginning of one in maintenance."""
        if self._switches is None or not self._switches.are_on:
            return False
        if self._switches.maintenance and timer_id.partition(":")[0] in ("schedule", "hold"):
            return True
        verdict = self._verdict(name, execution, now)
        return verdict is not None and verdict.state is None

    def _review(self, name: str, now: datetime) -> None:
        """Stop an execution that a kill switch names, or begin one that waited for the end of the maintenance."""
        execution = self._find(name)
        if execution is None or self._switches is None:
            return
        verdict = self._verdict(name, execution, now) if self._switches.are_on else None
        if verdict is not None and verdict.state is not None:
            if execution.progress.killing is None and not execution.is_over:
                self._try_to_decide(name, stopping(verdict, verdict.state, now), now)
        elif verdict is None and "hold:" in execution.timers and not self._switches.maintenance:
            self._try_to_decide(name, FireTimer(at=now, timer_id="hold:"), now)

    def _try_to_decide(self, name: str, command: ExecutionCommand, now: datetime) -> None:
        try:
            self._decide(execution_key(name), name, command, now, certain=True)
        except BadRecord as error:
            logger.warning("an execution cannot be reviewed", execution=name, reason=str(error))

    # Those that are over.

    def _revive(
        self,
        key: ExecutionKey,
        name: str,
        command: RestoreExecution | AmendExecution | RestartExecution,
        now: datetime,
        *,
        certain: bool,
        place: str | None,
    ) -> None:
        """Decide what is asked of an execution that is over; nothing when its numbers were taken meanwhile."""
        marker = self._markers.get(name)
        last = marker[1] if marker is not None else None
        if last is not None and command.next_event not in (None, last):
            return
        if isinstance(command, RestoreExecution):
            self._arrivals.take(name, command, now)
        elif isinstance(command, AmendExecution):
            self._arrivals.forget(name)
            self._amend(key, name, command, now, place)
        else:
            self._restart(key, name, command, now, certain=certain, place=place)

    def _decided(
        self,
        key: ExecutionKey,
        execution: Execution | None,
        plan: Plan,
        command: ExecutionCommand,
        now: datetime,
        *,
        certain: bool,
        place: str | None,
    ) -> Turn:
        return decide(
            execution,
            plan,
            command,
            tenant=key.tenant,
            execution_id=key.execution_id,
            now=now,
            flows=self._lookup(key.tenant, plan.namespace, certain=certain),
            record=place,
            has_workers=self._has_workers,
            may_use=partial(self._may_use, key.tenant),
        )

    def _restart(
        self,
        key: ExecutionKey,
        name: str,
        command: RestartExecution,
        now: datetime,
        *,
        certain: bool,
        place: str | None,
    ) -> None:
        execution = self._arrivals.get(name, command)
        if execution is None:
            # Its state did not come, or was forgotten meanwhile.
            self._not_restarted(key, name, command, now)
            return
        head = execution.head
        revision = command.flow_revision or head.flow_revision
        plan = self._plans(key.tenant, head.namespace, head.flow_id, revision)
        if plan is None:
            if not certain:
                raise NotYet(f"flow {head.namespace}.{head.flow_id} is not known")
            reason = f"revision {revision} of flow {head.namespace}.{head.flow_id} is gone"
            if command.parent_id is None:
                raise BadRecord(reason)
            logger.warning("a child execution cannot be restarted", execution=name, reason=reason)
            self._not_restarted(key, name, command, now)
            return
        turn = self._decided(key, execution, plan, command, now, certain=certain, place=place)
        if turn.events:
            self._arrivals.revived(name)
            self._take(turn, name, now)
            return
        self._arrivals.forget(name)
        for outgoing in turn.outgoing:
            self._send(key, outgoing)

    def _not_restarted(self, key: ExecutionKey, name: str, command: RestartExecution, now: datetime) -> None:
        """Forget what came of it, and tell the parent that waits for it, which nobody else would."""
        self._arrivals.forget(name)
        if command.run_id is not None and command.parent_id is not None:
            report = ReportChildEnded(
                at=now, run_id=command.run_id, child_id=key.execution_id, state=State.FAILED
            )
            self._send(key, ToExecution(command.parent_id, report))

    def _amend(
        self, key: ExecutionKey, name: str, command: AmendExecution, now: datetime, place: str | None
    ) -> None:
        events = events_of_amendment(key, command, now, place)
        for event in events:
            self._messages.append(Message(topic="execution_events", key=name, value=ENCODER.encode(event)))
        self._mark(name, now, command.next_event + len(events))

    def _whole(self, name: str, execution: Execution) -> Execution:
        """An execution read back from all its pieces, with what is over and left memory."""
        for piece, value in execution.take_pieces():
            self._change(name, piece, value)
        latest = {change.key: change.value for change in self._changes}
        pieces: dict[str, bytes] = {}
        for piece in execution.written:
            name_of_piece = f"{name}|{piece}"
            value = latest[name_of_piece] if name_of_piece in latest else self._state.get(name_of_piece)
            if value is not None:
                pieces[piece] = value
        whole = self._executions[name] = restore(pieces, past=True)
        return whole

    def _find(self, name: str) -> Execution | None:
        execution = self._executions.get(name)
        if execution is None and name in self._pieces:
            pieces = {piece: self._state.get(f"{name}|{piece}", b"") for piece in self._pieces.pop(name)}
            try:
                reopening = b'"reopening":true' in pieces.get("p", b"")
                execution = self._executions[name] = restore(pieces, past=reopening)
            except (*UNREADABLE, LookupError, TypeError) as error:
                pass_over(STATE, name, error)
        return execution

    def _lookup(self, tenant: str, reader: str, *, certain: bool) -> FlowLookup:
        def look_up(namespace: str, flow_id: str, revision: int | None) -> Plan | None:
            self._check_access(tenant, reader, namespace)
            plan = self._plans(tenant, namespace, flow_id, revision)
            if plan is None and not certain:
                raise NotYet(f"flow {namespace}.{flow_id} is not known")
            return plan

        return look_up

    def _refuse(
        self, key: ExecutionKey, name: str, command: CreateExecution, now: datetime, place: str | None
    ) -> None:
        """The flow does not exist: the execution is visible as FAILED, and its parent is told."""
        created, ended = events_of_refusal(key, command, now, place)
        for event in (created, ended):
            self._messages.append(Message(topic="execution_events", key=name, value=ENCODER.encode(event)))
        if self._listeners is not None:
            for note in note_of_refusal(created, ended, self._listeners):
                self._send(key, note)
        if command.parent is not None and command.parent.wait:
            report = ReportChildEnded(
                at=now,
                run_id=command.parent.run_id,
                child_id=key.execution_id,
                state=State.FAILED,
                error=ended.error,
            )
            self._send(key, ToExecution(command.parent.execution_id, report))
        if command.release_trigger and command.trigger is not None:
            release = ReleaseTrigger(at=now, execution_id=key.execution_id, state=State.FAILED)
            self._send(key, ToTrigger(command.namespace, command.flow_id, command.trigger.id, release))
        self._mark(name, now, ended.number + 1)

    def _send(self, key: ExecutionKey, outgoing: object) -> None:
        self._messages.append(message_of(key.tenant, key.execution_id, outgoing, self._job_partitions))


def executions_runtime(
    log: Log,
    *,
    instance: str,
    plans: Plans,
    clock: Clock,
    catch_up: Callable[[], Awaitable[None]] | None = None,
    observer: Observer | None = None,
    tracing: Tracing | None = None,
    hooks: Hooks | None = None,
    maximum: int = 200,
    listeners: Listeners | None = None,
    has_workers: Callable[[str], bool] = lambda group: True,
    switches: Switches | None = None,
    may_use: Callable[[str, str], bool] = lambda tenant, group: True,
    check_access: CheckAccess = lambda tenant, reader, owner: None,
) -> Runtime:
    """The processor, ready to run.  `catch_up` is awaited when a command names a flow that is not known yet."""
    dead_workers: set[str] = set()
    unreplaced_workers: set[str] = set()

    def open_partition(number: int, state: Mapping[str, bytes]) -> Partition:
        return ExecutionsPartition(
            number,
            state,
            plans,
            observer,
            tracing,
            job_partitions=log.partitions("worker_jobs"),
            dead_workers=dead_workers,
            unreplaced_workers=unreplaced_workers,
            listeners=listeners,
            has_workers=has_workers,
            switches=switches,
            may_use=may_use,
            check_access=check_access,
        )

    return Runtime(
        log,
        group=GROUP,
        topic="execution_commands",
        state_topic=STATE,
        instance=instance,
        open_partition=open_partition,
        clock=clock,
        catch_up=catch_up,
        maximum=maximum,
        hooks=hooks,
        before_commit=JobTopics(log).prepare,
    )
