"""Flows: the root of the document that a person writes (page 464, catalogue B §1).

Instances are made by `flowtide.model.source.parse_flow`, which knows places and applies plugin defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_core import PydanticCustomError

from flowtide.model.durations import Duration
from flowtide.model.inputs import AnyInput
from flowtide.model.labels import Labels
from flowtide.model.listeners import Listener
from flowtide.model.plugin import Part
from flowtide.model.retry import Retry
from flowtide.model.task import AnyTask, FlowableTask, Task, WorkerGroup
from flowtide.model.trigger import AnyTrigger

# Parts of URLs of the API below a flow's namespace (FLW-06).
RESERVED_IDS = frozenset(
    {
        "pause", "resume", "force-run", "change-status", "kill", "executions", "search", "source", "disable",
        "enable",
    }
)  # fmt: skip  # reads better as a paragraph

OutputType = Literal[
    "STRING", "ENUM", "SELECT", "INT", "FLOAT", "BOOLEAN", "BOOL", "DATETIME", "DATE", "TIME", "DURATION", "FILE",
    "JSON", "URI", "SECRET", "ARRAY", "MULTISELECT", "YAML", "EMAIL",
]  # fmt: skip  # reads better as a paragraph


class Output(Part):
    """A value that the flow gives at its end (OUT-02)."""

    id: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][.a-zA-Z0-9_-]*$")]
    type: OutputType | None = None  # None: whatever the value is
    value: Any
    description: str | None = None
    display_name: str | None = None
    required: bool = True


class PluginDefault(Part):
    """Values for all plugins of a type, or of the types below a prefix (PLD-01)."""

    type: Annotated[str, Field(min_length=1)]
    values: Mapping[str, Any] = {}
    forced: bool = False  # wins over what the task itself says (PLD-02)


class Concurrency(Part):
    """How many executions of the flow run at a time, and what becomes of the others (CON-01)."""

    limit: Annotated[int, Field(ge=1)]
    behavior: Literal["QUEUE", "CANCEL", "FAIL"] = "QUEUE"


class _Sla(Part):
    id: Annotated[str, Field(min_length=1)]
    behavior: Literal["FAIL", "CANCEL", "NONE"]
    labels: Labels = ()


class MaxDurationSla(_Sla):
    """The execution must not take longer (SLA-02)."""

    type: Literal["MAX_DURATION"]
    duration: Duration


class AssertionSla(_Sla):
    """An expression must hold while the execution runs (SLA-03)."""

    type: Literal["EXECUTION_ASSERTION"]
    assert_: Annotated[str | bool, Field(alias="assert")]


AnySla = Annotated[MaxDurationSla | AssertionSla, Field(discriminator="type")]


class Check(Part):
    """What must hold before an execution is created (CHK-01); the message is shown when it does not."""

    condition: str | bool
    message: Annotated[str, Field(min_length=1)]
    style: Literal["ERROR", "SUCCESS", "WARNING", "INFO"] = "INFO"
    behavior: Literal["BLOCK_EXECUTION", "FAIL_EXECUTION", "CREATE_EXECUTION"] = "BLOCK_EXECUTION"


class Flow(Part):
    """A flow, with plugin defaults applied to its tasks and triggers."""

    id: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", max_length=100)]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=150)]
    revision: int | None = None  # managed by the server (FLW-11)
    description: str | None = None
    labels: Labels = ()
    inputs: Sequence[AnyInput] = ()
    outputs: Sequence[Output] = ()
    variables: Mapping[str, Any] = {}  # not rendered until asked (VAR-02)
    tasks: Annotated[Sequence[AnyTask], Field(min_length=1)]
    errors: Sequence[AnyTask] = ()
    finally_: Annotated[Sequence[AnyTask], Field(alias="finally")] = ()
    after_execution: Sequence[AnyTask] = ()
    triggers: Sequence[AnyTrigger] = ()
    plugin_defaults: Annotated[
        Sequence[PluginDefault],
        Field(validation_alias=AliasChoices("pluginDefaults", "taskDefaults", "plugin_defaults")),
    ] = ()
    concurrency: Concurrency | None = None
    sla: Sequence[AnySla] = ()
    checks: Sequence[Check] = ()
    retry: Retry | None = None
    disabled: bool = False
    worker_group: WorkerGroup | None = None
    listeners: Sequence[Listener] = ()  # deprecated: `afterExecution` replaces them (FLW-16)
    deleted: bool = False  # managed by the server

    @field_validator("id")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in RESERVED_IDS:
            raise PydanticCustomError(
                "reserved_id", "`{id}` is reserved for the API: choose another id", {"id": value}
            )
        return value

    def all_tasks(self) -> Iterator[Task]:
        """Every task of the flow, those within flowable tasks and all handlers included, depth first."""
        for tasks in (self.tasks, self.errors, self.finally_, self.after_execution):
            yield from _with_children(tasks)
        for listener in self.listeners:
            yield from _with_children(listener.tasks)

    @cached_property
    def tasks_by_id(self) -> Mapping[str, Task]:
        """Every task by its id."""
        return {task.id: task for task in self.all_tasks()}


def _with_children(tasks: Sequence[Task]) -> Iterator[Task]:
    for task in tasks:
        yield task
        if isinstance(task, FlowableTask):
            for branch in (*task.branches().values(), task.errors, task.finally_):
                yield from _with_children(branch)
