"""Outputs of executions and of task runs, for clients whose Execution does not carry them (API 2.0)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.execution_documents import header_of, key_of, run_of, runs_of
from flowtide.api.problems import not_found
from flowtide.model.offload import has_offloaded


async def of_execution(request: web.Request) -> web.StreamResponse:
    """The outputs of the flow."""
    header = await header_of(request, key_of(request))
    return json_answer(header.get("outputs") or {})


async def task_runs(request: web.Request) -> web.StreamResponse:
    """The task runs that have outputs."""
    key = key_of(request)
    await header_of(request, key)
    answer = []
    async for run in runs_of(request, key):
        if run.get("outputs"):
            shown: dict[str, Any] = {
                "taskId": run["taskId"],
                "taskRunId": run["id"],
                "inline": not has_offloaded(run["outputs"]),
            }
            for name in ("value", "iteration"):
                if run.get(name) is not None:
                    shown[name] = run[name]
            answer.append(shown)
    return json_answer(answer)


async def of_task_run(request: web.Request) -> web.StreamResponse:
    """The outputs of one task run."""
    key = key_of(request)
    await header_of(request, key)
    run_id = request.match_info["taskRunId"]
    run = await run_of(request, key, run_id)
    if run is None:
        raise not_found(f"the task run {run_id[:256]} of the execution {key.execution_id}")
    return json_answer(run.get("outputs") or {})
