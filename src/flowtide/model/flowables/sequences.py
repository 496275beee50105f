"""Flowable tasks with one list: in sequence, at the same time, or without its failures (FLO-10, FLO-11, FLO-22)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.task import AnyTask, FlowableTask, Task


class Sequential(FlowableTask):
    """Runs its tasks one after the other (FLO-10)."""

    construct: ClassVar[str] = "sequential"
    title: ClassVar[str] = "Run tasks one after the other."
    example: ClassVar[str] = """\
id: in_order
namespace: company.team
tasks:
  - id: block
    type: io.kestra.plugin.core.flow.Sequential
    tasks:
      - {id: first, type: io.kestra.plugin.core.log.Log, message: first}
      - {id: second, type: io.kestra.plugin.core.log.Log, message: second}
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Sequential",)

    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks, one after the other", min_length=1)]

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class Parallel(FlowableTask):
    """Runs its tasks at the same time, at most `concurrent` of them; 0 means all (FLO-11)."""

    construct: ClassVar[str] = "parallel"
    title: ClassVar[str] = "Run tasks at the same time."
    example: ClassVar[str] = """\
id: side_by_side
namespace: company.team
tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {id: left, type: io.kestra.plugin.core.log.Log, message: left}
      - {id: right, type: io.kestra.plugin.core.log.Log, message: right}
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Parallel",)

    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks", min_length=1)]
    concurrent: Annotated[int, Field(title="How many run at the same time; 0 means all", ge=0)] = 0

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class AllowFailure(FlowableTask):
    """Runs its tasks one after the other; a failure ends it with WARNING, and the flow goes on (FLO-22)."""

    construct: ClassVar[str] = "allow_failure"
    title: ClassVar[str] = "Run tasks that may fail."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.AllowFailure",)
    example: ClassVar[str] = """\
id: allow-failure
namespace: company.team

tasks:
  - id: maybe
    type: io.kestra.plugin.core.flow.AllowFailure
    tasks:
      - id: fails
        type: io.kestra.plugin.core.execution.Fail
      - id: never
        type: io.kestra.plugin.core.log.Log
        message: This is not run.
  - id: next
    type: io.kestra.plugin.core.log.Log
    message: The execution goes on, and ends with a warning.
"""

    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks, one after the other", min_length=1)]

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}
