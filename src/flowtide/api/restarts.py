"""Executions that go on after their end: restart, change of a task run's state, change of status (RTY-10).

The executor has forgotten an execution that is over.  So its events are read from the index and folded here, the
state goes to the executor in portions, and the command that restarts it follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from flowtide.api.answers import raw_answer
from flowtide.api.bodies import read_json
from flowtide.api.ended_executions import (
    effect,
    execution_key,
    for_ids,
    for_query,
    past_of,
    send,
    watched,
)
from flowtide.api.flows import find_flow
from flowtide.api.keys import CATALOG, CLOCK, INDEX, LIVE_VIEW
from flowtide.api.parameters import integer, user
from flowtide.api.problems import Problem, not_found
from flowtide.engine.plan import Plan
from flowtide.engine.reopening import Kind, Lost, Reopening
from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import AmendExecution, RestartExecution
from flowtide.model.flowables import Subflow
from flowtide.model.states import TERMINAL, State
from flowtide.services.past import Past

_FAILED = frozenset({State.FAILED, State.KILLED, State.CANCELLED})
_ENDS = frozenset({State.SUCCESS, State.WARNING, State.FAILED, State.KILLED, State.CANCELLED, State.SKIPPED})
_AGAIN = frozenset({State.RUNNING, State.RESTARTED, State.CREATED, State.SUBMITTED})
_MOST_CHILDREN = 1_000
"""Child executions restarted in place with their parent; the parent starts others anew."""

_NOT_FAILED = "has not failed but ended {state}; only what failed or was killed can be restarted"


def _is_failed(state: str) -> bool:
    return state in _FAILED


def _is_over(state: str) -> bool:
    return state in TERMINAL


# --- restart -----------------------------------------------------------------------------------------------------


async def restart(request: web.Request) -> web.StreamResponse:
    """Run what failed again, in the same execution; `revision` names another revision of the flow."""
    key = execution_key(request)
    return await _restarted(request, key, revision=integer(request, "revision", least=1))


async def restart_by_ids(request: web.Request) -> web.StreamResponse:
    """Restart the executions of these ids."""
    return await for_ids(request, _restart_one, allowed=_is_failed, refusal=_NOT_FAILED)


async def restart_by_query(request: web.Request) -> web.StreamResponse:
    """Restart the executions that filters find, those that failed."""
    return await for_query(request, _restart_one, allowed=_is_failed)


async def _restart_one(request: web.Request, key: ExecutionKey) -> None:
    await _restarted(request, key)


async def _restarted(
    request: web.Request,
    key: ExecutionKey,
    *,
    revision: int | None = None,
    target: str | None = None,
    becomes: State | None = None,
) -> web.StreamResponse:
    """Restore, restart, wait for the effect.  Raises Problem 404, 409, 422, 503."""
    async with watched(request, key) as live:
        if target is None and live.state not in _FAILED:
            raise Problem(409, f"the execution {key.execution_id} {_NOT_FAILED.format(state=live.state)}")
        past = await past_of(request, key, live)
        document = past.document
        saved = find_flow(
            request, document["namespace"], document["flowId"], revision or document["flowRevision"]
        )
        plan = Plan(saved.flow, tenant=key.tenant, revision=saved.revision)
        try:
            resumes = await _restore_children(request, key.tenant, past, plan, target, [])
        except Lost as error:
            raise Problem(422, f"the execution cannot be restarted: {error}") from None
        except KeyError:
            raise not_found(f"the task run {str(target)[:100]} of the execution {key.execution_id}") from None
        now = request.app[CLOCK]()
        before = live.causes["RestartExecution"]
        request.app[LIVE_VIEW].keep(live)
        command = RestartExecution(
            at=now,
            by=user(request),
            next_event=past.next_event,
            pieces=len(past.pieces),
            flow_revision=revision,
            target=target,
            becomes=becomes,
            resumes=resumes,
        )
        await send(request, key, [*past.commands(now), command])
        # The command is on the log for good; an executor that takes over from a dead one may take longer.
        await effect(request, live, "RestartExecution", before)
        return raw_answer(live.body or b"{}")


async def _restore_children(
    request: web.Request, tenant: str, past: Past, plan: Plan, target: str | None, known: list[str]
) -> list[str]:
    """Make the executor know the failed children that are restarted with their parent, and theirs (SUB-08).

    Gives their ids, added to `known`.  Raises Lost, KeyError.
    """
    wanted: list[str] = []
    for step in Reopening(past.state, plan, target).steps():
        if step.kind is not Kind.AGAIN or step.run.child_id is None:
            continue
        task = plan.task(step.run.task_id).task
        if isinstance(task, Subflow) and task.restart_behavior == "RETRY_FAILED":
            wanted.append(step.run.child_id)
    for child_id in wanted:
        if len(known) >= _MOST_CHILDREN or child_id in known:
            continue
        found = await request.app[INDEX].get("executions", tenant, child_id)
        if found is None or found.document["state"]["current"] not in _FAILED:
            continue
        child_key = ExecutionKey(tenant, child_id)
        document = found.document
        saved = request.app[CATALOG].flow(
            tenant, document["namespace"], document["flowId"], document["flowRevision"]
        )
        if saved is None:
            continue  # its flow is gone: the parent starts another one, or fails
        try:
            child = await past_of(request, child_key, None)
            child_plan = Plan(saved.flow, tenant=tenant, revision=saved.revision)
            await _restore_children(request, tenant, child, child_plan, None, known)
        except (Lost, Problem):
            continue  # likewise
        known.append(child_id)
        await send(request, child_key, list(child.commands(request.app[CLOCK]())))
    return known


# --- change of status --------------------------------------------------------------------------------------------


async def change_task_run(request: web.Request) -> web.StreamResponse:
    """Say what a task run ended as, and go on from there; RUNNING runs it again."""
    key = execution_key(request)
    body = await read_json(request)
    run_id = body.get("taskRunId") if isinstance(body, dict) else None
    if not isinstance(run_id, str) or not run_id:
        raise Problem(422, "the body must name the task run in `taskRunId` and its new state in `state`")
    state = _state("state", body.get("state"), _ENDS | _AGAIN)
    return await _restarted(request, key, target=run_id, becomes=state if state in _ENDS else None)


async def change_status(request: web.Request) -> web.StreamResponse:
    """Say what an execution ended as; nothing runs because of it."""
    key = execution_key(request)
    state = _state("status", request.query.get("status"), TERMINAL_EXECUTION)
    return await amended(request, key, state=state)


async def change_status_by_ids(request: web.Request) -> web.StreamResponse:
    """Say what the executions of these ids ended as."""
    state = _state("newStatus", request.query.get("newStatus"), TERMINAL_EXECUTION)

    async def change(request: web.Request, key: ExecutionKey) -> None:
        await amended(request, key, state=state)

    return await for_ids(request, change, allowed=_is_over, refusal="is not over but {state}")


async def change_status_by_query(request: web.Request) -> web.StreamResponse:
    """Say what those executions ended as that filters find and that are over."""
    state = _state("newStatus", request.query.get("newStatus"), TERMINAL_EXECUTION)

    async def change(request: web.Request, key: ExecutionKey) -> None:
        await amended(request, key, state=state)

    return await for_query(request, change, allowed=_is_over)


TERMINAL_EXECUTION = TERMINAL - {State.SKIPPED, State.RESUBMITTED}


def _state(name: str, given: Any, allowed: frozenset[State]) -> State:
    if isinstance(given, str) and given in allowed:
        return State(given)
    known = ", ".join(sorted(allowed))
    raise Problem(422, f"`{name}` must be one of {known}")


async def amended(
    request: web.Request, key: ExecutionKey, *, state: State | None = None, labels: Sequence[Any] = ()
) -> web.StreamResponse:
    """Change what is told of an execution that is over.  Raises Problem 404, 409."""
    async with watched(request, key) as live:
        for _ in range(_TRIES):
            before = live.causes["AmendExecution"]
            request.app[LIVE_VIEW].keep(live)
            command = AmendExecution(
                at=request.app[CLOCK](),
                by=user(request),
                next_event=live.number + 1,
                labels=list(labels),
                state=state,
            )
            number = live.number
            await send(request, key, [command])
            if await effect(request, live, "AmendExecution", before):
                return raw_answer(live.body or b"{}")
            if live.number == number:
                break  # nobody was faster
        raise Problem(
            409,
            f"the execution {key.execution_id} was not changed: tasks of `afterExecution` may still run, or it "
            "goes on; look at it and try again",
        )


_TRIES = 3
