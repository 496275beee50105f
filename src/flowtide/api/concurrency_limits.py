"""Concurrency limits: how many executions of each limited flow hold a slot, and their repair (page 458, CON-05)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_json
from flowtide.api.flows import find_flow
from flowtide.api.keys import CLOCK, INDEX, LOG
from flowtide.api.parameters import page, segment, tenant
from flowtide.api.problems import Problem
from flowtide.api.searches import flows_of
from flowtide.index.queries import AllOf, Match, Operation, Terms
from flowtide.log.keys import FlowKey
from flowtide.log.port import Message
from flowtide.model.flow_commands import ResetSlots
from flowtide.model.records import encode
from flowtide.model.states import TERMINAL, State
from flowtide.services.catalog import SavedFlow

_WITHOUT_SLOT = [
    state.value for state in State if state in TERMINAL or state in (State.CREATED, State.QUEUED)
]


async def search(request: web.Request) -> web.StreamResponse:
    """The flows with a concurrency limit, each with the executions that hold a slot, as the index knows them."""
    wanted = page(request)
    running = await _running(request)
    limited = [saved for saved in flows_of(request) if _is_limited(saved)]
    first = (wanted.number - 1) * wanted.size
    shown = [_limit(saved.key, running) for saved in limited[first : first + wanted.size]]
    return json_answer({"results": shown, "total": len(limited)})


async def update(request: web.Request) -> web.StreamResponse:
    """Free slots: those of executions that are gone and, with a lower `running`, of those that came first."""
    saved = find_flow(request, segment(request, "namespace"), segment(request, "flowId"))
    if not _is_limited(saved):
        raise Problem(422, f"the flow {saved.key.namespace}.{saved.key.flow_id} has no `concurrency`")
    body = await read_json(request)
    running = body.get("running") if isinstance(body, dict) else None
    if running is not None and (isinstance(running, bool) or not isinstance(running, int) or running < 0):
        raise Problem(422, "`running` must be a whole number, 0 or more")
    held = await _running(request)
    now = held.get((saved.key.namespace, saved.key.flow_id), 0)
    if running is not None and running > now:
        raise Problem(
            422, f"`running` can only be lowered: {now} executions hold a slot, and others cannot be made up"
        )
    reset = ResetSlots(at=request.app[CLOCK](), running=running)
    await request.app[LOG].append([Message(topic="flow_commands", key=str(saved.key), value=encode(reset))])
    answer = _limit(saved.key, held)
    if running is not None:
        answer["running"] = running
    return json_answer(answer)


def _limit(key: FlowKey, running: dict[tuple[str, str], int]) -> dict[str, Any]:
    return {
        "tenantId": key.tenant,
        "namespace": key.namespace,
        "flowId": key.flow_id,
        "running": running.get((key.namespace, key.flow_id), 0),
    }


def _is_limited(saved: SavedFlow) -> bool:
    # Flows that do not even have the word are not parsed for it.
    return "concurrency" in saved.source and saved.flow.concurrency is not None


async def _running(request: web.Request) -> dict[tuple[str, str], int]:
    """How many executions of each flow are neither over nor waiting for a slot."""
    buckets = await request.app[INDEX].aggregate(
        tenant(request),
        "executions",
        filter=AllOf((Match("state", Operation.NOT_IN, _WITHOUT_SLOT),)),
        groups=[Terms("namespace"), Terms("flowId")],
    )
    return {(str(bucket.keys[0]), str(bucket.keys[1])): bucket.count for bucket in buckets}
