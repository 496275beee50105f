"""The flowable tasks of the language: their YAML properties (catalogue B §5 and §6).

What they do is in `flowtide.engine.decide`, in the module that `construct` names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from flowtide.model.durations import DurationTemplate
from flowtide.model.inputs import AnyInput
from flowtide.model.labels import Labels
from flowtide.model.task import AnyTask, FlowableTask, Task


class Sequential(FlowableTask):
    """Runs its tasks one after the other (FLO-10)."""

    construct: ClassVar[str] = "sequential"
    title: ClassVar[str] = "Run tasks one after the other."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Sequential",)

    tasks: Annotated[Sequence[AnyTask], Field(min_length=1)]

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class Parallel(FlowableTask):
    """Runs its tasks at the same time, at most `concurrent` of them; 0 means all (FLO-11)."""

    construct: ClassVar[str] = "parallel"
    title: ClassVar[str] = "Run tasks at the same time."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Parallel",)

    tasks: Annotated[Sequence[AnyTask], Field(min_length=1)]
    concurrent: Annotated[int, Field(ge=0)] = 0

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class If(FlowableTask):
    """Runs `then` when the condition is true, else `else` (FLO-13, FLO-20)."""

    construct: ClassVar[str] = "if_"
    title: ClassVar[str] = "Run tasks on a condition."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.If",)

    condition: str | bool | int | float | None
    then: Annotated[Sequence[AnyTask], Field(min_length=1)]
    else_: Annotated[Sequence[AnyTask], Field(alias="else")] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"then": self.then, "else": self.else_}


class Switch(FlowableTask):
    """Runs the case that the value names, else `defaults` (FLO-12)."""

    construct: ClassVar[str] = "switch"
    title: ClassVar[str] = "Run the tasks of one of several cases."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Switch",)

    value: str | bool | int | float
    cases: Mapping[str, Sequence[AnyTask]] = {}
    defaults: Sequence[AnyTask] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {**{f"case:{name}": tasks for name, tasks in self.cases.items()}, "defaults": self.defaults}


class ForEach(FlowableTask):
    """Runs its tasks for each value, at most `concurrency_limit` iterations at a time; 0 means all (FLO-14)."""

    construct: ClassVar[str] = "for_each"
    title: ClassVar[str] = "Run tasks for each value of a list."

    values: str | Sequence[Any]
    tasks: Annotated[Sequence[AnyTask], Field(min_length=1)]
    concurrency_limit: Annotated[int, Field(ge=0)] = 1

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class Pause(FlowableTask):
    """Waits until it is resumed, or until its duration is over (FLO-24, FLO-26)."""

    construct: ClassVar[str] = "pause"
    title: ClassVar[str] = "Wait for a person or a while."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Pause",)

    pause_duration: Annotated[
        DurationTemplate | None,
        Field(validation_alias=AliasChoices("pauseDuration", "delay", "pause_duration")),
    ] = None
    timeout: DurationTemplate | None = None  # deprecated: the pause fails when it is over
    behavior: Literal["RESUME", "WARN", "FAIL", "CANCEL"] = "RESUME"
    on_resume: Sequence[AnyInput] = ()
    tasks: Sequence[AnyTask] = ()  # deprecated: run after the pause

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class Subflow(FlowableTask):
    """Starts an execution of another flow, and waits for it (catalogue B §6)."""

    construct: ClassVar[str] = "subflow"
    title: ClassVar[str] = "Run another flow."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Subflow",)

    namespace: str
    flow_id: str
    revision: int | None = None
    inputs: Mapping[str, Any] = {}
    labels: Labels = ()  # values may be templates
    inherit_labels: bool = False
    wait: bool = True
    transmit_failed: bool = True
    # What a restart of the parent does to a failed child (SUB-01); nothing can be restarted in this version.
    restart_behavior: Literal["RETRY_FAILED", "NEW_EXECUTION"] = "RETRY_FAILED"
    schedule_date: str | None = None

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {}
