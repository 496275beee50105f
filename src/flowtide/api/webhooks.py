"""Webhooks: a request to a trigger's URL in, an execution out (page 486, WHK-01 to WHK-09).

The key in the URL is what protects it.  Whether a login is needed too is the site's choice (trap 15 of catalogue B):
senders outside rarely can log in, so by default it is not.
"""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.authentication import COOKIE
from flowtide.api.bodies import is_deep, read_body
from flowtide.api.flows import find_flow
from flowtide.api.keys import LIVE_VIEW, NEW_IDENTIFIER, RENDER, SITE
from flowtide.api.parameters import segment, tenant
from flowtide.api.problems import Problem, not_found
from flowtide.api.starts import Start, execution_url, flow_variables, resolved_inputs, start_execution
from flowtide.errors import ExpressionError, FlowInvalid, InputError, InputProblem
from flowtide.log.keys import ExecutionKey
from flowtide.model.condition import Circumstances, ConditionPlugin
from flowtide.model.records import Label, TriggerInfo
from flowtide.model.triggers.webhook import Webhook
from flowtide.services.catalog import SavedFlow
from flowtide.services.repeats import is_taken_over

_FROM = Label(key="system.from", value="trigger")
_SHOWN = (
    "tenantId", "id", "namespace", "flowId", "flowRevision", "trigger", "outputs", "labels", "state",
)  # fmt: skip  # reads better as a line


async def call(request: web.Request) -> web.StreamResponse:
    """Start the flow whose webhook has this key; wait for its end when the trigger says so."""
    saved = find_flow(request, segment(request, "namespace"), segment(request, "id"))
    trigger = _trigger(request, saved, request.match_info["key"])
    flow = saved.flow
    if flow.disabled:
        raise Problem(409, "Cannot execute a flow which is disabled")
    key = ExecutionKey(tenant(request), request.app[NEW_IDENTIFIER]())
    fired = await _fired(request)
    inputs: dict[str, Any] = {}
    if trigger.conditions or trigger.inputs or flow.inputs:
        variables = {**flow_variables(key, flow, saved.revision), "trigger": fired}
        _check_conditions(request, trigger, variables)
        given = _given_inputs(request, trigger, variables)
        inputs = await resolved_inputs(request, flow.inputs, given, variables)
    start = Start(
        key=key,
        flow=flow,
        revision=saved.revision,
        inputs=inputs,
        labels=[*trigger.labels, _FROM],
        trigger=TriggerInfo(id=trigger.id, type=trigger.type, variables=fired),
    )
    if not trigger.wait:
        document = await start_execution(request, start)
        return _answer(request, trigger, start, document)
    async with request.app[LIVE_VIEW].watch(key, new=not is_taken_over()) as live:
        document = await start_execution(request, start, live)
        await live.until(lambda seen: seen.is_over, request.app[SITE].wait_timeout)
        document = live.header or document
        if trigger.return_outputs and live.is_over:
            return _outputs(trigger, document.get("outputs") or {})
        return _answer(request, trigger, start, document)


def _trigger(request: web.Request, saved: SavedFlow, key: str) -> Webhook:
    """The webhook with this key.  Raises Problem 404, the same for a wrong key as for a flow without webhooks."""
    given = key.encode(errors="surrogatepass")
    found: Webhook | None = None
    try:
        triggers = saved.flow.triggers
    except FlowInvalid:
        triggers = ()
    for trigger in triggers:
        if isinstance(trigger, Webhook) and not trigger.disabled:
            expected = _key(request, saved, trigger)
            # Each one is compared to its end, so that the time tells nothing about any key.
            if expected and hmac.compare_digest(given, expected):
                found = trigger
    if found is None:
        raise not_found(f"a webhook with this key of the flow {saved.key.namespace}/{saved.key.flow_id}")
    return found


def _key(request: web.Request, saved: SavedFlow, trigger: Webhook) -> bytes:
    if "{{" not in trigger.key:
        return trigger.key.encode()
    variables = flow_variables(ExecutionKey(saved.key.tenant, ""), saved.flow, saved.revision)
    try:
        return str(request.app[RENDER](trigger.key, variables)).encode()
    except ExpressionError:
        return b""  # a key that cannot be rendered opens nothing


async def _fired(request: web.Request) -> dict[str, Any]:
    """What the flow sees as `trigger` (WHK-03): body, headers and parameters; lists, as a name may come twice."""
    body = await read_body(request)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        if _is_login(name, value):
            continue
        headers.setdefault(name, []).append(value)
    parameters: dict[str, list[str]] = {}
    if request.query_string:
        for name, value in request.query.items():
            parameters.setdefault(name, []).append(value)
    fired: dict[str, Any] = {"headers": headers, "parameters": parameters}
    path = request.match_info.get("path")
    if path:
        fired["path"] = path
    if body:
        fired["body"] = _body(request, body)
    return fired


def _is_login(name: str, value: str) -> bool:
    """Whether a header holds the login of this server, which has no place in an execution."""
    lower = name.lower()
    if lower == "authorization":
        return value[:6].lower() == "basic "
    return lower == "cookie" and COOKIE in value


def _body(request: web.Request, body: bytes) -> Any:
    """JSON as a value, anything else as text."""
    first = body.lstrip()[:1]
    if request.content_type.endswith("json") or first in b'{["':
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body.decode(errors="replace")
        if is_deep(value):
            raise Problem(400, "the JSON is nested too deeply")
        return value
    return body.decode(errors="replace")


def _check_conditions(request: web.Request, trigger: Webhook, variables: dict[str, Any]) -> None:
    circumstances = Circumstances(request.app[RENDER], variables)
    for condition in trigger.conditions:
        if not isinstance(condition, ConditionPlugin):
            raise Problem(422, f"the condition {condition.type} cannot be used by a webhook")
        try:
            holds = condition.holds(circumstances)
        except (ExpressionError, ValueError) as error:
            raise Problem(422, f"a condition of the webhook cannot be evaluated: {error}") from None
        if not holds:
            raise Problem(409, "the conditions of the webhook are not met")


def _given_inputs(request: web.Request, trigger: Webhook, variables: dict[str, Any]) -> dict[str, Any]:
    if not trigger.inputs:
        return {}
    try:
        given: dict[str, Any] = request.app[RENDER](dict(trigger.inputs), variables)
    except ExpressionError as error:
        problem = InputProblem(
            input_id="", message=f"the webhook's inputs cannot be rendered: {error.message}"
        )
        raise InputError([problem]) from None
    return given


def _answer(
    request: web.Request, trigger: Webhook, start: Start, document: dict[str, Any]
) -> web.StreamResponse:
    shown = {name: document[name] for name in _SHOWN if name in document}
    shown["url"] = execution_url(request, start)
    return json_answer(shown, status=trigger.response_code or 200)


def _outputs(trigger: Webhook, outputs: dict[str, Any]) -> web.StreamResponse:
    status = trigger.response_code or 200
    if trigger.response_content_type == "text/plain":
        values = list(outputs.values())
        if len(values) == 1 and isinstance(values[0], str):
            return web.Response(text=values[0], status=status)
        return web.Response(body=msgspec.json.encode(outputs), status=status, content_type="text/plain")
    return json_answer(outputs, status=status)
