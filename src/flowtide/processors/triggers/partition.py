"""The triggers of one partition: commands and time in, executions, jobs and the triggers as they are out.

In come definitions from saved flows, the ends of executions, what people ask and what workers report; out go commands
to create executions, jobs and controls for workers, log lines, and each trigger as it is after each change.  State: of
each trigger its definition, a small piece with its next date, its lock, its backfill and its job, and of realtime
triggers the events that were received last.  A firing and the moved date are committed together, so no date fires
twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from flowtide.log.keys import TriggerKey, trigger_key
from flowtide.log.port import Message, Record, StateChange
from flowtide.model.inputs import Render
from flowtide.model.plugin import Registry
from flowtide.model.records import UNREADABLE, encode
from flowtide.model.resources import Resource, ResourceReply
from flowtide.model.trigger_records import (
    TRIGGER_COMMAND_DECODER,
    BackfillState,
    DefineTrigger,
    HandBackTrigger,
    ReleaseTrigger,
    RemoveTrigger,
    ReportListeningEnded,
    ReportTriggerEvaluated,
    ReportTriggerEvent,
    ReportTriggerStarted,
    TriggerReport,
    TriggerState,
    TriggerVerb,
)
from flowtide.processors.resources import REPLIES, REPLY_TO
from flowtide.processors.runtime import BadRecord, Partition, pass_over
from flowtide.processors.schedule import Recover
from flowtide.processors.triggers import dates, jobs
from flowtide.processors.triggers.pieces import (
    DEFINITION,
    DEFINITION_DECODER,
    EVENT,
    EVENT_DECODER,
    MOVING_DECODER,
    Definition,
    Moving,
    RecentEvents,
)
from flowtide.processors.triggers.plans import (
    DatedPlan,
    Plan,
    PollingPlan,
    RealtimePlan,
    read_plan,
    reason_of,
    timing,
    type_of,
)
from flowtide.processors.triggers.turn import TriggerTurn
from flowtide.processors.triggers.verbs import obey, release

GROUP = "triggers"
COMMANDS = "trigger_commands"
STATE = "trigger_state"
EVENTS = "trigger_events"
DEFAULT_MESSAGE_LIMIT_BYTES = 900_000  # below what every broker takes; an execution's inputs are small

_Result = TypeVar("_Result")


class Evaluations(Protocol):
    """Is told of each date that is evaluated; the calls are cheap and never raise."""

    def begins(self, key: TriggerKey) -> None:
        """A date of this trigger is due, or a worker reported of it."""

    def ends(self, key: TriggerKey, *, fired: bool) -> None:
        """It was evaluated; `fired`: an execution is started for it."""

    def evaluating(self, partition: int, count: int) -> None:
        """So many triggers of a partition are at workers now."""


DefaultGroup = Callable[[str, str], str | None]
"""Gives the worker group of a tenant's namespace; None: there is none."""


class TriggersPartition(Partition):
    """The triggers of one partition.

    `registry` knows the classes of triggers and conditions; `render` renders templates of conditions, and
    `render_inputs` those of inputs, which are recorded (None: `render` does); `recover` is what happens to
    missed dates of schedules that do not say so themselves.  A creation of more than `message_limit_bytes` is
    refused here, as a timer cannot be put aside like a record.  `job_partitions` is how many the topic of jobs has
    (None: the log chooses), `reply_partitions` how many that of replies has (None: nobody is answered).
    `dead_workers` is shared by all partitions of a server, and added to.  `default_group` gives the worker group of a
    tenant's namespace (WG-04b).
    """

    def __init__(
        self,
        number: int,
        state: Mapping[str, bytes],
        *,
        registry: Registry,
        render: Render,
        recover: Recover = Recover.ALL,
        message_limit_bytes: int = DEFAULT_MESSAGE_LIMIT_BYTES,
        evaluations: Evaluations | None = None,
        render_inputs: Render | None = None,
        job_partitions: int | None = None,
        reply_partitions: int | None = None,
        dead_workers: set[str] | None = None,
        default_group: DefaultGroup = lambda tenant, namespace: None,
    ) -> None:
        self._default_group = default_group
        self._render_inputs = render_inputs or render
        self._number = number
        self._evaluations = evaluations
        self._message_limit_bytes = message_limit_bytes
        self._registry = registry
        self._render = render
        self._recover = recover
        self._job_partitions = job_partitions
        self._reply_partitions = reply_partitions
        self._dead_workers = dead_workers if dead_workers is not None else set()
        self._definitions: dict[str, Definition] = {}
        self._moving: dict[str, Moving] = {}
        self._recent: dict[str, RecentEvents] = {}
        self._plans: dict[str, Plan] = {}
        self._at_workers: set[str] = set()
        self._timers: list[tuple[datetime, str]] = []
        self._watching_since: datetime | None = None
        self._messages: list[Message] = []
        self._told: dict[str, TriggerState] = {}
        self._changed: dict[str, bytes | None] = {}
        for key, value in state.items():
            self._restore(key, value)
        for key in self._moving:
            self._note(key)

    def _restore(self, key: str, value: bytes) -> None:
        name, mark, rest = key.partition("#")
        try:
            trigger_key(name)
            if not mark:
                self._moving[name] = MOVING_DECODER.decode(value)
            elif key.endswith(DEFINITION):
                self._definitions[name] = DEFINITION_DECODER.decode(value)
            elif f"#{rest}".startswith(EVENT):
                self._recent.setdefault(name, RecentEvents()).restore(EVENT_DECODER.decode(value))
        except UNREADABLE as error:
            pass_over(STATE, key, error)

    # Partition.

    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        """Carry out one command.  Raises BadRecord for what is none."""
        try:
            key = trigger_key(record.key)
            command = TRIGGER_COMMAND_DECODER.decode(record.value or b"")
        except UNREADABLE as error:
            raise BadRecord(f"not a command to a trigger: {error}") from error
        self._watch(now)
        match command:
            case DefineTrigger():
                self._define(key, record.key, command, now)
            case RemoveTrigger():
                self._remove(key, record.key, command, now)
            case ReleaseTrigger():
                self._release(key, record.key, command, now)
            case (
                ReportTriggerStarted()
                | ReportTriggerEvaluated()
                | ReportTriggerEvent()
                | ReportListeningEnded()
                | HandBackTrigger()
            ):
                self._take_report(key, record.key, command, now)
            case _:
                self._obey(key, record, command, now)

    def fire(self, now: datetime, maximum: int) -> None:
        """Start an execution, or an evaluation, for each date that is due, at most `maximum` of them."""
        self._watch(now)
        for _ in range(maximum):
            key = self._next_key()
            if key is None or self._timers[0][0] > now:
                return
            heapq.heappop(self._timers)
            self._fire(trigger_key(key), key, now)

    def next_due(self) -> datetime | None:
        """See `Partition.next_due`."""
        return None if self._next_key() is None else self._timers[0][0]

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """See `Partition.flush`."""
        messages, self._messages = self._messages, []
        for key, told in sorted(self._told.items()):
            messages.append(Message(topic=EVENTS, key=key, value=encode(told)))
        changes = [
            StateChange(partition=self._number, key=key, value=value)
            for key, value in sorted(self._changed.items())
        ]
        self._told, self._changed = {}, {}
        return messages, changes

    def refused(self, record: Record, reason: str) -> Sequence[Message]:
        """Answer whoever waits for a command that was put aside."""
        try:
            command = TRIGGER_COMMAND_DECODER.decode(record.value or b"")
        except UNREADABLE:
            return ()
        conflict = f"it could not be done; the record is among the dead letters ({reason[:300]})"
        answer = self._answer(record, getattr(command, "request_id", None), None, conflict)
        return () if answer is None else (answer,)

    # What servers ask.

    def lose_workers(self, worker_ids: AbstractSet[str], now: datetime) -> None:
        """Take every job from workers that are dead, and hand it out again."""
        self._dead_workers |= worker_ids
        for text in sorted(self._at_workers):
            job = self._moving[text].job
            if job is not None and job.worker_id in worker_ids:
                self._hand_out_again(trigger_key(text), text, now)

    def show_evaluating(self) -> None:
        """Say how many triggers are at workers."""
        if self._evaluations is not None:
            self._evaluations.evaluating(self._number, len(self._at_workers))

    def scheduled(self) -> list[tuple[TriggerKey, datetime]]:
        """The triggers that wait for their next date, with it; for diagnostics."""
        return [(trigger_key(key), due) for key in self._moving if (due := self._timer(key)) is not None]

    # Definitions.

    def _define(self, key: TriggerKey, text: str, command: DefineTrigger, now: datetime) -> None:
        before = self._definitions.get(text)
        if before is not None and command.flow_revision < before.flow_revision:
            return  # came late: a newer revision is known
        definition = Definition(
            flow_revision=command.flow_revision,
            type=type_of(command.trigger),
            trigger=command.trigger,
            disabled=command.disabled,
            variables=command.variables,
        )
        old_plan = None if before is None else self._plan(key, text)
        self._definitions[text] = definition
        self._changed[text + DEFINITION] = encode(definition)
        self._plans.pop(text, None)
        turn = self._turn(key, text, now)
        is_same_work = before is not None and (before.trigger, before.variables) == (
            definition.trigger,
            definition.variables,
        )
        if isinstance(old_plan, RealtimePlan) and not (is_same_work and turn.enabled):
            turn.stop_job()
        if before is not None and before.type != definition.type:
            turn.stop_job()
            turn.change(backfill=None)
        if before is None or before.disabled or timing(before.trigger) != timing(definition.trigger):
            # New, enabled again, or with other dates: what lies behind us is not made up for (TRG-13).
            turn.change(due=None)
            if isinstance(turn.plan, DatedPlan):
                dates.adapt_backfill(turn, turn.plan)
        self._arm(turn)
        self._put(turn, text)

    def _remove(self, key: TriggerKey, text: str, command: RemoveTrigger, now: datetime) -> None:
        definition = self._definitions.get(text)
        if definition is None or command.flow_revision < definition.flow_revision:
            return
        turn = self._turn(key, text, now)
        turn.stop_job()
        self._messages += turn.messages
        del self._definitions[text]
        self._moving.pop(text, None)
        self._plans.pop(text, None)
        self._forget_worker(text)
        self._changed[text] = None
        self._changed[text + DEFINITION] = None
        recent = self._recent.pop(text, None)
        for slot in () if recent is None else recent.slots:
            self._changed[f"{text}{EVENT}{slot}"] = None
        self._told[text] = TriggerState(
            tenant_id=key.tenant,
            namespace=key.namespace,
            flow_id=key.flow_id,
            trigger_id=key.trigger_id,
            flow_revision=command.flow_revision,
            type=definition.type,
            updated=now,
            removed=True,
        )

    # Ends of executions.

    def _release(self, key: TriggerKey, text: str, command: ReleaseTrigger, now: datetime) -> None:
        if text not in self._definitions:
            return
        turn = self._turn(key, text, now)
        stops = not isinstance(turn.plan, str) and command.state in turn.plan.trigger.stop_after
        waited = turn.moving.execution_id == command.execution_id
        if not stops and not waited:
            return
        if stops:
            turn.change(switched_off=True, due=None)
            if isinstance(turn.plan, RealtimePlan):
                turn.stop_job()
        if waited:
            release(turn)
        self._put(turn, text)

    # People.

    def _obey(self, key: TriggerKey, record: Record, command: TriggerVerb, now: datetime) -> None:
        text = record.key
        if text not in self._definitions:
            answer = self._answer(record, command.request_id, None, "there is no such trigger")
        else:
            turn = self._turn(key, text, now)
            conflict = obey(turn, command)
            if conflict is None:
                self._arm(turn)
                self._put(turn, text)
            told = self._state_of(turn)
            answer = self._answer(record, command.request_id, told, conflict)
        if answer is not None:
            self._messages.append(answer)

    def _answer(
        self, record: Record, request_id: str | None, told: TriggerState | None, conflict: str | None
    ) -> Message | None:
        to = (record.headers or {}).get(REPLY_TO)
        if request_id is None or to is None or self._reply_partitions is None:
            return None
        if not (to.isascii() and to.isdigit() and int(to) < self._reply_partitions):
            return None
        resource = None
        if told is not None:
            body = msgspec.Raw(encode(told))
            resource = Resource(revision=told.flow_revision, updated=told.updated, body=body)
        reply = ResourceReply(request_id=request_id, key=record.key, resource=resource, conflict=conflict)
        return Message(topic=REPLIES, key=record.key, value=encode(reply), partition=int(to))

    # Workers.

    def _take_report(self, key: TriggerKey, text: str, report: TriggerReport, now: datetime) -> None:
        if text not in self._definitions:
            if isinstance(report, ReportTriggerStarted):
                self._stop_unknown(key, report, now)
            return
        turn = self._turn(key, text, now)
        job = turn.moving.job
        awaited = job is not None and job.id == report.job_id
        match report, turn.plan:
            case ReportTriggerStarted(), _:
                if not awaited:
                    self._stop_unknown(key, report, now)
                    return
                assert job is not None
                turn.change(job=msgspec.structs.replace(job, worker_id=report.worker_id))
            case ReportTriggerEvaluated() as evaluated, PollingPlan() as polling if awaited:
                self._counted(key, turn, lambda: jobs.take_evaluation(turn, polling, evaluated))
            case ReportTriggerEvent() as event, RealtimePlan() as realtime:
                # Also of a listening that was stopped meanwhile: its source takes the event for received.
                recent = self._recent.setdefault(text, RecentEvents())
                slot = self._counted(key, turn, lambda: jobs.take_event(turn, realtime, event, recent))
                if slot is None:
                    return
                self._changed[f"{text}{EVENT}{slot[0]}"] = slot[1]
            case ReportListeningEnded() as end, RealtimePlan() as listened if awaited:
                jobs.take_end(turn, listened, end)
            case HandBackTrigger(), PollingPlan() | RealtimePlan() if awaited:
                assert job is not None
                if job.worker_id not in (None, report.worker_id):
                    return
                self._hand_out_again(key, text, now)
                return
            case _:
                return
        self._put(turn, text)
        if isinstance(report, ReportTriggerStarted) and report.worker_id in self._dead_workers:
            # It died before this was read, so nobody would look at the job again.
            self._hand_out_again(key, text, now)

    def _stop_unknown(self, key: TriggerKey, report: ReportTriggerStarted, now: datetime) -> None:
        """A worker began what nobody waits for any more."""
        moving = Moving(updated=now)
        definition = Definition(flow_revision=0, type="", trigger=msgspec.Raw(b"{}"), disabled=True)
        turn = self._turn_of(key, definition, moving, "", now)
        turn.stop_job(report.job_id)
        self._messages += turn.messages

    def _hand_out_again(self, key: TriggerKey, text: str, now: datetime) -> None:
        turn = self._turn(key, text, now)
        if isinstance(turn.plan, PollingPlan | RealtimePlan):
            jobs.hand_out_again(turn, turn.plan)
            self._put(turn, text)

    # Time.

    def _fire(self, key: TriggerKey, text: str, now: datetime) -> None:
        turn = self._turn(key, text, now)
        plan = turn.plan
        if isinstance(plan, str):
            # It could be read when the date was set: its class is not installed on this server.
            turn.change(due=None, error=plan)
        elif isinstance(plan, DatedPlan):
            since = self._watching_since or now
            self._counted(key, turn, lambda: dates.fire(turn, plan, since))
        else:
            jobs.hand_out(turn, plan)
        self._put(turn, text)

    def _counted(self, key: TriggerKey, turn: TriggerTurn, evaluate: Callable[[], _Result]) -> _Result:
        if self._evaluations is None:
            return evaluate()
        self._evaluations.begins(key)
        result = evaluate()
        self._evaluations.ends(key, fired=turn.starts > 0)
        return result

    def _arm(self, turn: TriggerTurn) -> None:
        """Give it its next date, unless it has one, is switched off or cannot be read."""
        if not turn.enabled:
            turn.change(due=None, error=None)
            return
        plan = turn.plan
        if isinstance(plan, str):
            turn.change(due=None, error=plan)
            return
        due = turn.moving.due
        if isinstance(plan, DatedPlan):
            due = due or plan.timetable.due_after(turn.now)
        elif turn.moving.job is None:
            due = due or turn.now
        turn.change(due=due, error=None)

    def _watch(self, now: datetime) -> None:
        if self._watching_since is None:
            self._watching_since = now

    def _timer(self, key: str) -> datetime | None:
        """When to look at a trigger next; None while it waits for something else than time."""
        definition = self._definitions.get(key)
        moving = self._moving.get(key)
        return None if definition is None or definition.disabled or moving is None else moving.timer

    def _next_key(self) -> str | None:
        """The trigger whose timer is due first; drops timers that no longer stand."""
        while self._timers:
            due, key = self._timers[0]
            if self._timer(key) == due:
                return key
            heapq.heappop(self._timers)
        return None

    # State.

    def _turn(self, key: TriggerKey, text: str, now: datetime) -> TriggerTurn:
        moving = self._moving.get(text) or Moving(updated=now)
        return self._turn_of(key, self._definitions[text], moving, self._plan(key, text), now)

    def _turn_of(
        self, key: TriggerKey, definition: Definition, moving: Moving, plan: Plan | str, now: datetime
    ) -> TriggerTurn:
        return TriggerTurn(
            key=key,
            definition=definition,
            moving=moving,
            plan=plan,
            now=now,
            message_limit_bytes=self._message_limit_bytes,
            job_partitions=self._job_partitions,
            default_group=self._default_group(key.tenant, key.namespace),
        )

    def _plan(self, key: TriggerKey, text: str) -> Plan | str:
        """The trigger as it was read, or why it cannot be read."""
        plan = self._plans.get(text)
        if plan is None:
            try:
                plan = read_plan(
                    key,
                    self._definitions[text],
                    registry=self._registry,
                    render=self._render,
                    recover=self._recover,
                    render_inputs=self._render_inputs,
                )
            except Exception as error:
                # The classes of triggers and conditions are other people's too.
                return reason_of(error)
            self._plans[text] = plan
        return plan

    def _put(self, turn: TriggerTurn, text: str) -> None:
        turn.change(updated=turn.now)
        self._moving[text] = turn.moving
        self._changed[text] = encode(turn.moving)
        self._messages += turn.messages
        self._told[text] = self._state_of(turn)
        self._note(text)

    def _note(self, text: str) -> None:
        due = self._timer(text)
        if due is not None:
            heapq.heappush(self._timers, (due, text))
        if self._moving[text].job is None:
            self._forget_worker(text)
        elif text not in self._at_workers:
            self._at_workers.add(text)
            self.show_evaluating()

    def _forget_worker(self, text: str) -> None:
        if text in self._at_workers:
            self._at_workers.remove(text)
            self.show_evaluating()

    def _state_of(self, turn: TriggerTurn) -> TriggerState:
        key, moving, backfill = turn.key, turn.moving, turn.moving.backfill
        replaying = moving.replaying
        return TriggerState(
            tenant_id=key.tenant,
            namespace=key.namespace,
            flow_id=key.flow_id,
            trigger_id=key.trigger_id,
            flow_revision=turn.definition.flow_revision,
            type=turn.definition.type,
            updated=moving.updated,
            disabled=not turn.enabled,
            date=moving.date,
            next_execution_date=moving.due if replaying is None else replaying.current,
            execution_id=moving.execution_id,
            error=moving.error,
            variables=moving.variables,
            backfill=None
            if backfill is None
            else BackfillState(
                start=backfill.start,
                end=backfill.end,
                current_date=backfill.current,
                paused=backfill.paused,
                inputs=backfill.inputs,
                labels=backfill.labels,
                previous_next_execution_date=backfill.previous_due,
            ),
            stop_after=[] if isinstance(turn.plan, str) else list(turn.plan.trigger.stop_after),
            evaluate_running_date=None if moving.job is None else moving.job.at,
            worker_id=None if moving.job is None else moving.job.worker_id,
        )
