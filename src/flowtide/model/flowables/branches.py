"""Flowable tasks that run one of several lists (FLO-12, FLO-13, FLO-20)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.task import AnyTask, FlowableTask, Task


class If(FlowableTask):
    """Runs `then` when the condition is true, else `else` (FLO-13, FLO-20)."""

    construct: ClassVar[str] = "if_"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "evaluationResult": ("boolean", "What the condition gave"),
    }
    title: ClassVar[str] = "Run tasks on a condition."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.If",)

    condition: Annotated[
        str | bool | int | float | None, Field(title="An expression; false, 0, empty text and null are false")
    ]
    then: Annotated[Sequence[AnyTask], Field(title="The tasks when it is true", min_length=1)]
    else_: Annotated[Sequence[AnyTask], Field(title="The tasks when it is not", alias="else")] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"then": self.then, "else": self.else_}


class Switch(FlowableTask):
    """Runs the case that the value names, else `defaults` (FLO-12)."""

    construct: ClassVar[str] = "switch"
    title: ClassVar[str] = "Run the tasks of one of several cases."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Switch",)

    value: Annotated[str | bool | int | float, Field(title="An expression whose text chooses a case")]
    cases: Annotated[
        Mapping[str, Sequence[AnyTask]], Field(title="The tasks of each case, by the text that chooses it")
    ] = {}
    defaults: Annotated[Sequence[AnyTask], Field(title="The tasks when no case was chosen")] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {**{f"case:{name}": tasks for name, tasks in self.cases.items()}, "defaults": self.defaults}
