"""Subflow: an execution of another flow (catalogue B §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from flowtide.model.labels import Labels
from flowtide.model.task import FlowableTask, Task


class Subflow(FlowableTask):
    """Starts an execution of another flow, and waits for it (catalogue B §6)."""

    construct: ClassVar[str] = "subflow"
    title: ClassVar[str] = "Run another flow."
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.tasks.flows.Subflow",
        "io.kestra.core.tasks.flows.Flow",
        "io.kestra.plugin.core.flow.Flow",
    )

    namespace: str
    flow_id: str
    revision: int | None = None
    inputs: Mapping[str, Any] = {}
    labels: Labels = ()  # values may be templates
    inherit_labels: bool = False
    wait: bool = True
    transmit_failed: bool = True
    # What a restart of the parent does to a failed child: restart it too, or start another one (SUB-01).
    restart_behavior: Literal["RETRY_FAILED", "NEW_EXECUTION"] = "RETRY_FAILED"
    schedule_date: str | None = None
    outputs: Mapping[
        str, Any
    ] = {}  # deprecated: evaluated at the end of the child; the flow's own outputs win

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
