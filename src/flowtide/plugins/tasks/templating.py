"""TemplatedTask: a task whose whole text is a template (RUN-27, page 063)."""

from __future__ import annotations

from typing import ClassVar

from flowtide.model.task import TaskTemplate


class TemplatedTask(TaskTemplate):
    """Renders `spec`, reads it as a task and runs that in its place; every property of it may be a template."""

    title: ClassVar[str] = "Run a task that is written by a template"
    example: ClassVar[str] = """\
id: templated_task
namespace: company.team
inputs:
  - id: level
    type: STRING
    defaults: WARN
tasks:
  - id: templated
    type: io.kestra.plugin.core.templating.TemplatedTask
    spec: |
      type: io.kestra.plugin.core.log.Log
      message: The level of this line comes from an input
      level: {{ inputs.level }}
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.templating.TemplatedTask",)
