"""Replays: a new execution from an old one, from its start or from one of its task runs (RPL-01 to RPL-03)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flowtide.api.answers import raw_answer
from flowtide.api.bodies import read_form
from flowtide.api.ended_executions import execution_key, for_ids, for_query, past_of, send, watched
from flowtide.api.flows import find_flow
from flowtide.api.keys import CLOCK, LIVE_VIEW, NEW_IDENTIFIER, SITE
from flowtide.api.parameters import breakpoints, flag, integer, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.starts import flow_variables, place_files, put_files, resolved_inputs
from flowtide.engine.plan import Plan
from flowtide.engine.reopening import Lost
from flowtide.engine.replay import replay_fields, reused_portions
from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import AmendExecution, Command, CreateExecution
from flowtide.model.labels import REPLAYED
from flowtide.model.records import Label

_DISABLED = "Cannot execute a flow which is disabled"
_LONGEST_ID = 256


async def replay(request: web.Request) -> web.StreamResponse:
    """Create an execution from an old one, with its inputs; from `taskRunId` on, or from the start."""
    return await _replayed(
        request,
        execution_key(request),
        run_id=request.query.get("taskRunId") or None,
        revision=integer(request, "revision", least=1),
    )


async def replay_with_inputs(request: web.Request) -> web.StreamResponse:
    """Create an execution from an old one, with the inputs of a form; an empty form leaves the old ones."""
    if request.content_type != "multipart/form-data":
        raise Problem(422, "Required Body [inputs] not specified: send the inputs as multipart/form-data")
    return await _replayed(
        request,
        execution_key(request),
        run_id=request.query.get("taskRunId") or None,
        revision=integer(request, "revision", least=1),
        with_inputs=True,
    )


async def replay_by_ids(request: web.Request) -> web.StreamResponse:
    """Replay the executions of these ids from their start; with `latestRevision=true` with the flow as it is now."""
    return await for_ids(request, _replay_one, allowed=lambda state: True, refusal="")


async def replay_by_query(request: web.Request) -> web.StreamResponse:
    """Replay the executions that filters find from their start."""
    return await for_query(request, _replay_one, allowed=lambda state: True)


async def _replay_one(request: web.Request, key: ExecutionKey) -> None:
    await _replayed(request, key, latest=flag(request, "latestRevision"))


async def _replayed(
    request: web.Request,
    key: ExecutionKey,
    *,
    run_id: str | None = None,
    revision: int | None = None,
    latest: bool = False,
    with_inputs: bool = False,
) -> web.StreamResponse:
    """Create the new execution and wait until it is there.  Raises Problem 404, 422, 503."""
    async with watched(request, key, over=False) as live:
        past = await past_of(request, key, live, closed=False)
    past.state.end_all()
    head = past.state.head
    wanted = None if latest else revision or head.flow_revision
    saved = find_flow(request, head.namespace, head.flow_id, wanted)
    new_key = ExecutionKey(key.tenant, request.app[NEW_IDENTIFIER]())
    fields: dict[str, Any] = replay_fields(head)
    if with_inputs:
        fields.update(await _given_inputs(request, new_key, saved))
    now = request.app[CLOCK]()
    create = CreateExecution(
        at=now,
        by=user(request),
        namespace=head.namespace,
        flow_id=head.flow_id,
        flow_revision=saved.revision,
        breakpoints=breakpoints(request) or [],
        reuses=run_id is not None,
        error=_DISABLED if saved.flow.disabled else None,
        **fields,
    )
    commands: list[Command] = [create]
    if run_id is not None:
        plan = Plan(saved.flow, tenant=key.tenant, revision=saved.revision)
        try:
            commands += reused_portions(
                past.state, plan, run_id, new_key.execution_id, at=now, documents=past.task_runs
            )
        except Lost as error:
            raise Problem(422, f"the execution cannot be replayed from there: {error}") from None
        except KeyError:
            raise not_found(
                f"the task run {run_id[:_LONGEST_ID]} of the execution {key.execution_id}"
            ) from None
    if past.is_closed:
        # The old one tells that there is a newer one (LAB-09); that it does not in time keeps nobody.
        label = AmendExecution(
            at=now, by=user(request), next_event=past.next_event, labels=[Label(key=REPLAYED, value="true")]
        )
        if Label(key=REPLAYED, value="true") not in head.labels:
            await send(request, key, [label])
    view = request.app[LIVE_VIEW]
    async with view.watch(new_key, new=True) as live:
        view.keep(live)
        await send(request, new_key, commands)
        if not await live.until(lambda seen: seen.header is not None, request.app[SITE].answer_timeout):
            raise Problem(503, f"the replay {new_key.execution_id} was asked for, and is not there yet")
        return raw_answer(live.body or b"{}")


async def _given_inputs(request: web.Request, key: ExecutionKey, saved: Any) -> Mapping[str, Any]:
    """The inputs of the form, typed and completed by defaults; nothing when the form is empty."""
    async with read_form(request) as form:
        if not form.values and not form.files:
            return {}
        uris = place_files(form, key, saved.flow)
        variables = flow_variables(key, saved.flow, saved.revision)
        inputs = await resolved_inputs(request, saved.flow.inputs, form.values, variables)
        await put_files(request, form, key.tenant, uris)
    return {"inputs": inputs}
