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

    id: Annotated[str, Field(title="The name of the output", pattern=r"^[a-zA-Z0-9][.a-zA-Z0-9_-]*$")]
    type: OutputType | None = None  # None: whatever the value is
    value: Annotated[Any, Field(title="The value, usually an expression")]
    description: Annotated[str | None, Field(title="What it is")] = None
    display_name: Annotated[str | None, Field(title="How it is shown")] = None
    required: Annotated[bool, Field(title="Whether it must have a value")] = True


class PluginDefault(Part):
    """Values for all plugins of a type, or of the types below a prefix (PLD-01)."""

    type: Annotated[str, Field(min_length=1)]
    values: Annotated[Mapping[str, Any], Field(title="The properties and their values")] = {}
    forced: Annotated[bool, Field(title="Whether they win over what the task itself says")] = (
        False  # wins over what the task itself says (PLD-02)
    )


class Concurrency(Part):
    """How many executions of the flow run at a time, and what becomes of the others (CON-01)."""

    limit: Annotated[int, Field(title="How many executions run at a time", ge=1)]
    behavior: Annotated[
        Literal["QUEUE", "CANCEL", "FAIL"], Field(title="What becomes of those above the limit")
    ] = "QUEUE"


class _Sla(Part):
    id: Annotated[str, Field(title="The name of the agreement", min_length=1)]
    behavior: Annotated[
        Literal["FAIL", "CANCEL", "NONE"], Field(title="What becomes of an execution that breaks it")
    ]
    labels: Annotated[Labels, Field(title="Labels that such an execution gets")] = ()


class MaxDurationSla(_Sla):
    """The execution must not take longer (SLA-02)."""

    type: Literal["MAX_DURATION"]
    duration: Annotated[Duration, Field(title="The longest duration")]


class AssertionSla(_Sla):
    """An expression must hold while the execution runs (SLA-03)."""

    type: Literal["EXECUTION_ASSERTION"]
    assert_: Annotated[str | bool, Field(title="An expression that must hold", alias="assert")]


AnySla = Annotated[MaxDurationSla | AssertionSla, Field(discriminator="type")]


class Check(Part):
    """What must hold before an execution is created (CHK-01); the message is shown when it does not."""

    condition: Annotated[str | bool, Field(title="An expression that must be true")]
    message: Annotated[str, Field(title="What is shown when it is not", min_length=1)]
    style: Annotated[
        Literal["ERROR", "SUCCESS", "WARNING", "INFO"], Field(title="How the message is shown")
    ] = "INFO"
    behavior: Annotated[
        Literal["BLOCK_EXECUTION", "FAIL_EXECUTION", "CREATE_EXECUTION"],
        Field(title="What becomes of the execution"),
    ] = "BLOCK_EXECUTION"


class Flow(Part):
    """A flow, with plugin defaults applied to its tasks and triggers."""

    id: Annotated[
        str,
        Field(
            title="The name of the flow, unique within its namespace",
            pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$",
            max_length=100,
        ),
    ]
    namespace: Annotated[
        str,
        Field(
            title="The namespace; it cannot be changed later",
            pattern=r"^[a-z0-9][a-z0-9._-]*$",
            max_length=150,
        ),
    ]
    revision: Annotated[int | None, Field(title="The number of the version, managed by the server")] = (
        None  # managed by the server (FLW-11)
    )
    description: Annotated[str | None, Field(title="What the flow does, in Markdown")] = None
    labels: Annotated[
        Labels, Field(title="Labels of every execution: a map, or a list of `{key, value}`")
    ] = ()
    inputs: Annotated[Sequence[AnyInput], Field(title="What an execution is given")] = ()
    outputs: Annotated[Sequence[Output], Field(title="What an execution gives at its end")] = ()
    variables: Annotated[
        Mapping[str, Any], Field(title="Values for `vars`; rendered only by `render(vars.x)`")
    ] = {}  # not rendered until asked (VAR-02)
    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks, one after the other", min_length=1)]
    errors: Annotated[Sequence[AnyTask], Field(title="Tasks that run when a task failed")] = ()
    finally_: Annotated[
        Sequence[AnyTask],
        Field(title="Tasks that run at the end, whatever the outcome, and may change it", alias="finally"),
    ] = ()
    after_execution: Annotated[
        Sequence[AnyTask], Field(title="Tasks that run after the end, and know the final state")
    ] = ()
    triggers: Annotated[Sequence[AnyTrigger], Field(title="What starts executions")] = ()
    plugin_defaults: Annotated[
        Sequence[PluginDefault],
        Field(
            title="Values for all tasks, triggers, conditions and runners of a type",
            validation_alias=AliasChoices("pluginDefaults", "taskDefaults", "plugin_defaults"),
        ),
    ] = ()
    concurrency: Annotated[Concurrency | None, Field(title="How many executions run at a time")] = None
    sla: Annotated[Sequence[AnySla], Field(title="What must hold while an execution runs")] = ()
    checks: Annotated[Sequence[Check], Field(title="What must hold before an execution is created")] = ()
    retry: Annotated[Retry | None, Field(title="How a failed execution is tried again")] = None
    disabled: Annotated[bool, Field(title="Whether no execution may start")] = False
    worker_group: Annotated[WorkerGroup | None, Field(title="Which workers run its tasks")] = None
    listeners: Annotated[
        Sequence[Listener], Field(title="Former tasks after the end; `afterExecution` replaces them")
    ] = ()  # deprecated: `afterExecution` replaces them (FLW-16)
    deleted: Annotated[bool, Field(title="Whether it was deleted, managed by the server")] = (
        False  # managed by the server
    )

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
