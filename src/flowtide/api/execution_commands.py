"""Commands to executions, one or many: kill, pause, resume, run at once, take out of a queue (EXE-05 to EXE-08)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer, raw_answer
from flowtide.api.bodies import read_form, read_texts
from flowtide.api.execution_documents import authorize_all, key_of
from flowtide.api.flows import find_flow
from flowtide.api.input_answers import evaluated, unasked_of
from flowtide.api.keys import CLOCK, INDEX, LIVE_VIEW, LOG, SITE
from flowtide.api.parameters import (
    breakpoints,
    flag,
    tenant,
    user,
)
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import executions_filter
from flowtide.api.starts import (
    flow_variables,
    means,
    resolved_inputs,
)
from flowtide.index.queries import AllOf, Filter, Match, Operation
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Message
from flowtide.model.commands import (
    Command,
    ForceRunExecution,
    KillExecution,
    PauseExecution,
    ResumeExecution,
    ResumeFromBreakpoint,
    UnqueueExecution,
)
from flowtide.model.flowables import Pause
from flowtide.model.input_resolution import evaluate_inputs
from flowtide.model.inputs import Input
from flowtide.model.records import encode
from flowtide.model.states import TERMINAL, State
from flowtide.services.live_view import LiveExecution

_TERMINAL = frozenset(state.value for state in TERMINAL)
_MOST_KEPT = 100
_PORTION = 500  # commands that one append carries
_LIKELY_ID = 256
_SECOND_LOOK = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One of the commands that people give to a running execution."""

    noun: str
    allowed: Callable[[str], bool]  # whether an execution in this state can be told so
    refusal: str  # what to say when it cannot
    done: Callable[[str], bool]  # whether this state is what was asked for


KILL = Order(
    noun="KillExecution",
    allowed=lambda state: state not in _TERMINAL,
    refusal="is over already, in state {state}",
    done=lambda state: state == "KILLING" or state in _TERMINAL,
)
PAUSE = Order(
    noun="PauseExecution",
    allowed=lambda state: state == "RUNNING",
    refusal="is not running but {state}",
    done=lambda state: state == "PAUSED" or state in _TERMINAL,
)
RESUME = Order(
    noun="ResumeExecution",
    allowed=lambda state: state == "PAUSED",
    refusal="is not paused but {state}",
    done=lambda state: state != "PAUSED",
)


FORCE_RUN = Order(
    noun="ForceRunExecution",
    allowed=lambda state: state not in _TERMINAL and state != "KILLING",
    refusal="is over, or about to be, in state {state}",
    done=lambda state: state == "RUNNING" or state in _TERMINAL,
)
UNQUEUE = Order(
    noun="UnqueueExecution",
    allowed=lambda state: state == "QUEUED",
    refusal="does not wait for a slot but is {state}",
    done=lambda state: state != "QUEUED",
)
FROM_BREAKPOINT = Order(
    noun="ResumeFromBreakpoint",
    allowed=lambda state: state == "BREAKPOINT",
    refusal="does not wait at a breakpoint but is {state}",
    done=lambda state: state != "BREAKPOINT",
)


async def kill(request: web.Request) -> web.StreamResponse:
    """End an execution, and those that it waits for unless `isOnKillCascade=false`."""
    cascade = flag(request, "isOnKillCascade", True)
    command = KillExecution(at=request.app[CLOCK](), by=user(request), cascade=cascade)
    return await _command(request, KILL, lambda live: command)


async def pause(request: web.Request) -> web.StreamResponse:
    """Start no further tasks of an execution."""
    command = PauseExecution(at=request.app[CLOCK](), by=user(request))
    return await _command(request, PAUSE, lambda live: command)


async def force_run(request: web.Request) -> web.StreamResponse:
    """Run an execution now, whatever it waits for: a slot, its date, a person, a breakpoint."""
    command = ForceRunExecution(at=request.app[CLOCK](), by=user(request))
    return await _command(request, FORCE_RUN, lambda live: command)


async def unqueue(request: web.Request) -> web.StreamResponse:
    """Take an execution out of the queue for a slot; `state` says whether it runs or ends."""
    command = _unqueue(request, "state")
    return await _command(request, UNQUEUE, lambda live: command)


def _unqueue(request: web.Request, parameter: str) -> UnqueueExecution:
    name = request.query.get(parameter) or State.RUNNING.value
    if name not in _UNQUEUED_STATES:
        raise Problem(422, f"`{parameter}` must be one of {', '.join(_UNQUEUED_STATES)}")
    return UnqueueExecution(at=request.app[CLOCK](), by=user(request), state=State(name))


_UNQUEUED_STATES = ("RUNNING", "SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED")


async def resume_from_breakpoint(request: web.Request) -> web.StreamResponse:
    """Go on from breakpoints; `breakpoints` replaces those that the execution has."""
    found = breakpoints(request)
    command = ResumeFromBreakpoint(at=request.app[CLOCK](), by=user(request), breakpoints=found)
    return await _command(request, FROM_BREAKPOINT, lambda live: command)


async def resume(request: web.Request) -> web.StreamResponse:
    """Go on with a paused execution, with the inputs that its Pause task asks for."""
    async with read_form(request) as form:
        if form.files:
            raise Problem(
                422, "files cannot be given when an execution is resumed; give the URI of a stored file"
            )
        key = key_of(request)
        async with _commanded(request, key, RESUME) as live:
            asked, variables = _asked_on_resume(request, live)
            inputs = await resolved_inputs(request, asked, form.values, variables)
            command = ResumeExecution(at=request.app[CLOCK](), by=user(request), inputs=inputs)
            return await _carried_out(request, RESUME, live, command)


async def validate_resume(request: web.Request) -> web.StreamResponse:
    """What resuming with these inputs would say, without resuming."""
    key = key_of(request)
    async with read_form(request) as form, _commanded(request, key, RESUME) as live:
        asked, variables = _asked_on_resume(request, live)
        resolved = evaluate_inputs(asked, form.values, means(request, variables), variables)
        answer = evaluated(resolved) + unasked_of(asked, form.values)
        document = live.document or {}
        return json_answer({"id": document["flowId"], "namespace": document["namespace"], "inputs": answer})


def _asked_on_resume(request: web.Request, live: LiveExecution) -> tuple[list[Input], dict[str, Any]]:
    """The inputs that the paused task asks for."""
    document = live.document or {}
    paused = [run for run in document["taskRunList"] if run["state"]["current"] == "PAUSED"]
    saved = find_flow(request, document["namespace"], document["flowId"], document["flowRevision"])
    for run in paused:
        task = saved.flow.tasks_by_id.get(run["taskId"])
        if isinstance(task, Pause) and task.on_resume:
            return list(task.on_resume), flow_variables(live.key, saved.flow, saved.revision)
    return [], {}


async def _command(
    request: web.Request, order: Order, command: Callable[[LiveExecution], Command]
) -> web.StreamResponse:
    async with _commanded(request, key_of(request), order) as live:
        return await _carried_out(request, order, live, command(live))


@asynccontextmanager
async def _commanded(request: web.Request, key: ExecutionKey, order: Order) -> AsyncIterator[LiveExecution]:
    """Watch an execution that is about to be told something.  Raises Problem 404, 409 when it cannot be told so."""
    view = request.app[LIVE_VIEW]
    async with view.watch(key) as live:
        if live.header is None and view.created(key) is not None:
            await live.until(lambda seen: seen.header is not None, request.app[SITE].answer_timeout)
        if live.header is None:
            raise not_found(f"the execution {key.execution_id}")
        # What the index shows may be a moment old; the log will tell.
        if not order.allowed(live.state or "") and not live.is_over:
            await live.until(lambda seen: order.allowed(seen.state or "") or seen.is_over, _SECOND_LOOK)
        state = live.state or ""
        if not order.allowed(state):
            raise Problem(409, f"the execution {key.execution_id} {order.refusal.format(state=state)}")
        yield live


async def _carried_out(
    request: web.Request, order: Order, live: LiveExecution, command: Command
) -> web.StreamResponse:
    """Send the command, wait for its effect, and answer with the execution as it is then."""
    app = request.app
    app[LIVE_VIEW].keep(live)
    before = live.causes[order.noun]
    await app[LOG].append([_message(live.key, command)])
    await live.until(
        lambda seen: seen.causes[order.noun] > before or order.done(seen.state or ""),
        app[SITE].answer_timeout,
    )
    return raw_answer(live.body or b"{}")


def _message(key: ExecutionKey, command: Command) -> Message:
    return Message(topic="execution_commands", key=str(key), value=encode(command))


# --- command many ------------------------------------------------------------------------------------------------


async def kill_by_ids(request: web.Request) -> web.StreamResponse:
    """End the executions of these ids."""
    return await _by_ids(request, KILL, KillExecution(at=request.app[CLOCK](), by=user(request)))


async def pause_by_ids(request: web.Request) -> web.StreamResponse:
    """Pause the executions of these ids."""
    return await _by_ids(request, PAUSE, PauseExecution(at=request.app[CLOCK](), by=user(request)))


async def resume_by_ids(request: web.Request) -> web.StreamResponse:
    """Resume the executions of these ids."""
    return await _by_ids(request, RESUME, ResumeExecution(at=request.app[CLOCK](), by=user(request)))


async def force_run_by_ids(request: web.Request) -> web.StreamResponse:
    """Run the executions of these ids now."""
    return await _by_ids(request, FORCE_RUN, ForceRunExecution(at=request.app[CLOCK](), by=user(request)))


async def unqueue_by_ids(request: web.Request) -> web.StreamResponse:
    """Take the executions of these ids out of the queue for a slot."""
    return await _by_ids(request, UNQUEUE, _unqueue(request, "state"))


async def force_run_by_query(request: web.Request) -> web.StreamResponse:
    """Run the executions that filters find now."""
    return await _by_query(request, FORCE_RUN, ForceRunExecution(at=request.app[CLOCK](), by=user(request)))


async def unqueue_by_query(request: web.Request) -> web.StreamResponse:
    """Take the executions that filters find out of the queue for a slot."""
    return await _by_query(request, UNQUEUE, _unqueue(request, "newState"))


async def kill_by_query(request: web.Request) -> web.StreamResponse:
    """End the executions that filters find."""
    return await _by_query(request, KILL, KillExecution(at=request.app[CLOCK](), by=user(request)))


async def pause_by_query(request: web.Request) -> web.StreamResponse:
    """Pause the executions that filters find."""
    return await _by_query(request, PAUSE, PauseExecution(at=request.app[CLOCK](), by=user(request)))


async def resume_by_query(request: web.Request) -> web.StreamResponse:
    """Resume the executions that filters find."""
    return await _by_query(request, RESUME, ResumeExecution(at=request.app[CLOCK](), by=user(request)))


async def _by_ids(request: web.Request, order: Order, command: Command) -> web.StreamResponse:
    """All of them or none: an unknown or unfit one refuses the request with what is wrong with each."""
    name = tenant(request)
    ids = list(dict.fromkeys(await read_texts(request)))
    found = await request.app[INDEX].get_many("executions", [(name, each) for each in ids])
    await authorize_all(request, ids, found)
    invalid: dict[str, str] = {}
    for each in ids:
        state = _known_state(request, ExecutionKey(name, each), found)
        if state is None:
            invalid[each[:_LIKELY_ID]] = "does not exist"
        elif not order.allowed(state):
            invalid[each[:_LIKELY_ID]] = order.refusal.format(state=state)
    if invalid:
        return json_answer(
            {"message": "some executions cannot be told so; none was", "invalids": invalid}, status=422
        )
    keys = [ExecutionKey(name, each) for each in ids]
    view = request.app[LIVE_VIEW]
    async with AsyncExitStack() as stack:
        # The next read of each shall see the effect, as far as that many are worth following.
        for key in keys[:_MOST_KEPT]:
            view.keep(await stack.enter_async_context(view.watch(key)))
        await _send_all(request, keys, command)
    return json_answer({"count": len(ids)})


def _known_state(request: web.Request, key: ExecutionKey, found: Mapping[tuple[str, str], Any]) -> str | None:
    live = request.app[LIVE_VIEW].get(key)
    if live is not None:
        return live.state
    document = found.get((key.tenant, key.execution_id))
    if document is not None:
        return str(document.document["state"]["current"])
    return "CREATED" if request.app[LIVE_VIEW].created(key) is not None else None


async def _by_query(request: web.Request, order: Order, command: Command) -> web.StreamResponse:
    states = [state.value for state in State if order.allowed(state.value)]
    wanted = AllOf((executions_filter(request), Match("state", Operation.IN, states)))
    count = 0
    async for portion in _scan(request, wanted):
        await _send_all(request, portion, command)
        count += len(portion)
    return json_answer({"count": count})


async def _scan(request: web.Request, wanted: Filter) -> AsyncIterator[list[ExecutionKey]]:
    name = tenant(request)
    async for portion in request.app[INDEX].scan(name, "executions", wanted, size=_PORTION):
        yield [ExecutionKey(name, found.id) for found in portion]


async def _send_all(request: web.Request, keys: list[ExecutionKey], command: Command) -> None:
    value = msgspec.json.encode(command)
    for first in range(0, len(keys), _PORTION):
        await request.app[LOG].append(
            [
                Message(topic="execution_commands", key=str(key), value=value)
                for key in keys[first : first + _PORTION]
            ]
        )
