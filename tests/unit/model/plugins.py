"""A registry for tests of the model: the classes of the language and a task that says something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from flowtide.model import flowables
from flowtide.model.conditions.dates import Weekend
from flowtide.model.conditions.executions import ExecutionStatus
from flowtide.model.conditions.logic import Not
from flowtide.model.plugin import Plugin, PluginKind, Registry, TaskRunner
from flowtide.model.task import RunnableTask
from flowtide.model.triggers.flow import FlowTrigger
from flowtide.model.triggers.schedule import Schedule
from flowtide.model.triggers.webhook import Webhook


class Say(RunnableTask):
    """A task with a text."""

    aliases: ClassVar[tuple[str, ...]] = ("old.Say",)

    message: str | Sequence[str]
    level: str = "INFO"
    options: dict[str, object] = {}
    task_runner: TaskRunner | None = None


class LocalRunner(Plugin):
    """A runner with a property."""

    kind: ClassVar[PluginKind] = "runner"

    image: str


REGISTRY = Registry(
    {
        ("task", "test.Say"): Say,
        ("runner", "test.LocalRunner"): LocalRunner,
        ("task", "flow.Sequential"): flowables.Sequential,
        ("task", "flow.Parallel"): flowables.Parallel,
        ("task", "flow.If"): flowables.If,
        ("task", "flow.Switch"): flowables.Switch,
        ("task", "flow.ForEach"): flowables.ForEach,
        ("task", "flow.Pause"): flowables.Pause,
        ("task", "flow.Subflow"): flowables.Subflow,
        ("trigger", "trigger.Schedule"): Schedule,
        ("trigger", "trigger.Webhook"): Webhook,
        ("trigger", "trigger.Flow"): FlowTrigger,
        ("condition", "condition.ExecutionStatus"): ExecutionStatus,
        ("condition", "condition.Not"): Not,
        ("condition", "condition.Weekend"): Weekend,
    }
)
