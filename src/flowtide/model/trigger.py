"""Triggers: the properties that all have (page 481, TRG-01), and the kinds that workers run, polling and realtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SerializeAsAny
from pydantic_core import PydanticCustomError

from flowtide.model.durations import Duration
from flowtide.model.entries import Level
from flowtide.model.labels import Labels
from flowtide.model.plugin import Condition, Plugin, plugin_of, plugin_schema
from flowtide.model.states import State
from flowtide.model.task import Identifier, RunContext, WorkerGroup


class Trigger(Plugin):
    """What every trigger has; a class of its own adds how it fires."""

    kind: ClassVar[Literal["trigger"]] = "trigger"

    id: Annotated[Identifier, Field(title="The name of the trigger, unique within the flow")]
    description: Annotated[str | None, Field(title="What it does, in Markdown")] = None
    disabled: Annotated[bool, Field(title="Whether it does nothing")] = False
    allow_concurrent: Annotated[
        bool, Field(title="Whether it fires also while an execution that it started is running")
    ] = False  # fires also while an execution that it started is running (TRG-03)
    worker_group: Annotated[WorkerGroup | None, Field(title="Which workers may evaluate it")] = None
    conditions: Annotated[
        Sequence[Condition], Field(title="What must hold when it fires")
    ] = ()  # all must hold (TRG-06)
    labels: Annotated[
        Labels, Field(title="Labels of the executions")
    ] = ()  # of the executions that it starts
    stop_after: Annotated[
        Sequence[State], Field(title="States of an execution after which it disables itself")
    ] = ()  # states after which it disables itself (TRG-07)
    fail_on_trigger_error: Annotated[
        bool, Field(title="Whether an evaluation that fails becomes a failed execution")
    ] = False  # an evaluation that fails becomes a FAILED execution (TRG-08)
    log_level: Annotated[Level | None, Field(title="The least level of lines that are kept")] = None
    log_to_file: Annotated[bool, Field(title="Whether its log is kept as a file")] = False
    version: Annotated[str | None, Field(title="The version of the plugin")] = None


class InputTrigger(Trigger):
    """A trigger that gives its executions inputs; values may be templates."""

    inputs: Annotated[Mapping[str, Any], Field(title="Inputs of the executions; may be templates")] = {}


class WorkerTrigger(InputTrigger):
    """A trigger that a worker evaluates or listens to: what the scheduler does itself needs none of this.

    `mode` says where the plugin's method is called: "async" on the worker's event loop, "thread" for what blocks.
    """

    mode: ClassVar[Literal["async", "thread"]] = "async"
    uses_files: ClassVar[bool] = False  # the working directory is there before, not made on first use


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise PydanticCustomError("interval", "must be longer than nothing")
    return value


class PollingTrigger(WorkerTrigger):
    """Looks at something outside again and again; starts an execution when there is something (page 483, POL-01)."""

    interval: Annotated[
        Duration,
        AfterValidator(_some_time),
        Field(title="Time between the beginnings of two evaluations", description="An ISO-8601 duration."),
    ] = timedelta(minutes=1)

    def evaluate(self, context: RunContext) -> Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None:
        """Look once; gives what `{{ trigger }}` shows, or None when there is nothing to start an execution for.

        `context.execution_id` is the execution that would be started: files that are put belong to it.  It may be
        called again for the same one, when the worker of the first call died.  Whatever it raises is an evaluation
        that failed (TRG-08).
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class TriggerEvent:
    """What a realtime trigger received."""

    variables: Mapping[str, Any] = field(default_factory=dict)  # what `{{ trigger }}` shows
    id: str | None = None  # names it at its source, e.g. partition and offset; two with the same id are one


class RealtimeTrigger(WorkerTrigger):
    """Listens to something outside, and starts an execution for each event (page 484, RTT-01)."""

    def listen(self, context: RunContext) -> AsyncIterator[TriggerEvent | Sequence[TriggerEvent]]:
        """Give the events as they come, one or some that came together, for as long as there may be more.

        When the next ones are asked for, those before are durable: their positions can be committed at the source.
        It is closed (`aclose`, `GeneratorExit`) when it is to stop.  When it ends or raises, it is called again after
        a while, which grows with each time.  `mode` has no meaning here: it must not block.
        """
        raise NotImplementedError


# Written with the fields of its own class.
AnyTrigger = Annotated[SerializeAsAny[Trigger], plugin_of("trigger"), plugin_schema("trigger")]
