"""Single tasks of a flow: read, replaced in its source, and what expressions can name there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import parse_json, read_text
from flowtide.api.flows import find_flow, parse, save
from flowtide.api.parameters import integer, segment
from flowtide.api.problems import Problem, not_found
from flowtide.model.documents import DocumentError, read_document
from flowtide.model.flow import Flow
from flowtide.model.source_edits import with_task
from flowtide.model.task import FlowableTask, Task

_LONGEST_ID = 256
_ALWAYS = (
    "flow.id", "flow.namespace", "flow.revision", "flow.tenantId", "execution.id", "execution.startDate",
    "execution.originalId", "execution.state", "task.id", "task.type", "taskrun.id", "taskrun.startDate",
    "taskrun.attemptsCount",
)  # fmt: skip  # reads better as a paragraph
_IN_LOOPS = ("taskrun.value", "taskrun.iteration", "parent", "parents")


async def get_task(request: web.Request) -> web.StreamResponse:
    """One task of a flow, as it was written."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    saved = find_flow(request, namespace, flow_id, integer(request, "revision", least=1))
    task_id = request.match_info["taskId"]
    task = saved.flow.tasks_by_id.get(task_id)
    if task is None:
        raise _no_task(namespace, flow_id, task_id)
    return json_answer(task.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True))


async def update_task(request: web.Request) -> web.StreamResponse:
    """Replace one task of a flow; the rest of its source stays as it is written (deprecated: save the source)."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    task_id = request.match_info["taskId"]
    saved = find_flow(request, namespace, flow_id)
    task = await _task(request)
    if task.get("id") != task_id:
        raise Problem(422, f"the task must keep its id `{task_id[:_LONGEST_ID]}`")
    try:
        source = with_task(saved.source, task_id, task)
    except LookupError:
        raise _no_task(namespace, flow_id, task_id) from None
    flow = (await parse(request, source)).valid()
    answer = await save(request, flow, source, saved.revision)
    answer.pop("source", None)
    return json_answer(answer)


async def _task(request: web.Request) -> dict[str, Any]:
    text = await read_text(request)
    if "yaml" in request.content_type:
        try:
            value = read_document(text).value
        except DocumentError as error:
            raise Problem(400, f"the task cannot be read: {error.message}") from None
    else:
        value = parse_json(text.encode())
    if not isinstance(value, dict):
        raise Problem(400, "the body must be a task, an object with `id` and `type`")
    return value


def _no_task(namespace: str, flow_id: str, task_id: str) -> Problem:
    return not_found(f"the task `{task_id[:_LONGEST_ID]}` of the flow {namespace}/{flow_id}")


async def expressions(request: web.Request) -> web.StreamResponse:
    """What expressions of a flow, which need not be saved, can name; with `taskId` at that task."""
    flow = (await parse(request, await read_text(request))).valid()
    task_id = request.query.get("taskId") or None
    if task_id is not None and task_id not in flow.tasks_by_id:
        raise _no_task(flow.namespace, flow.id, task_id)
    return json_answer(list(dict.fromkeys(_names(flow, task_id))))


def _names(flow: Flow, task_id: str | None) -> Iterator[str]:
    yield from _ALWAYS
    if task_id is not None and _is_inside(flow, task_id):
        yield from _IN_LOOPS
    for each in flow.inputs:
        yield _path("inputs", each.id)
    for name in flow.variables:
        yield _path("vars", name)
    for label in flow.labels:
        yield _path("labels", label.key)
    if flow.triggers:
        yield "trigger"
    for task in flow.all_tasks():
        if task.id == task_id:
            break  # what comes after it has no outputs yet
        if not isinstance(task, FlowableTask):
            yield _path("outputs", task.id)
        yield _path("tasks", task.id) + ".state"


def _is_inside(flow: Flow, task_id: str) -> bool:
    return any(
        task_id == inner.id
        for task in flow.all_tasks()
        if isinstance(task, FlowableTask)
        for inner in _children(task)
    )


def _children(task: FlowableTask) -> Iterator[Task]:
    for branch in (*task.branches().values(), task.errors, task.finally_):
        yield from branch


def _path(root: str, name: str) -> str:
    """As an expression writes it: names with hyphens and the like stand in brackets."""
    return f"{root}.{name}" if name.replace("_", "a").isalnum() else f"{root}['{name}']"
