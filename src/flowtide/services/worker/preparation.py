"""Jobs made ready to run: the bytes of a job come in, a validated task and its variables go out.

The same task of a flow's revision is sent with every run, so the validated task is kept by its bytes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from flowtide.errors import TaskFailed, Violation
from flowtide.model.directories import DirectoryTask
from flowtide.model.documents import DocumentError, read_document
from flowtide.model.jobs import Evaluate, RunTask
from flowtide.model.plugin import Registry
from flowtide.model.source import violations_of
from flowtide.model.task import RunnableTask, TaskTemplate
from flowtide.services.worker.templates import is_cheap

_KEPT_TASKS: Final = 2_000
_LARGEST_KEPT_BYTES: Final = 64 * 1024
_OBJECT_DECODER: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task as it will run, for all runs of the same bytes."""

    task: RunnableTask
    document: dict[str, Any]  # as it was sent, to find which property a template came from
    type_name: str
    inline: bool  # it takes microseconds and may run on the event loop at once
    severity: int  # log lines below are dropped (`logLevel`, TSK-09)


class Preparation:
    """Turns jobs into what runs.  To be used on the event loop's thread."""

    def __init__(self, registry: Registry, *, recursive_rendering: bool) -> None:
        self._registry = registry
        self._recursive = recursive_rendering
        self._kept: OrderedDict[bytes, PreparedTask] = OrderedDict()

    def known(self, job: RunTask) -> PreparedTask | None:
        """The validated task of a job when the same bytes were validated before."""
        content = bytes(job.task)
        kept = self._kept.get(content)
        if kept is not None:
            self._kept.move_to_end(content)
        return kept

    async def task(self, job: RunTask) -> PreparedTask:
        """Validate the task of a job; in a thread, because its plugin may have to be imported first.

        Raises TaskFailed when this worker cannot run it.
        """
        content = bytes(job.task)
        prepared = await asyncio.to_thread(self._prepared, content)
        if len(content) <= _LARGEST_KEPT_BYTES:
            self._kept[content] = prepared
            if len(self._kept) > _KEPT_TASKS:
                self._kept.popitem(last=False)
        return prepared

    def _prepared(self, content: bytes) -> PreparedTask:
        try:
            document = _OBJECT_DECODER.decode(content)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise TaskFailed(f"the job's task is no JSON object: {error}") from None
        name = document.get("type")
        found = self._registry.find("task", name) if isinstance(name, str) else None
        if found is None:
            raise TaskFailed(
                f"this worker has no task of type `{name}`; install its plugin and restart the worker"
            )
        if issubclass(found, DirectoryTask):
            found = found.block
        if not issubclass(found, RunnableTask):
            raise TaskFailed(f"the task type `{name}` is not one that a worker runs")
        try:
            task = found.model_validate(document, context={"registry": self._registry})
        except ValidationError as error:
            raise TaskFailed(f"the task is not valid on this worker: {_first_problem(error)}") from None
        return PreparedTask(
            task=task,
            document=document,
            type_name=self._registry.current_name("task", str(name)),
            inline=task.mode == "inline"
            and (task.task_cache is None or not task.task_cache.enabled)
            and not task.log_to_file
            and not self._recursive
            and is_cheap({key: value for key, value in document.items() if key != "description"}),
            severity=0 if task.log_level is None else task.log_level.severity,
        )

    async def templated(self, text: str, template: PreparedTask) -> PreparedTask:
        """The task in the rendered text of a TaskTemplate; in a thread, as above.  Raises TaskFailed."""
        return await asyncio.to_thread(self._templated, text, template)

    def _templated(self, text: str, template: PreparedTask) -> PreparedTask:
        try:
            read = read_document(text)
        except DocumentError as error:
            raise TaskFailed(_of_spec(error.violations)) from None
        document = read.value
        if not isinstance(document, dict):
            raise TaskFailed("property `spec`: must be a task, a mapping with a `type`")
        elsewhere = sorted(_NOT_IN_TEMPLATES & document.keys())
        if elsewhere:
            line, column = read.place(elsewhere[:1])
            message = "stands beside `spec`, and not in it"
            raise TaskFailed(
                _of_spec([Violation(path=elsewhere[0], message=message, line=line, column=column)])
            )
        document = {"id": template.task.id, **document}
        name = document.get("type")
        found = self._registry.find("task", name) if isinstance(name, str) else None
        line, column = read.place(["type"])
        problem: str | None = None
        if not isinstance(name, str):
            problem = "needs a `type`, the full name of a task"
        elif found is None:
            problem = f"there is no task of type `{name}` on this worker"
        elif not issubclass(found, RunnableTask):
            problem = f"the task type `{name}` is not one that a worker runs"
        elif issubclass(found, TaskTemplate):
            problem = f"the task type `{name}` cannot stand in the text of another one"
        if problem is not None or found is None or not issubclass(found, RunnableTask):
            raise TaskFailed(
                _of_spec([Violation(path="type", message=str(problem), line=line, column=column)])
            )
        try:
            task = found.model_validate(document, context={"registry": self._registry})
        except ValidationError as error:
            # The document that was read knows the lines; an `id` that was added cannot be what is wrong.
            errors = error.errors(include_url=False)
            raise TaskFailed(_of_spec(violations_of(errors, read, self._registry))) from None
        return PreparedTask(
            task=task,
            document=document,
            type_name=self._registry.current_name("task", str(name)),
            inline=False,
            severity=template.severity if task.log_level is None else task.log_level.severity,
        )


_NOT_IN_TEMPLATES: Final = frozenset(
    {
        "allowFailure",
        "allowWarning",
        "disabled",
        "logToFile",
        "retry",
        "runIf",
        "taskCache",
        "version",
        "workerGroup",
    }
)
"""What is decided before the text of a TaskTemplate is rendered."""


def _of_spec(violations: Sequence[Violation]) -> str:
    return "property `spec`: " + "; ".join(str(violation) for violation in violations)


def variables_of(job: RunTask | Evaluate, base: dict[str, Any]) -> dict[str, Any]:
    """The root variables of a job, on top of those of the worker.  Raises TaskFailed for what is no JSON object."""
    try:
        sent = _OBJECT_DECODER.decode(job.variables)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise TaskFailed(f"the job's variables are no JSON object: {error}") from None
    variables = {**base, **sent}
    # What the job itself knows is there even when the executor found no template that names it.
    if "flow" not in sent:
        flow = job.flow
        variables["flow"] = {
            "id": flow.id,
            "namespace": flow.namespace,
            "revision": flow.revision,
            "tenantId": job.tenant_id,
        }
    if "execution" not in sent:
        variables["execution"] = {"id": job.execution_id}
    if isinstance(job, RunTask) and "taskrun" not in sent:
        run: dict[str, Any] = {"id": job.run_id, "attemptsCount": job.attempt}
        if job.parent_run_id is not None:
            run["parentId"] = job.parent_run_id
        if job.value is not None:
            run["value"] = job.value
        variables["taskrun"] = run
    return variables


def property_of(document: Any, template: str, path: str = "") -> str | None:
    """Where in a task a template stands, such as `env.URL`; None when it stands nowhere."""
    if isinstance(document, str):
        return path if document == template else None
    items: Any = ()
    if isinstance(document, dict):
        items = ((f"{path}.{key}" if path else str(key), child) for key, child in document.items())
    elif isinstance(document, list):
        items = ((f"{path}[{index}]", child) for index, child in enumerate(document))
    for place, child in items:
        found = property_of(child, template, place)
        if found is not None:
            return found
    return None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place or 'task'}: {problem['msg']}"
