"""Listeners, deprecated: tasks of a flow that run after its executions, on conditions (FLW-16, G03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from flowtide.model.plugin import Condition, Part
from flowtide.model.task import AnyTask, FlowableTask, Task


class Listener(Part):
    """Tasks that run when an execution of the flow is over, if all conditions hold; none always hold."""

    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks", min_length=1)]
    conditions: Annotated[Sequence[Condition], Field(title="When they run; without any, always")] = ()
    description: Annotated[str | None, Field(title="What they do")] = None


class ListenerTask(FlowableTask):
    """What a listener is planned as: nobody writes it, and its failure changes nothing."""

    construct: ClassVar[str] = "listener"
    title: ClassVar[str] = "Run the tasks of a listener."

    listener: Listener

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.listener.tasks}


def listener_tasks(listeners: Sequence[Listener]) -> list[ListenerTask]:
    """The listeners of a flow as tasks that run after its executions."""
    return [
        ListenerTask(
            id=f"listeners_{number}",
            type="io.kestra.core.models.listeners.Listener",
            listener=listener,
            allow_failure=True,
        )
        for number, listener in enumerate(listeners)
    ]
