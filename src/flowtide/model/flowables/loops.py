"""Flowable tasks that run their list several times: for each value, or until a condition holds (FLO-14 to FLO-21)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.model.durations import DurationTemplate
from flowtide.model.plugin import Part
from flowtide.model.task import AnyTask, FlowableTask, Task


class Loop(FlowableTask):
    """What loops over values have in common."""

    construct: ClassVar[str] = "for_each"

    tasks: Annotated[
        Sequence[AnyTask],
        Field(title="The tasks of an iteration; `taskrun.value` is its value", min_length=1),
    ]

    def listed(self) -> Any:
        """The values: a list, or an expression that gives one."""
        raise NotImplementedError

    def at_once(self) -> int:
        """How many iterations run at the same time; 0 means all."""
        raise NotImplementedError

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}


class ForEach(Loop):
    """Runs its tasks for each value, at most `concurrency_limit` iterations at a time; 0 means all (FLO-14)."""

    title: ClassVar[str] = "Run tasks for each value of a list."
    example: ClassVar[str] = """\
id: greet_all
namespace: company.team
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [Ada, Grace, Edsger]
    concurrencyLimit: 2
    tasks:
      - {id: greet, type: io.kestra.plugin.core.log.Log, message: "Hello {{ taskrun.value }}"}
"""

    values: Annotated[str | Sequence[Any], Field(title="The values: a list, or an expression that gives one")]
    concurrency_limit: Annotated[
        int, Field(title="How many iterations run at the same time; 0 means all", ge=0)
    ] = 1

    def listed(self) -> Any:
        return self.values

    def at_once(self) -> int:
        return self.concurrency_limit


class EachSequential(Loop):
    """The former ForEach with one iteration at a time (FLO-16)."""

    title: ClassVar[str] = "Run tasks for each value, one after the other."
    example: ClassVar[str] = """\
id: one_by_one
namespace: company.team
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.EachSequential
    value: [1, 2]
    tasks:
      - {id: say, type: io.kestra.plugin.core.log.Log, message: "{{ taskrun.value }}"}
"""
    deprecated: ClassVar[str] = "use io.kestra.plugin.core.flow.ForEach, whose `values` are this `value`"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.EachSequential",)

    value: Annotated[str | Sequence[Any], Field(title="The values: a list, or an expression that gives one")]

    def listed(self) -> Any:
        return self.value

    def at_once(self) -> int:
        return 1


class EachParallel(Loop):
    """The former ForEach with all iterations, and all tasks of one, at the same time (FLO-16, decision 0017)."""

    construct: ClassVar[str] = "each_parallel"
    title: ClassVar[str] = "Run tasks for each value at the same time."
    example: ClassVar[str] = """\
id: all_at_once
namespace: company.team
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.EachParallel
    value: [1, 2]
    tasks:
      - {id: say, type: io.kestra.plugin.core.log.Log, message: "{{ taskrun.value }}"}
"""
    deprecated: ClassVar[str] = (
        "use io.kestra.plugin.core.flow.ForEach with `concurrencyLimit: 0`, and Parallel within it for tasks at the "
        "same time"
    )
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.EachParallel",)

    value: Annotated[str | Sequence[Any], Field(title="The values: a list, or an expression that gives one")]
    concurrent: Annotated[int, Field(title="How many iterations run at the same time; 0 means all", ge=0)] = 0

    def listed(self) -> Any:
        return self.value

    def at_once(self) -> int:
        return self.concurrent


class CheckFrequency(Part):
    """How often a LoopUntil runs its tasks, and when it gives up (FLO-21, H05)."""

    interval: Annotated[
        DurationTemplate, Field(title="From the end of one iteration to the start of the next")
    ] = timedelta(minutes=1)  # from the end of one iteration to the start of the next
    max_iterations: (
        Annotated[int, Field(title="How many iterations at most", ge=1)]
        | Annotated[str, Field(pattern=r"\{")]
        | None
    ) = None  # None: no limit
    max_duration: Annotated[DurationTemplate | None, Field(title="For how long at most")] = (
        None  # from the start of the first iteration; None: no limit
    )


class LoopUntil(FlowableTask):
    """Runs its tasks again and again, until the condition is true after one of the runs (FLO-21)."""

    construct: ClassVar[str] = "loop_until"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "iterationCount": ("integer", "The number of the iteration that runs or ran last"),
    }
    title: ClassVar[str] = "Run tasks until a condition is true."
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.plugin.core.flow.WaitFor",
        "io.kestra.core.tasks.flows.WaitFor",
    )
    example: ClassVar[str] = """\
id: loop-until
namespace: company.team

tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{ outputs.draw.value == '3' }}"
    checkFrequency:
      interval: PT0.1S
      maxIterations: 10
    tasks:
      - id: draw
        type: io.kestra.plugin.core.debug.Return
        format: "{{ outputs.loop.iterationCount }}"
"""

    condition: Annotated[
        str | bool | int | float | None, Field(title="An expression; the loop ends when it is true")
    ]
    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks of an iteration", min_length=1)]
    check_frequency: Annotated[CheckFrequency, Field(title="How often, and how long at most")] = (
        CheckFrequency()
    )
    fail_on_max_reached: Annotated[bool, Field(title="Whether it fails when it gives up")] = (
        False  # whether a limit that is hit is a failure, not an end like any other
    )

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}
