"""Subflow: an execution of another flow (catalogue B §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.model.labels import Labels
from flowtide.model.task import FlowableTask, Task


class Subflow(FlowableTask):
    """Starts an execution of another flow, and waits for it (catalogue B §6)."""

    construct: ClassVar[str] = "subflow"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "executionId": ("string", "The execution that was started"),
        "state": ("string", "Its state, when the task waited"),
        "outputs": ("object", "Its outputs, when the task waited"),
    }
    title: ClassVar[str] = "Run another flow."
    example: ClassVar[str] = """\
id: call_another
namespace: company.team
tasks:
  - id: call
    type: io.kestra.plugin.core.flow.Subflow
    namespace: company.team
    flowId: hello
    inputs:
      name: Ada
"""
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.flows.Subflow",
        "io.kestra.core.tasks.flows.Flow",
        "io.kestra.plugin.core.flow.Flow",
    )

    namespace: Annotated[str, Field(title="The namespace of the flow to run")]
    flow_id: Annotated[str, Field(title="The id of the flow to run")]
    revision: Annotated[int | None, Field(title="Its revision; the latest by default")] = None
    inputs: Annotated[Mapping[str, Any], Field(title="Its inputs")] = {}
    labels: Annotated[Labels, Field(title="Labels of the execution")] = ()  # values may be templates
    inherit_labels: Annotated[bool, Field(title="Whether it gets the labels of this execution")] = False
    wait: Annotated[bool, Field(title="Whether the task waits for its end")] = True
    transmit_failed: Annotated[bool, Field(title="Whether the task fails when it does")] = True
    # What a restart of the parent does to a failed child: restart it too, or start another one (SUB-01).
    restart_behavior: Annotated[
        Literal["RETRY_FAILED", "NEW_EXECUTION"],
        Field(title="What a restart does to an execution that failed"),
    ] = "RETRY_FAILED"
    schedule_date: Annotated[str | None, Field(title="When it starts")] = None
    # Evaluated at the end of the child; the flow's own outputs win.
    outputs: Annotated[Mapping[str, Any], Field(title="Former outputs; those of the flow replace them")] = {}

    @classmethod
    def advice(cls, given: Mapping[str, Any]) -> Iterator[str]:
        yield from super().advice(given)
        if given.get("outputs"):
            yield (
                "`outputs` are deprecated: let the flow that is run declare them. They have no effect unless "
                "`plugins.configurations` sets `outputs.enabled: true` for io.kestra.plugin.core.flow.Subflow"
            )

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {}
