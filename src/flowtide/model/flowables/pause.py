"""Pause: waits for a person, or a while (FLO-24 to FLO-26)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from flowtide.model.durations import DurationTemplate
from flowtide.model.inputs import AnyInput
from flowtide.model.task import AnyTask, FlowableTask, Task


class Pause(FlowableTask):
    """Waits until it is resumed, or until its duration is over (FLO-24, FLO-26)."""

    construct: ClassVar[str] = "pause"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "onResume": ("object", "The inputs that were given"),
        "resumed": ("object", "Who resumed it, when and how"),
    }
    title: ClassVar[str] = "Wait for a person or a while."
    example: ClassVar[str] = """\
id: wait_a_moment
namespace: company.team
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
    pauseDuration: PT0.1S
  - {id: go_on, type: io.kestra.plugin.core.log.Log, message: here we are}
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Pause",)

    pause_duration: Annotated[
        DurationTemplate | None,
        Field(
            title="How long it waits; without it, until somebody resumes it",
            validation_alias=AliasChoices("pauseDuration", "delay", "pause_duration"),
        ),
    ] = None
    timeout: Annotated[
        DurationTemplate | None, Field(title="Deprecated: use `pauseDuration` with `behavior: FAIL`")
    ] = None
    behavior: Annotated[
        Literal["RESUME", "WARN", "FAIL", "CANCEL"], Field(title="What happens when the duration is over")
    ] = "RESUME"
    on_resume: Annotated[Sequence[AnyInput], Field(title="Inputs that whoever resumes it must give")] = ()
    on_pause: Annotated[AnyTask | None, Field(title="A task that runs when it begins to wait")] = (
        None  # run when it begins to wait, such as a message to whoever may resume it
    )
    tasks: Annotated[Sequence[AnyTask], Field(title="Deprecated: put them after it")] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks, "onPause": [self.on_pause] if self.on_pause is not None else []}

    @classmethod
    def advice(cls, given: Mapping[str, Any]) -> Iterator[str]:
        return iter(())  # `timeout` has an effect here; what is deprecated is said at the properties
