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
    example: ClassVar[str] = """\
id: decide
namespace: company.team
inputs:
  - {id: count, type: INT, defaults: 3}
tasks:
  - id: choose
    type: io.kestra.plugin.core.flow.If
    condition: "{{ inputs.count > 2 }}"
    then:
      - {id: many, type: io.kestra.plugin.core.log.Log, message: many}
    else:
      - {id: few, type: io.kestra.plugin.core.log.Log, message: few}
"""
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
    example: ClassVar[str] = """\
id: choose_by_text
namespace: company.team
inputs:
  - {id: size, type: STRING, defaults: small}
tasks:
  - id: choose
    type: io.kestra.plugin.core.flow.Switch
    value: "{{ inputs.size }}"
    cases:
      small:
        - {id: one, type: io.kestra.plugin.core.log.Log, message: one is enough}
    defaults:
      - {id: other, type: io.kestra.plugin.core.log.Log, message: "what is {{ inputs.size }}?"}
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Switch",)

    value: Annotated[str | bool | int | float, Field(title="An expression whose text chooses a case")]
    cases: Annotated[
        Mapping[str, Sequence[AnyTask]], Field(title="The tasks of each case, by the text that chooses it")
    ] = {}
    defaults: Annotated[Sequence[AnyTask], Field(title="The tasks when no case was chosen")] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {**{f"case:{name}": tasks for name, tasks in self.cases.items()}, "defaults": self.defaults}
