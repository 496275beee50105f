"""Definitions of triggers, read: what the processor needs to know of one, by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from pydantic import ValidationError

from flowtide.errors import FlowtideError, ScheduleInvalid
from flowtide.log.keys import TriggerKey
from flowtide.model.condition import Circumstances, all_hold
from flowtide.model.identifiers import derived_identifier
from flowtide.model.inputs import Render
from flowtide.model.plugin import PluginContext, Registry
from flowtide.model.records import UNREADABLE
from flowtide.model.trigger import InputTrigger, PollingTrigger, RealtimeTrigger
from flowtide.model.triggers.dated import DatedTrigger
from flowtide.processors.runtime import BadRecord
from flowtide.processors.schedule import Recover, Timetable, iso
from flowtide.processors.triggers.pieces import Definition

_TIMING = ("cron", "timezone", "withSeconds", "conditions", "scheduleConditions", "dates", "interval")


class DatedPlan:
    """A schedule that was read: its dates, and the values of its firings."""

    def __init__(
        self,
        key: TriggerKey,
        trigger: DatedTrigger,
        definition: Definition,
        render: Render,
        recover: Recover,
        render_inputs: Render,
    ) -> None:
        self.trigger = trigger
        self.recover = Recover(trigger.recover_missed_schedules or recover)
        calendar = trigger.calendar
        conditions = trigger.all_conditions
        self._roots = {
            "flow": {
                "id": key.flow_id,
                "namespace": key.namespace,
                "revision": definition.flow_revision,
                "tenantId": key.tenant,
            },
            "vars": definition.variables,
        }

        def holds(date: datetime) -> bool:
            context = Circumstances(render, {**self._roots, "trigger": {"date": iso(date, calendar.zone)}})
            return all_hold(conditions, context, undecided=ScheduleInvalid)

        self.timetable = Timetable(calendar, holds if conditions else None)
        self._render_inputs = render_inputs

    def inputs(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a firing, rendered.  Raises FlowtideError."""
        if not self.trigger.inputs:
            return {}
        rendered: dict[str, Any] = self._render_inputs(
            dict(self.trigger.inputs), {**self._roots, "trigger": variables}
        )
        return rendered


class PollingPlan:
    """A polling trigger that was read."""

    def __init__(self, trigger: PollingTrigger) -> None:
        self.trigger = trigger


class RealtimePlan:
    """A realtime trigger that was read."""

    def __init__(self, trigger: RealtimeTrigger) -> None:
        self.trigger = trigger


Plan = DatedPlan | PollingPlan | RealtimePlan


def read_plan(
    key: TriggerKey,
    definition: Definition,
    *,
    registry: Registry,
    render: Render,
    recover: Recover,
    render_inputs: Render,
) -> Plan:
    """Build the trigger again.  Raises ScheduleInvalid, PluginUnavailable."""
    trigger = _read(definition, registry)
    if isinstance(trigger, DatedTrigger):
        return DatedPlan(key, trigger, definition, render, recover, render_inputs)
    if isinstance(trigger, PollingTrigger):
        return PollingPlan(trigger)
    assert isinstance(trigger, RealtimeTrigger)
    return RealtimePlan(trigger)


def _read(definition: Definition, registry: Registry) -> InputTrigger:
    found = registry.find("trigger", definition.type)
    if found is None or not issubclass(found, DatedTrigger | PollingTrigger | RealtimeTrigger):
        raise ScheduleInvalid(f"there is no trigger of type {definition.type} on this server")
    try:
        return found.model_validate(
            msgspec.json.decode(definition.trigger), context=PluginContext(registry=registry)
        )
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ScheduleInvalid(f"the trigger cannot be read: {problems}") from error


class _Typed(msgspec.Struct, frozen=True):
    """What is read first of a trigger."""

    type: str


def type_of(trigger: msgspec.Raw) -> str:
    """The type of a trigger as JSON.  Raises BadRecord."""
    try:
        return msgspec.json.decode(trigger, type=_Typed).type
    except UNREADABLE as error:
        raise BadRecord(f"the definition is not that of a trigger: {error}") from error


def timing(trigger: msgspec.Raw) -> dict[str, Any]:
    """What decides about the dates of a trigger."""
    values = msgspec.json.decode(trigger)
    return {name: values.get(name) for name in ("type", *_TIMING)}


def execution_id_of(key: TriggerKey, date: datetime) -> str:
    """The id of the execution of a date: the same on every server, so that no date is run twice."""
    return derived_identifier("schedule", *key, date.astimezone(UTC).isoformat())


def reason_of(error: Exception) -> str:
    """What people are told: the message of an error that was raised on purpose, and the kind of any other."""
    return str(error) if isinstance(error, FlowtideError) else f"{type(error).__name__}: {error}"
