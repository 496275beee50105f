"""Why not yet: what an execution, one of its tasks or a task run waits for, nearest first.

Read from how things stand now and from the flow; each wait says its `kind`, a sentence, and the numbers in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.execution_documents import header_of, key_of, run_of
from flowtide.api.keys import CATALOG, INDEX
from flowtide.api.problems import Problem, not_found
from flowtide.index.queries import AllOf, Filter, Match, Operation, Query, Sort, Terms
from flowtide.log.keys import ExecutionKey
from flowtide.model.flow import Flow
from flowtide.model.flowables import Dag, Parallel
from flowtide.model.states import TERMINAL
from flowtide.model.task import FlowableTask, Task

Document = dict[str, Any]
_OVER = frozenset(state.value for state in TERMINAL)
_DEEPEST = 50
_NAMED = 20  # tasks that a wait names at most


async def waits(request: web.Request) -> web.StreamResponse:
    """What the execution waits for, or its task run `taskRunId`, or its task `taskId` that has not begun."""
    key = key_of(request)
    header = await header_of(request, key)
    saved = request.app[CATALOG].flow(
        key.tenant, header["namespace"], header["flowId"], header["flowRevision"]
    )
    asked = _Asked(request, key, header, None if saved is None else saved.flow)
    run_id, task_id = request.query.get("taskRunId"), request.query.get("taskId")
    found = await asked.of_execution()
    if header["state"]["current"] in _OVER:
        return json_answer([])
    if run_id:
        run = await run_of(request, key, run_id)
        if run is None:
            raise not_found(f"the task run {run_id[:256]} of the execution {key.execution_id}")
        found = [*await asked.of_run(run), *found]
    elif task_id:
        if asked.flow is None or task_id not in asked.flow.tasks_by_id:
            raise not_found(f"the task {task_id[:256]} of the flow {header['namespace']}.{header['flowId']}")
        within = request.query.get("parentTaskRunId")
        found = [*await asked.of_task(task_id, within), *found]
    return json_answer(found)


def _wait(kind: str, message: str, **numbers: Any) -> Document:
    return {"kind": kind, "message": message, **{k: v for k, v in numbers.items() if v is not None}}


class _Asked:
    """One question, and what it is answered from."""

    def __init__(self, request: web.Request, key: ExecutionKey, header: Document, flow: Flow | None) -> None:
        self.flow = flow
        self._request, self._key, self._header = request, key, header

    async def of_execution(self) -> list[Document]:
        """What holds the whole execution."""
        state = self._header["state"]["current"]
        if state == "QUEUED":
            return [await self._slot()]
        if state == "PAUSED":
            return [_wait("resume", "the execution is paused until it is resumed")]
        if state == "BREAKPOINT":
            return [
                _wait("breakpoint", "the execution stands at a breakpoint until it is resumed from there")
            ]
        if state == "RETRYING":
            return [_wait("retry", "the execution failed and is tried again by the flow's `retry`")]
        if state == "KILLING":
            return [_wait("kill", "the execution is being ended; nothing more is started")]
        if state == "CREATED":
            return [_wait("executor", "the execution was created, and an executor takes it up next")]
        return []

    async def _slot(self) -> Document:
        own = [
            Match("namespace", Operation.EQUALS, self._header["namespace"]),
            Match("flowId", Operation.EQUALS, self._header["flowId"]),
        ]
        start = self._header["state"]["startDate"]
        before = [
            Match("state", Operation.EQUALS, "QUEUED"),
            Match("startDate", Operation.LESS_THAN, start),
        ]
        index = self._request.app[INDEX]
        position = 1 + await index.count(self._key.tenant, "executions", AllOf((*own, *before)))
        limit = None if self.flow is None or self.flow.concurrency is None else self.flow.concurrency.limit
        if limit is None:
            message = f"number {position} in the queue for a slot of the flow's concurrency limit"
        else:
            message = f"number {position} in the queue for {limit} slots of the flow's concurrency limit"
        return _wait("slot", message, position=position, limit=limit)

    async def of_run(self, run: Document) -> list[Document]:
        """What a task run waits for."""
        state, task_id = run["state"]["current"], run["taskId"]
        if state in _OVER:
            return []
        if state == "CREATED":
            return [_wait("execution", f"`{task_id}` begins when the execution goes on", taskId=task_id)]
        if state == "SUBMITTED":
            return [_wait("worker", f"`{task_id}` was handed out and waits for a worker", taskId=task_id)]
        if state == "RETRYING":
            attempts = len(run["attempts"])
            message = f"attempt {attempts} of `{task_id}` failed; the next one is due {run.get('due', 'now')}"
            return [_wait("retry", message, taskId=task_id, due=run.get("due"), attempts=attempts)]
        if state == "PAUSED":
            until = f" or {run['due']}" if run.get("due") else ""
            message = f"`{task_id}` waits until it is resumed{until}"
            return [_wait("resume", message, taskId=task_id, due=run.get("due"))]
        if state == "BREAKPOINT":
            return [_wait("breakpoint", f"`{task_id}` stands at a breakpoint", taskId=task_id)]
        if run.get("childId"):
            message = f"`{task_id}` waits for the execution {run['childId']}"
            return [_wait("execution", message, taskId=task_id, executionId=run["childId"])]
        return await self._children(run)

    async def _children(self, run: Document) -> list[Document]:
        inside = Match("parentTaskRunId", Operation.EQUALS, run["id"])
        states = await self._states((inside,))
        if not states:
            return []
        total, over = states.total(), sum(states[each] for each in _OVER)
        if over == total:
            return []
        task_id = run["taskId"]
        message = f"`{task_id}` waits for {total - over} of the {total} task runs that it started"
        return [
            _wait(
                "children",
                message,
                taskId=task_id,
                open=total - over,
                total=total,
                states=dict(sorted(states.items())),
                iterations=run.get("iterations"),
            )
        ]

    async def _states(self, parts: tuple[Filter, ...]) -> Counter[str]:
        own = Match("executionId", Operation.EQUALS, self._key.execution_id)
        buckets = await self._request.app[INDEX].aggregate(
            self._key.tenant, "task_runs", filter=AllOf((own, *parts)), groups=[Terms("state.current")]
        )
        return Counter({str(bucket.keys[0]): bucket.count for bucket in buckets})

    async def _runs(self, task_ids: Sequence[str], within: str | None) -> dict[str, Document]:
        """The latest task run of each of these tasks, inside one task run or in the execution itself."""
        place = (
            Match("parentTaskRunId", Operation.IS_NULL)
            if within is None
            else Match("parentTaskRunId", Operation.EQUALS, within)
        )
        own = Match("executionId", Operation.EQUALS, self._key.execution_id)
        named = Match("taskId", Operation.IN, list(task_ids))
        query = Query(
            kind="task_runs",
            filter=AllOf((own, place, named)),
            sort=(Sort("order", True),),
            size=1_000,
            count=False,
        )
        found: dict[str, Document] = {}
        for each in (await self._request.app[INDEX].search(self._key.tenant, query)).results:
            document = each.document
            found.setdefault(document["taskId"], document)
        return found

    async def of_task(self, task_id: str, within: str | None, depth: int = 0) -> list[Document]:
        """What a task waits for that has not begun; `within` is the task run around it, where that is known."""
        assert self.flow is not None
        if depth > _DEEPEST:
            return []
        around, branch, tasks = _place(self.flow, task_id)
        if around is not None and within is None:
            runs = await self._latest(around.id)
            if runs is None or runs["state"]["current"] in _OVER:
                first = _wait(
                    "parent",
                    f"`{task_id}` begins inside `{around.id}`, which has not begun",
                    taskId=around.id,
                )
                if runs is not None:
                    return []  # its parent is over: it is not reached any more
                return [first, *await self.of_task(around.id, None, depth + 1)]
            within = runs["id"]
        if branch in ("errors", "finally", "afterExecution"):
            what = {
                "errors": "when a task fails",
                "finally": "when the tasks before are over",
                "afterExecution": "when the execution is over",
            }[branch]
            return [_wait("phase", f"`{task_id}` stands in `{branch}` and begins {what}", branch=branch)]
        if isinstance(around, Dag):
            return await self._dependencies(around, task_id, within)
        if isinstance(around, Parallel):
            return await self._place(around, task_id, within)
        ids = [task.id for task in tasks if not task.disabled]
        before = ids[: ids.index(task_id)] if task_id in ids else []
        if not before:
            return []
        runs_before = await self._runs(before, within)
        waited = next(
            (
                each
                for each in before
                if each not in runs_before or runs_before[each]["state"]["current"] not in _OVER
            ),
            None,
        )
        if waited is None:
            return []
        run = runs_before.get(waited)
        state = "not begun" if run is None else run["state"]["current"]
        first = _wait(
            "task",
            f"`{task_id}` waits for `{waited}` ({state})",
            taskId=waited,
            taskRunId=None if run is None else run["id"],
            state=None if run is None else state,
        )
        return [first, *([] if run is None else await self.of_run(run))]

    async def _latest(self, task_id: str) -> Document | None:
        query = Query(
            kind="task_runs",
            filter=AllOf(
                (
                    Match("executionId", Operation.EQUALS, self._key.execution_id),
                    Match("taskId", Operation.EQUALS, task_id),
                )
            ),
            sort=(Sort("order", True),),
            size=1,
            count=False,
        )
        found = (await self._request.app[INDEX].search(self._key.tenant, query)).results
        return found[0].document if found else None

    async def _dependencies(self, around: Dag, task_id: str, within: str | None) -> list[Document]:
        needed = sorted(around.dependencies.get(task_id, frozenset()))
        runs = await self._runs(needed, within)
        waiting = [each for each in needed if each not in runs or runs[each]["state"]["current"] not in _OVER]
        if not waiting:
            return await self._place(around, task_id, within)
        message = f"`{task_id}` waits for {len(waiting)} of {len(needed)} tasks of `{around.id}`: "
        message += ", ".join(waiting[:_NAMED])
        return [
            _wait(
                "tasks",
                message,
                taskId=around.id,
                waiting=waiting[:_NAMED],
                open=len(waiting),
                total=len(needed),
            )
        ]

    async def _place(self, around: Dag | Parallel, task_id: str, within: str | None) -> list[Document]:
        if not around.concurrent:
            return []
        inside = [] if within is None else [Match("parentTaskRunId", Operation.EQUALS, within)]
        states = await self._states((*inside, Match("state", Operation.NOT_IN, sorted(_OVER))))
        message = f"`{task_id}` waits for one of the {around.concurrent} places of `{around.id}`"
        return [_wait("place", message, taskId=around.id, limit=around.concurrent, running=states.total())]


def _place(flow: Flow, task_id: str) -> tuple[FlowableTask | None, str, Sequence[Task]]:
    """The flowable task around a task, the name of the list that it stands in, and that list."""
    for branch, tasks in (
        ("tasks", flow.tasks),
        ("errors", flow.errors),
        ("finally", flow.finally_),
        ("afterExecution", flow.after_execution),
    ):
        if any(task.id == task_id for task in tasks):
            return None, branch, tasks
    for task in flow.all_tasks():
        if isinstance(task, FlowableTask):
            for branch, tasks in {**task.branches(), "errors": task.errors, "finally": task.finally_}.items():
                if any(inner.id == task_id for inner in tasks):
                    return task, branch, tasks
    raise Problem(422, f"`{task_id[:256]}` stands in a listener, which begins when the execution is over")
