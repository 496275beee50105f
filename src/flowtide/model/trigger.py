"""Triggers: the properties that all have (page 481, TRG-01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny

from flowtide.model.entries import Level
from flowtide.model.labels import Labels
from flowtide.model.plugin import Condition, Plugin, plugin_of, plugin_schema
from flowtide.model.states import State
from flowtide.model.task import Identifier, WorkerGroup


class Trigger(Plugin):
    """What every trigger has; a class of its own adds how it fires."""

    kind: ClassVar[Literal["trigger"]] = "trigger"

    id: Identifier
    description: str | None = None
    disabled: bool = False
    allow_concurrent: bool = False  # fires also while an execution that it started is running (TRG-03)
    worker_group: WorkerGroup | None = None
    conditions: Sequence[Condition] = ()  # all must hold (TRG-06)
    labels: Labels = ()  # of the executions that it starts
    stop_after: Sequence[State] = ()  # states after which it disables itself (TRG-07)
    fail_on_trigger_error: bool = False  # an evaluation that fails becomes a FAILED execution (TRG-08)
    log_level: Level | None = None
    log_to_file: bool = False
    version: str | None = None


class InputTrigger(Trigger):
    """A trigger that gives its executions inputs; values may be templates."""

    inputs: Mapping[str, Any] = {}


# Written with the fields of its own class.
AnyTrigger = Annotated[SerializeAsAny[Trigger], plugin_of("trigger"), plugin_schema("trigger")]
