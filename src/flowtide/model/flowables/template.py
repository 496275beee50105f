"""Template, deprecated: the tasks of a saved template, run in the place of this one (FLW-17, G01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.model.task import FlowableTask, Task


class Template(FlowableTask):
    """Runs the tasks of a template one after the other; they read `args` as `parent.outputs.args`."""

    construct: ClassVar[str] = "template"
    title: ClassVar[str] = "Run the tasks of a template."
    example: ClassVar[str] = """\
id: use_template
namespace: company.team
tasks:
  - id: shared
    type: io.kestra.plugin.core.flow.Template
    namespace: company.team
    templateId: greeting
"""
    deprecated: ClassVar[str] = (
        "use io.kestra.plugin.core.flow.Subflow. Executions fail here unless the setting `templates.enabled` is true"
    )
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Template",)

    namespace: Annotated[str, Field(title="The namespace of the template")]
    template_id: Annotated[str, Field(title="The id of the template")]
    args: Annotated[Mapping[str, Any], Field(title="Values for its tasks, as `parent.outputs.args`")] = {}

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {}  # the tasks are known when an execution is planned
