"""The *triggers* processor (key: trigger): schedules (pages 481 and 485, catalogue B §22 and §23).

In come definitions from saved flows, the ends of executions and what people switch; out go commands to
create executions, and the trigger as it is after each change.  State: of each trigger its definition, and a
small piece with its next date and its lock.  A firing and the moved date are committed together, so no date
fires twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
from pydantic import ValidationError

from flowtide.errors import FlowtideError, ScheduleInvalid
from flowtide.log.keys import ExecutionKey, TriggerKey, trigger_key
from flowtide.log.port import Message, Record, StateChange
from flowtide.model.commands import CreateExecution
from flowtide.model.condition import ConditionPlugin
from flowtide.model.cron import Cron
from flowtide.model.entries import Level, LogEntry
from flowtide.model.identifiers import derived_identifier
from flowtide.model.inputs import Render
from flowtide.model.plugin import PluginContext, Registry
from flowtide.model.records import UNREADABLE, Label, TriggerInfo, Value, encode
from flowtide.model.trigger_records import (
    TRIGGER_COMMAND_DECODER,
    DefineTrigger,
    ReleaseTrigger,
    RemoveTrigger,
    SetTriggerDisabled,
    TriggerState,
    UnlockTrigger,
)
from flowtide.model.triggers.schedule import Schedule
from flowtide.processors.runtime import BadRecord, Partition, pass_over
from flowtide.processors.schedule import Recover, Timetable, iso

GROUP = "triggers"
COMMANDS = "trigger_commands"
STATE = "trigger_state"
EVENTS = "trigger_events"

_DEFINITION = "#definition"  # the end of the key of a definition's piece; no id contains `#`
DEFAULT_MESSAGE_LIMIT_BYTES = 900_000  # below what every broker takes; an execution's inputs are small

_TAKE_OVER = timedelta(
    seconds=30
)  # a date is not missed when it passed while a partition moved to another server


class _Definition(Value, frozen=True):
    """The piece that changes when the flow is saved."""

    flow_revision: int
    type: str
    trigger: msgspec.Raw
    disabled: bool


class _Moving(Value, frozen=True):
    """The piece that changes when the trigger fires, is locked, released or switched."""

    updated: datetime
    due: datetime | None = None  # the next date
    date: datetime | None = None  # the last date that fired
    execution_id: str | None = None  # the execution that it waits for
    switched_off: bool = False  # by a person or by `stopAfter`
    error: str | None = None
    variables: dict[str, Any] = msgspec.field(default_factory=dict)


class _Typed(msgspec.Struct, frozen=True):
    """What is read first of a trigger."""

    type: str


_DEFINITION_DECODER = msgspec.json.Decoder(_Definition)
_MOVING_DECODER = msgspec.json.Decoder(_Moving)


class _Conditions:
    """What a schedule's conditions may look at: the date in question, and the flow."""

    def __init__(self, render: Render, variables: Mapping[str, Any]) -> None:
        self._render = render
        self._variables = variables

    @property
    def execution(self) -> None:
        """A schedule has no execution upstream."""
        return None

    def render(self, template: Any) -> Any:
        """Render with the date."""
        return self._render(template, self._variables)


class _Plan:
    """A schedule that was read: its dates, and the values of its firings."""

    def __init__(
        self,
        key: TriggerKey,
        schedule: Schedule,
        render: Render,
        recover: Recover,
        render_inputs: Render,
    ) -> None:
        self.schedule = schedule
        self.recover = Recover(schedule.recover_missed_schedules or recover)
        cron = Cron(schedule.cron, schedule.timezone, seconds=schedule.with_seconds)
        conditions = schedule.all_conditions
        flow = {"id": key.flow_id, "namespace": key.namespace, "tenantId": key.tenant}

        def holds(date: datetime) -> bool:
            variables = {"trigger": {"date": iso(date, cron.zone)}, "flow": flow}
            context = _Conditions(render, variables)
            for condition in conditions:
                assert isinstance(condition, ConditionPlugin)
                try:
                    if not condition.holds(context):
                        return False
                except FlowtideError:
                    raise
                except Exception as error:
                    # Conditions come from plugins too; whatever goes wrong in one concerns this trigger only.
                    raise ScheduleInvalid(f"condition {condition.type} cannot be decided: {error}") from error
            return True

        self.timetable = Timetable(cron, holds if conditions else None)
        self._render_inputs = render_inputs
        self._flow = flow

    def inputs(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a firing, rendered.  Raises FlowtideError."""
        if not self.schedule.inputs:
            return {}
        rendered: dict[str, Any] = self._render_inputs(
            dict(self.schedule.inputs), {"trigger": variables, "flow": self._flow}
        )
        return rendered


class Evaluations(Protocol):
    """Is told of each date that is evaluated; the calls are cheap and never raise."""

    def begins(self, key: TriggerKey) -> None:
        """A date of this trigger is due."""

    def ends(self, key: TriggerKey, *, fired: bool) -> None:
        """It was evaluated; `fired`: an execution is started for it."""


class TriggersPartition(Partition):
    """The triggers of one partition.

    `registry` knows the classes of triggers and conditions; `render` renders templates of conditions, and
    `render_inputs` those of inputs, which are recorded (None: `render` does); `recover` is what happens to
    missed dates of schedules that do not say so themselves.  A creation of more than `message_limit_bytes` is
    refused here, as a timer cannot be put aside like a record.
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
    ) -> None:
        self._render_inputs = render_inputs or render
        self._number = number
        self._evaluations = evaluations
        self._message_limit_bytes = message_limit_bytes
        self._registry = registry
        self._render = render
        self._recover = recover
        self._definitions: dict[str, _Definition] = {}
        self._moving: dict[str, _Moving] = {}
        self._plans: dict[str, _Plan] = {}
        self._timers: list[tuple[datetime, str]] = []
        self._watching_since: datetime | None = None
        self._messages: list[Message] = []
        self._changed: set[str] = set()
        self._defined: set[str] = set()  # those of the changed ones whose definition changed too
        for key, value in state.items():
            try:
                trigger_key(key.removesuffix(_DEFINITION))
                if key.endswith(_DEFINITION):
                    self._definitions[key.removesuffix(_DEFINITION)] = _DEFINITION_DECODER.decode(value)
                else:
                    self._moving[key] = _MOVING_DECODER.decode(value)
            except UNREADABLE as error:
                pass_over(STATE, key, error)
        for key in self._moving:
            self._set_timer(key)

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
            case SetTriggerDisabled():
                self._switch(key, record.key, command.disabled, now)
            case UnlockTrigger():
                moving = self._moving.get(record.key)
                if moving is not None and moving.execution_id is not None:
                    self._unlock(key, record.key, moving, now)

    def fire(self, now: datetime, maximum: int) -> None:
        """Start an execution for each date that is due, at most `maximum` of them."""
        self._watch(now)
        for _ in range(maximum):
            key = self._next_key()
            if key is None or self._timers[0][0] > now:
                return
            heapq.heappop(self._timers)
            self._evaluate(trigger_key(key), key, now)

    def next_due(self) -> datetime | None:
        """See `Partition.next_due`."""
        return None if self._next_key() is None else self._timers[0][0]

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """See `Partition.flush`."""
        messages, self._messages = self._messages, []
        changes: list[StateChange] = []
        for key in sorted(self._changed):
            changes.append(self._change(key, self._moving.get(key)))
            if key in self._defined:
                changes.append(self._change(key + _DEFINITION, self._definitions.get(key)))
        self._changed = set()
        self._defined = set()
        return messages, changes

    def _change(self, key: str, piece: Value | None) -> StateChange:
        return StateChange(partition=self._number, key=key, value=None if piece is None else encode(piece))

    def _define(self, key: TriggerKey, text: str, command: DefineTrigger, now: datetime) -> None:
        before = self._definitions.get(text)
        if before is not None and command.flow_revision < before.flow_revision:
            return  # came late: a newer revision is known
        moving = self._moving.get(text) or _Moving(updated=now)
        definition = _Definition(
            flow_revision=command.flow_revision,
            type=_type_of(command.trigger),
            trigger=command.trigger,
            disabled=command.disabled,
        )
        self._definitions[text] = definition
        self._defined.add(text)
        self._plans.pop(text, None)
        if before is None or before.disabled or _timing(before.trigger) != _timing(definition.trigger):
            # New, enabled again, or with other dates: what lies behind us is not made up for (TRG-13).
            moving = msgspec.structs.replace(moving, due=None)
        self._put(key, text, self._armed(key, text, moving, now), now)

    def _remove(self, key: TriggerKey, text: str, command: RemoveTrigger, now: datetime) -> None:
        definition = self._definitions.get(text)
        if definition is None or command.flow_revision < definition.flow_revision:
            return
        del self._definitions[text]
        self._moving.pop(text, None)
        self._plans.pop(text, None)
        self._changed.add(text)
        self._defined.add(text)
        self._tell(
            TriggerState(
                tenant_id=key.tenant,
                namespace=key.namespace,
                flow_id=key.flow_id,
                trigger_id=key.trigger_id,
                flow_revision=command.flow_revision,
                type=definition.type,
                updated=now,
                removed=True,
            ),
            text,
        )

    def _release(self, key: TriggerKey, text: str, command: ReleaseTrigger, now: datetime) -> None:
        moving = self._moving.get(text)
        if moving is None:
            return
        plan = self._plan(key, text)
        stops = isinstance(plan, _Plan) and command.state in plan.schedule.stop_after
        if stops:
            moving = msgspec.structs.replace(moving, switched_off=True, due=None)
        if moving.execution_id == command.execution_id:
            self._unlock(key, text, moving, now)
        elif stops:
            self._put(key, text, moving, now)

    def _switch(self, key: TriggerKey, text: str, disabled: bool, now: datetime) -> None:
        moving = self._moving.get(text)
        if moving is None or moving.switched_off == disabled:
            return
        moving = msgspec.structs.replace(moving, switched_off=disabled, due=None)
        self._put(key, text, self._armed(key, text, moving, now), now)

    def _unlock(self, key: TriggerKey, text: str, moving: _Moving, now: datetime) -> None:
        """Forget the execution that was waited for; dates that passed meanwhile were missed."""
        due = moving.due
        plan = self._plan(key, text)
        if due is not None and isinstance(plan, _Plan):
            due = plan.timetable.recovered(due, now, plan.recover)
        self._put(key, text, msgspec.structs.replace(moving, execution_id=None, due=due), now)

    def _armed(self, key: TriggerKey, text: str, moving: _Moving, now: datetime) -> _Moving:
        """With its next date after `now`, unless it has one, is switched off or cannot be read."""
        if moving.switched_off or self._definitions[text].disabled:
            return msgspec.structs.replace(moving, due=None, error=None)
        plan = self._plan(key, text)
        if isinstance(plan, str):
            return msgspec.structs.replace(moving, due=None, error=plan)
        due = moving.due or plan.timetable.due_after(now)
        return msgspec.structs.replace(moving, due=due, error=None)

    def _evaluate(self, key: TriggerKey, text: str, now: datetime) -> None:
        if self._evaluations is None:
            self._fire(key, text, now)
            return
        before = len(self._messages)
        self._evaluations.begins(key)
        self._fire(key, text, now)
        fired = any(message.topic == "execution_commands" for message in self._messages[before:])
        self._evaluations.ends(key, fired=fired)

    def _fire(self, key: TriggerKey, text: str, now: datetime) -> None:
        moving = self._moving[text]
        plan = self._plan(key, text)
        if isinstance(plan, str):
            # It could be read when the date was set: its class is not installed on this server.
            self._put(key, text, msgspec.structs.replace(moving, due=None, error=plan), now)
            return
        date = moving.due
        if date is not None and self._watching_since is not None and date < self._watching_since - _TAKE_OVER:
            date = plan.timetable.recovered(date, self._watching_since, plan.recover)
        if date is not None:
            date = plan.timetable.in_time(date, now, plan.schedule.late_maximum_delay)
        if date is None or date > now:
            self._put(key, text, msgspec.structs.replace(moving, due=date), now)
            return
        moving = msgspec.structs.replace(moving, due=plan.timetable.due_after(date), date=date)
        try:
            if not plan.timetable.holds_at(date):
                self._put(key, text, msgspec.structs.replace(moving, date=self._moving[text].date), now)
                return
            variables = plan.timetable.variables(date)
            create = self._creation(key, text, plan, date, variables, now, inputs=plan.inputs(variables))
            value = encode(create)
            if len(value) > self._message_limit_bytes:
                raise ScheduleInvalid(f"the inputs are too large: {len(value):,} bytes")
        except Exception as error:
            # Conditions and templates are other people's; a timer that raises would stop every trigger here.
            self._fail(key, text, plan, date, moving, now, _reason(error))
            return
        self._start(key, text, plan, moving, execution_id_of(key, date), value, variables, None, now)

    def _fail(
        self,
        key: TriggerKey,
        text: str,
        plan: _Plan,
        date: datetime,
        moving: _Moving,
        now: datetime,
        error: str,
    ) -> None:
        """A date that could not be evaluated: a log line, and a FAILED execution where that is
        asked for (TRG-08).
        """
        entry = LogEntry(
            tenant_id=key.tenant,
            namespace=key.namespace,
            flow_id=key.flow_id,
            trigger_id=key.trigger_id,
            timestamp=now,
            level=Level.ERROR,
            message=error,
        )
        self._messages.append(Message(topic="logs", key=text, value=encode(entry)))
        if not plan.schedule.fail_on_trigger_error:
            self._put(key, text, msgspec.structs.replace(moving, error=error), now)
            return
        variables = {"date": iso(date, plan.timetable.zone)}
        value = encode(self._creation(key, text, plan, date, variables, now, error=error))
        self._start(key, text, plan, moving, execution_id_of(key, date), value, variables, error, now)

    def _creation(
        self,
        key: TriggerKey,
        text: str,
        plan: _Plan,
        date: datetime,
        variables: dict[str, Any],
        now: datetime,
        *,
        inputs: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> CreateExecution:
        schedule = plan.schedule
        return CreateExecution(
            at=now,
            by=key.trigger_id,
            namespace=key.namespace,
            flow_id=key.flow_id,
            flow_revision=self._definitions[text].flow_revision,
            inputs=inputs or {},
            labels=[*schedule.labels, Label(key="system.from", value="trigger")],
            trigger=TriggerInfo(id=key.trigger_id, type=schedule.type, variables=variables),
            schedule_date=date,
            release_trigger=not schedule.allow_concurrent or bool(schedule.stop_after),
            error=error,
        )

    def _start(
        self,
        key: TriggerKey,
        text: str,
        plan: _Plan,
        moving: _Moving,
        execution_id: str,
        creation: bytes,
        variables: dict[str, Any],
        error: str | None,
        now: datetime,
    ) -> None:
        """Have the execution created, and wait for its end unless executions may overlap (TRG-03)."""
        execution = ExecutionKey(key.tenant, execution_id)
        self._messages.append(Message(topic="execution_commands", key=str(execution), value=creation))
        lock = None if plan.schedule.allow_concurrent else execution_id
        moving = msgspec.structs.replace(moving, execution_id=lock, variables=variables, error=error)
        self._put(key, text, moving, now)

    def _put(self, key: TriggerKey, text: str, moving: _Moving, now: datetime) -> None:
        moving = self._moving[text] = msgspec.structs.replace(moving, updated=now)
        definition = self._definitions[text]
        self._changed.add(text)
        self._set_timer(text)
        self._tell(
            TriggerState(
                tenant_id=key.tenant,
                namespace=key.namespace,
                flow_id=key.flow_id,
                trigger_id=key.trigger_id,
                flow_revision=definition.flow_revision,
                type=definition.type,
                updated=now,
                disabled=definition.disabled or moving.switched_off,
                date=moving.date,
                next_execution_date=moving.due,
                execution_id=moving.execution_id,
                error=moving.error,
                variables=moving.variables,
            ),
            text,
        )

    def _tell(self, state: TriggerState, text: str) -> None:
        self._messages.append(Message(topic=EVENTS, key=text, value=encode(state)))

    def _plan(self, key: TriggerKey, text: str) -> _Plan | str:
        """The schedule as it was read, or why it cannot be read."""
        plan = self._plans.get(text)
        if plan is None:
            definition = self._definitions[text]
            try:
                schedule = _read(definition, self._registry)
                plan = _Plan(key, schedule, self._render, self._recover, self._render_inputs)
            except Exception as error:
                # The classes of triggers and conditions are other people's too.
                return _reason(error)
            self._plans[text] = plan
        return plan

    def _watch(self, now: datetime) -> None:
        if self._watching_since is None:
            self._watching_since = now

    def _is_waiting(self, key: str, moving: _Moving) -> bool:
        """Whether it waits for its next date, not for an execution or a person."""
        definition = self._definitions.get(key)
        return (
            moving.due is not None
            and moving.execution_id is None
            and not moving.switched_off
            and definition is not None
            and not definition.disabled
        )

    def _set_timer(self, key: str) -> None:
        moving = self._moving[key]
        if moving.due is not None and self._is_waiting(key, moving):
            heapq.heappush(self._timers, (moving.due, key))

    def scheduled(self) -> list[tuple[TriggerKey, datetime]]:
        """The triggers that wait for their next date, with it; for diagnostics."""
        return [
            (trigger_key(key), moving.due)
            for key, moving in self._moving.items()
            if moving.due is not None and self._is_waiting(key, moving)
        ]

    def _next_key(self) -> str | None:
        """The trigger whose timer is due first; drops timers that no longer stand."""
        while self._timers:
            due, key = self._timers[0]
            moving = self._moving.get(key)
            if moving is not None and moving.due == due and self._is_waiting(key, moving):
                return key
            heapq.heappop(self._timers)
        return None


def execution_id_of(key: TriggerKey, date: datetime) -> str:
    """The id of the execution of a date: the same on every server, so that no date is run twice."""
    return derived_identifier("schedule", *key, date.astimezone(UTC).isoformat())


def _reason(error: Exception) -> str:
    """What people are told: the message of an error that was raised on purpose, and the kind of any other."""
    return str(error) if isinstance(error, FlowtideError) else f"{type(error).__name__}: {error}"


def _type_of(trigger: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(trigger, type=_Typed).type
    except UNREADABLE as error:
        raise BadRecord(f"the definition is not that of a trigger: {error}") from error


def _timing(trigger: msgspec.Raw) -> dict[str, Any]:
    """What decides about the dates of a schedule."""
    values = msgspec.json.decode(trigger)
    names = ("cron", "timezone", "withSeconds", "conditions", "scheduleConditions")
    return {name: values.get(name) for name in names}


def _read(definition: _Definition, registry: Registry) -> Schedule:
    """Build the schedule again.  Raises ScheduleInvalid, PluginUnavailable."""
    found = registry.find("trigger", definition.type)
    if found is None or not issubclass(found, Schedule):
        raise ScheduleInvalid(f"there is no schedule of type {definition.type} on this server")
    try:
        return found.model_validate(
            msgspec.json.decode(definition.trigger), context=PluginContext(registry=registry)
        )
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ScheduleInvalid(f"the schedule cannot be read: {problems}") from error
