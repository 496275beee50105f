"""Starting executions: a flow, inputs and what started it in; a command on the log and the Execution JSON out.

Everything that can be refused is refused here, before there is an execution (EXE-08).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from aiohttp import web

from flowtide.api.bodies import Form
from flowtide.api.index_progress import decided_execution
from flowtide.api.keys import CIPHER, CLOCK, LIVE_VIEW, LOG, RENDER, SITE, STARTED, STORAGE, TRACING
from flowtide.api.parameters import tenant, user
from flowtide.api.problems import Problem
from flowtide.engine.plan import needs_io
from flowtide.errors import ExpressionError
from flowtide.index.documents import OWN_EXECUTION_FIELDS, fold_execution
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Message
from flowtide.model.commands import CreateExecution
from flowtide.model.documents import DocumentLimits
from flowtide.model.encrypted import opened
from flowtide.model.events import ExecutionCreated
from flowtide.model.flow import Check, Flow
from flowtide.model.input_resolution import input_encryption, resolve_inputs
from flowtide.model.inputs import Input, InputMeans, is_true
from flowtide.model.records import Breakpoint, Cause, Label, TriggerInfo, encode
from flowtide.services.live_view import LiveExecution
from flowtide.services.repeats import is_taken_over
from flowtide.services.webserver import without_secrets
from flowtide.storage import ExecutionFolder, input_file

logger = structlog.get_logger(__name__)

_TRACE_PARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CORRELATION = "system.correlationId"
_DISABLED = "Cannot execute a flow which is disabled"
_SEVERITY = {"BLOCK_EXECUTION": 2, "FAIL_EXECUTION": 1, "CREATE_EXECUTION": 0}
_YAML_LIMITS = DocumentLimits()


@dataclass(frozen=True, kw_only=True)
class Start:
    """What shall be started."""

    key: ExecutionKey
    flow: Flow
    revision: int
    inputs: Mapping[str, Any]
    labels: Sequence[Label] = ()
    trigger: TriggerInfo | None = None
    kind: str | None = None
    schedule_date: datetime | None = None
    breakpoints: Sequence[Breakpoint] = ()


def means(request: web.Request, variables: Mapping[str, Any]) -> InputMeans:
    """What resolving inputs needs; `variables` are those of `flow_variables`, or none where nothing is asked for."""
    return InputMeans(
        render=request.app[RENDER],
        encrypt=input_encryption(
            request.app.get(CIPHER),
            tenant_id=tenant(request),
            execution_id=variables["execution"]["id"] if "execution" in variables else "",
        ),
        regex_timeout=request.app[SITE].regex_timeout,
        document_limits=_YAML_LIMITS,
    )


def flow_variables(key: ExecutionKey, flow: Flow, revision: int) -> dict[str, Any]:
    """What templates of a flow see before there is an execution."""
    return {
        "flow": {
            "id": flow.id,
            "namespace": flow.namespace,
            "revision": revision,
            "tenantId": key.tenant,
        },
        "execution": {"id": key.execution_id},
    }


async def resolved_inputs(
    request: web.Request, inputs: Sequence[Input], given: Mapping[str, Any], variables: Mapping[str, Any]
) -> dict[str, Any]:
    """The typed values of inputs.  Raises InputError."""
    if not inputs and not given:
        return {}
    needed = means(request, variables)

    def warn(message: str) -> None:
        logger.warning(message, path=without_secrets(request.path))

    def resolve() -> dict[str, Any]:
        return resolve_inputs(
            inputs,
            given,
            needed.render,
            encrypt=needed.encrypt,
            regex_timeout=needed.regex_timeout,
            variables=variables,
            warn=warn,
        )

    # Templates and patterns may take their time; plain inputs do not.
    return await asyncio.to_thread(resolve) if _may_take_long(inputs) else resolve()


def place_files(form: Form, key: ExecutionKey, flow: Flow) -> dict[str, str]:
    """Give the files of a form their URIs, as values of their inputs; maps input ids to URIs.

    Files for inputs that the flow does not have are left out, like other values nobody asks for.
    """
    folder = ExecutionFolder(namespace=flow.namespace, flow_id=flow.id, execution_id=key.execution_id)
    known = {each.id for each in flow.inputs}
    uris: dict[str, str] = {}
    for file in form.files:
        if file.input_id in known:
            uris[file.input_id] = input_file(folder, input_id=file.input_id, name=file.name)
    form.values.update(uris)
    return uris


async def put_files(request: web.Request, form: Form, tenant: str, uris: Mapping[str, str]) -> None:
    """Store the files that `place_files` placed."""
    for file in form.files:
        uri = uris.get(file.input_id)
        if uri is not None:
            await request.app[STORAGE].put(tenant, uri, file.content)


def failed_checks(request: web.Request, flow: Flow, variables: Mapping[str, Any]) -> list[Check]:
    """The checks of a flow whose condition does not hold, the most restrictive first (CHK-01, CHK-03).

    Raises Problem 422 for a condition that cannot be told, with the place of its check.
    """
    if not flow.checks:
        return []
    render = request.app[RENDER]
    failed = []
    for position, each in enumerate(flow.checks):
        try:
            holds = is_true(render(each.condition, variables))
        except ExpressionError as error:
            raise Problem(422, f"checks[{position}].condition: {error}") from error
        if not holds:
            failed.append(each)
    return sorted(failed, key=lambda each: -_SEVERITY[each.behavior])


async def start_execution(
    request: web.Request, start: Start, live: LiveExecution | None = None
) -> dict[str, Any]:
    """Write the command; gives the Execution as it will be created.

    `live` is the watched execution when the caller waits for more of it.  Raises Problem 422 for a check that
    blocks the flow, LogUnavailable, MessageTooLarge.
    """
    app = request.app
    if is_taken_over():
        request[STARTED] = [*request.get(STARTED, ()), start.key.execution_id]
        known = await decided_execution(request, start.key)
        if known is not None:
            return known
    flow = start.flow
    error = _DISABLED if flow.disabled else None
    if error is None and flow.checks:
        inputs = opened(dict(start.inputs), app.get(CIPHER), tenant_id=start.key.tenant)
        variables = {**flow_variables(start.key, flow, start.revision), "inputs": inputs}
        if any(needs_io(check.condition) for check in flow.checks):
            failed = await asyncio.to_thread(failed_checks, request, flow, variables)
        else:
            failed = failed_checks(request, flow, variables)
        if failed and failed[0].behavior == "BLOCK_EXECUTION":
            raise Problem(422, failed[0].message)
        if failed and failed[0].behavior == "FAIL_EXECUTION":
            error = failed[0].message
    now = app[CLOCK]()
    trace_parent = app[TRACING].traceparent() or _sent_trace(request)
    command = CreateExecution(
        at=now,
        by=user(request),
        namespace=flow.namespace,
        flow_id=flow.id,
        flow_revision=start.revision,
        inputs=dict(start.inputs),
        inputs_resolved=True,
        labels=list(start.labels),
        trigger=start.trigger,
        kind=start.kind,
        schedule_date=start.schedule_date,
        breakpoints=list(start.breakpoints),
        trace_parent=trace_parent,
        error=error,
    )
    document = _created_document(start, now, trace_parent)
    if live is not None:
        app[LIVE_VIEW].keep(live)
    message = Message(topic="execution_commands", key=str(start.key), value=encode(command))
    await app[LOG].append([message])
    request[STARTED] = [*request.get(STARTED, ()), start.key.execution_id]
    if live is None:
        app[LIVE_VIEW].remember_created(start.key, encode(document))
    return document


def execution_url(request: web.Request, start: Start) -> str:
    """Where a person sees the execution (EXE-04): absolute when the public address is configured."""
    site = request.app[SITE]
    path = f"/ui/executions/{start.flow.namespace}/{start.flow.id}/{start.key.execution_id}"
    if site.url:
        return site.url.rstrip("/") + path
    return site.context_path + path


def _created_document(start: Start, now: datetime, trace_parent: str | None) -> dict[str, Any]:
    """The Execution as the engine's first event will make it."""
    labels = {label.key: label.value for label in start.flow.labels}
    labels.update((label.key, label.value) for label in start.labels)
    labels.setdefault(_CORRELATION, start.key.execution_id)
    document = fold_execution(
        None,
        ExecutionCreated(
            tenant_id=start.key.tenant,
            execution_id=start.key.execution_id,
            number=0,
            at=now,
            cause=Cause(command="CreateExecution"),
            namespace=start.flow.namespace,
            flow_id=start.flow.id,
            flow_revision=start.revision,
            inputs=dict(start.inputs),
            labels=[Label(key=key, value=value) for key, value in labels.items()],
            variables=dict(start.flow.variables),
            trigger=start.trigger,
            kind=start.kind,
            schedule_date=start.schedule_date,
            breakpoints=list(start.breakpoints),
            trace_parent=trace_parent,
        ),
    )
    for name in OWN_EXECUTION_FIELDS:
        document.pop(name, None)
    return document


def _sent_trace(request: web.Request) -> str | None:
    header = request.headers.get("traceparent")
    return header if header is not None and _TRACE_PARENT.fullmatch(header) else None


def _may_take_long(inputs: Sequence[Input]) -> bool:
    for each in inputs:
        if getattr(each, "validator", None) is not None or getattr(each, "expression", None) is not None:
            return True
        if isinstance(each.defaults, str) and "{{" in each.defaults:
            return True
        if each.depends_on is not None and each.depends_on.condition is not None:
            return True
    return False
