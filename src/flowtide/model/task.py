"""Tasks: the properties that all have (catalogue B §3), and the two kinds, runnable and flowable."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import Field, SerializeAsAny, model_validator

from flowtide.model.durations import Duration, DurationTemplate
from flowtide.model.entries import Level
from flowtide.model.outbound import OutboundRules
from flowtide.model.platform import Platform
from flowtide.model.plugin import Part, Plugin, plugin_of, plugin_schema
from flowtide.model.retry import Retry

_Result = TypeVar("_Result")
Identifier = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$", max_length=256)]


class WorkerGroup(Part):
    """Which workers may run it (TSK-06)."""

    key: Annotated[str, Field(title="The key of the group")]
    fallback: Annotated[
        Literal["WAIT", "FAIL", "CANCEL"], Field(title="What happens when the group has no worker")
    ] = "WAIT"


class TaskCache(Part):
    """Reuse of an earlier run's outputs (CAC-04)."""

    enabled: Annotated[bool, Field(title="Whether outputs are reused")]
    ttl: Annotated[Duration | None, Field(title="For how long")] = None


class Task(Plugin):
    """What every task has."""

    kind: ClassVar[Literal["task"]] = "task"

    id: Annotated[Identifier, Field(title="The name of the task, unique within the flow")]
    description: Annotated[str | None, Field(title="What it does, in Markdown")] = None
    retry: Annotated[Retry | None, Field(title="How it is tried again when it fails")] = None
    timeout: Annotated[DurationTemplate | None, Field(title="How long an attempt may take")] = (
        None  # per attempt; a template gives an ISO-8601 duration
    )
    run_if: Annotated[str | bool, Field(title="An expression; the task is skipped when it is false")] = "true"
    disabled: Annotated[bool, Field(title="Whether it is left out")] = False
    worker_group: Annotated[WorkerGroup | None, Field(title="Which workers may run it")] = None
    allow_failure: Annotated[
        bool, Field(title="Whether the flow goes on when it fails, and ends with WARNING")
    ] = False
    allow_warning: Annotated[bool, Field(title="Whether a WARNING of it counts as SUCCESS")] = False
    log_level: Annotated[Level | None, Field(title="The least level of lines that are kept")] = None
    log_to_file: Annotated[bool, Field(title="Whether its log is kept as a file")] = False
    task_cache: Annotated[TaskCache | None, Field(title="Reuse of the outputs of an earlier run")] = None
    version: Annotated[str | None, Field(title="The version of the plugin")] = None


# Written with the fields of its own class.
AnyTask = Annotated[SerializeAsAny[Task], plugin_of("task"), plugin_schema("task")]


class FlowableTask(Task):
    """A task that consists of tasks; the engine decides it, no worker runs it.

    `construct` names the module in `flowtide.engine.decide` that does.
    """

    construct: ClassVar[str]  # type: ignore[assignment]  # hides a deprecated method of pydantic

    errors: Annotated[Sequence[AnyTask], Field(title="Tasks that run when one of its tasks failed")] = ()
    finally_: Annotated[
        Sequence[AnyTask], Field(title="Tasks that run at its end, whatever the outcome", alias="finally")
    ] = ()

    @model_validator(mode="after")
    def _nothing_is_cached(self) -> FlowableTask:
        if self.task_cache is not None and self.task_cache.enabled:
            raise ValueError(
                "`taskCache` is for tasks that run on a worker; set it on the tasks inside (page 475)"
            )
        return self

    def branches(self) -> Mapping[str, Sequence[Task]]:
        """Its lists of tasks by name, without `errors` and `finally`."""
        raise NotImplementedError

    @classmethod
    def advice(cls, given: Mapping[str, Any]) -> Iterator[str]:
        yield from super().advice(given)
        if given.get("timeout") is not None:
            yield "`timeout` has no effect here: only tasks that workers run have one (TMO-01); put it on those"


class TaskLogger(Protocol):
    """Writes lines to the log of a task run; `{}` in the message takes the arguments in turn."""

    def log(self, level: Level, message: str, *arguments: object) -> None:
        """Write a line unless it is below the task's `logLevel`."""
        ...

    def error(self, message: str, *arguments: object) -> None:
        """Write a line at ERROR."""
        ...

    def warn(self, message: str, *arguments: object) -> None:
        """Write a line at WARN."""
        ...

    def info(self, message: str, *arguments: object) -> None:
        """Write a line at INFO."""
        ...

    def debug(self, message: str, *arguments: object) -> None:
        """Write a line at DEBUG."""
        ...

    def trace(self, message: str, *arguments: object) -> None:
        """Write a line at TRACE."""
        ...


class MaskedStream(Protocol):
    """Masks secrets in a text that comes in pieces."""

    def feed(self, text: str) -> str:
        """What can be shown so far; what may be the beginning of a secret waits."""
        ...

    def flush(self) -> str:
        """The rest, at the end."""
        ...


class RunContext(Protocol):
    """What a runnable task has while a worker runs it.

    `render*` may be called from any thread.  Files are moved by the async methods; tasks that run in a thread use
    `call` to reach them.
    """

    tenant_id: str
    namespace: str
    flow_id: str
    execution_id: str
    task_run_id: str
    task_id: str
    attempt: int
    logger: TaskLogger
    now: Callable[[], datetime]  # in UTC

    @property
    def variables(self) -> Mapping[str, Any]:
        """The root variables that templates see."""
        ...

    def define(self, name: str, value: Any) -> None:
        """Add a root variable for the templates of this attempt, such as `workingDir`."""
        ...

    @property
    def working_directory(self) -> Path:
        """A folder of this attempt only; made on first use, removed afterwards."""
        ...

    def render(self, template: Any) -> str:
        """Render to text.  Raises ExpressionError."""
        ...

    def render_typed(self, template: Any) -> Any:
        """Render keeping types; containers are rendered leaf by leaf."""
        ...

    def render_nested(self, value: Any) -> Any:
        """Render every text inside a structure to text; what is no text stays as it is."""
        ...

    def plugin_configuration(self, name: str, *, type_name: str | None = None) -> Any:
        """A value that the operator configured for this type (`plugins.configurations`), or None.

        `type_name` asks for another type's, such as that of the task's runner.
        """
        ...

    def counter(self, name: str, value: float, /, **tags: str) -> None:
        """Count something; a metric of the task run."""
        ...

    def timer(self, name: str, duration: timedelta, /, **tags: str) -> None:
        """Record how long something took."""
        ...

    def gauge(self, name: str, value: float, /, **tags: str) -> None:
        """Record a level."""
        ...

    async def put_file(self, path: Path, name: str | None = None) -> str:
        """Store a file of this task run; gives its `kestra://` URI."""
        ...

    async def put_bytes(self, content: bytes, name: str) -> str:
        """Store bytes as a file of this task run; gives its `kestra://` URI."""
        ...

    async def get_file(self, uri: str, path: Path) -> None:
        """Fetch a stored file to `path`.  Raises StorageError when it is missing or belongs to others."""
        ...

    async def get_bytes(self, uri: str) -> bytes:
        """Read a stored file whole."""
        ...

    async def file_size(self, uri: str) -> int:
        """The number of bytes of a stored file.  Raises as `get_file`."""
        ...

    async def delete_file(self, uri: str) -> bool:
        """Remove a stored file that this execution may read; whether there was one."""
        ...

    async def delete_own_files(self) -> list[str]:
        """Remove all stored files of this execution; gives their URIs."""
        ...

    def renderer(self) -> Callable[[Any, Mapping[str, Any]], Any]:
        """A function that renders as `render_typed`, with further root variables for one call; for items of a file."""
        ...

    async def keep(self, name: str, content: bytes | Path) -> None:
        """Keep a file for later executions of this task, in place of one of the same name."""
        ...

    async def kept(self, name: str) -> bytes | None:
        """Read a file that an execution of this task kept; None when there is none."""
        ...

    async def fetch_kept(self, name: str, path: Path) -> bool:
        """Fetch a file that an execution of this task kept; whether there was one."""
        ...

    async def forget_kept(self, name: str) -> None:
        """Remove a file that was kept; there need not be one."""
        ...

    def encrypt(self, text: str, name: str) -> dict[str, Any]:
        """The form in which a secret text may stand among the outputs, under `name`; it is masked from now on.

        Raises TaskFailed when no key is configured.
        """
        ...

    async def evaluate(self, template: Any, *, typed: bool = True) -> Any:
        """`render_typed`, or `render_nested`, for coroutines: what may take long is rendered in a thread."""
        ...

    def call(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Run one of the async methods from a task that runs in a thread, and wait for its result."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more log lines; a task that writes many calls it now and then."""
        ...

    @property
    def platform(self) -> Platform:
        """The key-value store, namespace files and executions of the task's tenant."""
        ...

    @property
    def outbound(self) -> OutboundRules:
        """Where requests of the task may go; everywhere in a worker that nothing stands around."""
        ...

    def add_secret(self, value: str) -> None:
        """Have `value` masked in all log lines of this task run from now on."""
        ...

    def masked_stream(self) -> MaskedStream:
        """For a text that is logged in pieces, so that a secret is found across two of them."""
        ...

    def on_kill(self, callback: Callable[[], object]) -> None:
        """Call `callback()`, in a thread, when the run is killed, its time is over, or the worker stops."""
        ...


class RunnableTask(Task):
    """A task that a worker runs.

    `mode` says where `run` is called: "inline" for what takes microseconds and never waits, "async" for a coroutine
    on the worker's event loop, "thread" for what blocks.
    """

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    uses_files: ClassVar[bool] = False  # the working directory is there before `run`, not made on first use

    def run(self, context: RunContext) -> Any:
        """Run one attempt; gives its outputs as a mapping (or an awaitable of one when `mode` is "async").

        Raises TaskFailed with a message for people; any other exception fails the attempt too, with its text.
        Raises TaskWarning when it ends with WARNING; the outputs are in the exception.
        """
        raise NotImplementedError


class TaskTemplate(RunnableTask):
    """A task that is written as text: the worker renders `spec`, reads the task in it, and runs that in its place."""

    uses_files: ClassVar[bool] = True

    spec: Annotated[
        str,
        Field(
            title="The task as YAML",
            description="A template. `id` may be left out; the properties that say when and where a task runs stand "
            "beside `spec`.",
        ),
    ]
