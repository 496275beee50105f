"""Template, deprecated: the tasks of a saved template, run in the place of this one (FLW-17, G01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from flowtide.model.task import FlowableTask, Task


class Template(FlowableTask):
    """Runs the tasks of a template one after the other; they read `args` as `parent.outputs.args`."""

    construct: ClassVar[str] = "template"
    title: ClassVar[str] = "Run the tasks of a template."
    deprecated: ClassVar[str] = (
        "use io.kestra.plugin.core.flow.Subflow. Executions fail here unless the setting `templates.enabled` is true"
    )
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Template",)

    namespace: str
    template_id: str
    args: Mapping[str, Any] = {}

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {}  # the tasks are known when an execution is planned
