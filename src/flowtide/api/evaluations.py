"""Expressions that people try out on an execution (E080): a template in, what it renders to or its error out.

The template sees what a task run of the execution sees.  Secrets are not shown to whoever asks (C, U02), and no
requests are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_body
from flowtide.api.ended_executions import past_of, watched
from flowtide.api.execution_documents import key_of
from flowtide.api.flows import find_flow
from flowtide.api.keys import CLOCK, PLATFORMS, STORAGE
from flowtide.api.problems import Problem, not_found
from flowtide.engine.execution import Execution, Run
from flowtide.engine.plan import Plan
from flowtide.engine.variables import selected, variables_of
from flowtide.errors import FlowtideError, SecretInvalid
from flowtide.expressions import Limits, Scope, compile_template, references_of
from flowtide.log.keys import ExecutionKey
from flowtide.model.services import ServiceType
from flowtide.secrets import Secrets
from flowtide.services.worker.outputs import resolve_outputs
from flowtide.storage import ExecutionFolder

_LONGEST_BYTES: Final = 64 * 1024
_LIMITS: Final = Limits(
    output_characters=1024 * 1024,
    allocated_characters=16 * 1024 * 1024,
    elements=100_000,
    time_budget=timedelta(seconds=2),
    regex_timeout=timedelta(seconds=1),
)
_PATIENCE_SECONDS: Final = 10.0  # of a rendering with input and output
_LONGEST_ID: Final = 256


class _NoSecrets(Secrets):
    """Shows none."""

    def find(self, *, tenant_id: str, namespace: str, name: str, subkey: str | None = None) -> str:
        raise SecretInvalid("secret() is not evaluated here: secrets are shown to tasks only")


async def evaluate(request: web.Request) -> web.StreamResponse:
    """Render an expression with the variables of an execution."""
    return await _evaluated(request, None)


async def evaluate_at_task_run(request: web.Request) -> web.StreamResponse:
    """Render an expression with the variables that a task run sees."""
    return await _evaluated(request, request.match_info["taskRunId"])


async def _evaluated(request: web.Request, run_id: str | None) -> web.StreamResponse:
    key = key_of(request)
    body = await read_body(request, _LONGEST_BYTES)
    try:
        source = body.decode()
    except UnicodeDecodeError:
        raise Problem(400, "the expression must be UTF-8") from None
    async with watched(request, key, over=False) as live:
        past = await past_of(request, key, live, closed=False)
    state = past.state
    state.runs = {**state.past, **state.runs}
    run = None if run_id is None else state.runs.get(run_id)
    if run_id is not None and run is None:
        raise not_found(f"the task run {run_id[:_LONGEST_ID]} of the execution {key.execution_id}")
    head = state.head
    saved = find_flow(request, head.namespace, head.flow_id, head.flow_revision)
    namespaces = request.app[PLATFORMS].namespaces(key.tenant)
    plan = Plan(
        saved.flow,
        tenant=key.tenant,
        revision=saved.revision,
        namespace_variables=namespaces.variables(head.namespace),
    )
    try:
        result = await _rendered(request, key, source, state, plan, run)
    except FlowtideError as error:
        return json_answer({"error": error.message})
    except TimeoutError:
        return json_answer({"error": "the expression takes too long"})
    return json_answer({"result": result})


async def _rendered(
    request: web.Request, key: ExecutionKey, source: str, state: Execution, plan: Plan, run: Run | None
) -> str:
    """Raises FlowtideError, TimeoutError."""
    template = compile_template(source)
    head = state.head
    folder = ExecutionFolder(head.namespace, head.flow_id, key.execution_id)
    variables = selected(
        variables_of(state, plan, None if run is None else plan.tasks[run.task_id], run),
        references_of(source),
    )
    await resolve_outputs(
        variables, tenant_id=key.tenant, folder=folder, ancestors=(), storage=request.app[STORAGE]
    )
    platforms = request.app[PLATFORMS]
    files = platforms.readable_files(key.tenant, folder, service=ServiceType.WEBSERVER)
    functions: dict[str, Callable[..., Any]] = {
        **platforms.functions(key.tenant, folder, files, secrets=_NoSecrets(), service=ServiceType.WEBSERVER),
        "http": _no_requests,
    }
    scope = Scope(variables, functions=functions, now=request.app[CLOCK], limits=_LIMITS)
    return await asyncio.wait_for(asyncio.to_thread(template.render, scope), _PATIENCE_SECONDS)


def _no_requests(*arguments: Any, **named: Any) -> Any:
    raise FlowtideError("http() is not evaluated here: requests are sent by tasks only")
