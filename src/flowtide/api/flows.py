"""Flows: save, read, search, validate, delete, with revisions (page 464); all from the catalog, never the index."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import yaml
from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces, may
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import parse_json, read_text
from flowtide.api.keys import CATALOG, DEDICATED, INDEX, PARSE_FLOW, PLATFORMS, RESOURCES
from flowtide.api.parameters import flag, integer, page, segment, sorting, tenant, texts, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import flows_of, found_flows, of_flow, sort_flows, within
from flowtide.errors import FlowInvalid, ResourceConflict, Violation
from flowtide.index.queries import Match, Operation
from flowtide.model.access import Action, Permission
from flowtide.model.documents import DocumentError
from flowtide.model.flow import Flow
from flowtide.model.records import format_date
from flowtide.model.resources import ResourceKind
from flowtide.model.source import ParsedFlow
from flowtide.model.states import TERMINAL
from flowtide.model.wire import flow_to_wire
from flowtide.services.catalog import SavedFlow
from flowtide.services.flow_cycles import way_back

_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$\n?", re.MULTILINE)
_MOST_DOCUMENTS = 500
_MANAGED = ("source", "tenantId", "updated", "revision", "deleted", "draft")  # of a flow sent as JSON
_REGEX_SECONDS = 0.1
_PARSED_IN_LOOP_BYTES = 20_000  # a larger source is parsed in a thread, so that others are answered meanwhile


# --- find --------------------------------------------------------------------------------------------------------


def find_flow(request: web.Request, namespace: str, flow_id: str, revision: int | None = None) -> SavedFlow:
    """A flow that is there.  Raises Problem 404."""
    saved = request.app[CATALOG].flow(tenant(request), namespace, flow_id, revision)
    if saved is None or (saved.deleted and revision is None):
        raise not_found(_named(namespace, flow_id, revision))
    return saved


def _named(namespace: str, flow_id: str, revision: int | None) -> str:
    return f"the flow {namespace}/{flow_id}" + (f" with revision {revision}" if revision is not None else "")


# --- read --------------------------------------------------------------------------------------------------------


async def get(request: web.Request) -> web.StreamResponse:
    """A flow; with `source=true` also its text."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    revision = integer(request, "revision", least=1)
    saved = request.app[CATALOG].flow(tenant(request), namespace, flow_id, revision)
    if saved is None or (saved.deleted and not flag(request, "allowDeleted")):
        raise not_found(_named(namespace, flow_id, revision))
    # A named revision is as it was, whatever became of the flow since.
    deleted = saved.deleted and revision is None
    return json_answer(wire(saved, with_source=flag(request, "source"), deleted=deleted))


async def revisions(request: web.Request) -> web.StreamResponse:
    """Every revision of a flow, the oldest first; a deletion counts with `allowDelete=true`."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    latest = request.app[CATALOG].flow(tenant(request), namespace, flow_id)
    if latest is None:
        raise not_found(_named(namespace, flow_id, None))
    allow_deleted = flag(request, "allowDelete") or flag(request, "allowDeleted")
    if latest.deleted and not allow_deleted:
        raise not_found(_named(namespace, flow_id, None))
    answer = [
        wire(saved, with_source=True, deleted=False)
        for saved in request.app[CATALOG].revisions(tenant(request), namespace, flow_id)
    ]
    if latest.deleted:
        answer.append(wire(latest, with_source=True, deleted=True))
    return json_answer(answer)


async def list_of_namespace(request: web.Request) -> web.StreamResponse:
    """The flows of one namespace."""
    namespace = segment(request, "namespace")
    return json_answer([wire(saved, with_source=False) for saved in flows_of(request, namespace)])


async def namespaces(request: web.Request) -> web.StreamResponse:
    """The namespaces that have flows; `q` is how they begin."""
    prefix = request.query.get("q", "")
    allowed = authorized_namespaces(request)
    names = request.app[CATALOG].namespaces(tenant(request))
    return json_answer([name for name in names if name.startswith(prefix) and within(name, allowed)])


async def search(request: web.Request) -> web.StreamResponse:
    """Find flows by filters, in either spelling."""
    wanted = page(request)
    found = await found_flows(request)
    sort_flows(found, sorting(request))
    shown = found[wanted.offset : wanted.offset + wanted.size]
    return page_answer([wire(saved, with_source=False) for saved in shown], len(found))


# --- revisions ---------------------------------------------------------------------------------------------------


async def delete_revisions(request: web.Request) -> web.StreamResponse:
    """Forget former revisions of a flow (`revisions=1,2`); the latest stays, and those that executions still run."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    catalog, name = request.app[CATALOG], tenant(request)
    latest = catalog.flow(name, namespace, flow_id)
    if latest is None:
        raise not_found(_named(namespace, flow_id, None))
    wanted = texts(request, "revisions")
    if not wanted or not all(text.isascii() and text.isdigit() and len(text) < 10 for text in wanted):
        raise Problem(422, "`revisions` must be numbers of revisions, joined by commas")
    numbers = sorted({int(text) for text in wanted})
    if latest.revision in numbers:
        raise Problem(422, f"revision {latest.revision} is the latest one and cannot be deleted")
    for number in numbers:
        if catalog.flow(name, namespace, flow_id, number) is None:
            raise not_found(_named(namespace, flow_id, number))
    over = [state.value for state in TERMINAL]
    running = of_flow(
        namespace,
        flow_id,
        Match("flowRevision", Operation.IN, numbers),
        Match("state", Operation.NOT_IN, over),
    )
    if await request.app[INDEX].count(name, "executions", running):
        raise Problem(409, "an execution that is not over runs one of these revisions")
    for number in numbers:
        await request.app[RESOURCES].delete(
            ResourceKind.FLOW_REVISION, name, f"{namespace}/{flow_id}/{number}", by=user(request)
        )
    await catalog.catch_up()
    return web.Response(status=204)


# --- save --------------------------------------------------------------------------------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new flow; one that exists is a conflict."""
    source = await _source(request)
    flow = (await parse(request, source)).valid()
    _refuse_cycles(request, [flow])
    return json_answer(await save(request, flow, source, expected_revision=0))


async def update(request: web.Request) -> web.StreamResponse:
    """Save the next revision of a flow; the whole source replaces the one before."""
    namespace, flow_id = segment(request, "namespace"), segment(request, "id")
    source = await _source(request)
    flow = (await parse(request, source)).valid()
    if (flow.namespace, flow.id) != (namespace, flow_id):
        raise FlowInvalid(
            [
                Violation(
                    path="id",
                    message=f"the flow is {flow.namespace}/{flow.id}, it cannot replace {namespace}/{flow_id}",
                )
            ]
        )
    find_flow(request, namespace, flow_id)
    _refuse_cycles(request, [flow])
    return json_answer(await save(request, flow, source))


async def update_namespace(request: web.Request) -> web.StreamResponse:
    """Save all flows of a namespace; with `delete=true` (the default) those not sent are deleted."""
    namespace = segment(request, "namespace")
    sources = documents(await read_text(request))
    return await _save_all(request, sources, namespace, delete=flag(request, "delete", True))


async def update_many(request: web.Request) -> web.StreamResponse:
    """Save several flows; with `delete=true` (the default) others of `namespace` are deleted."""
    sources = documents(await read_text(request))
    return await _save_all(
        request,
        sources,
        request.query.get("namespace") or None,
        delete=flag(request, "delete", True),
        below=flag(request, "allowNamespaceChild"),
    )


async def _save_all(
    request: web.Request, sources: list[str], namespace: str | None, *, delete: bool, below: bool = False
) -> web.StreamResponse:
    # All are read before the first one is saved, so that a wrong one changes nothing.
    flows: list[tuple[Flow, str]] = []
    violations: list[Violation] = []
    for index, source in enumerate(sources):
        parsed = await parse(request, source)
        flow = parsed.flow
        violations += [_prefixed(violation, f"document {index}: ") for violation in parsed.violations]
        if flow is None:
            continue
        inside = below and flow.namespace.startswith(f"{namespace}.")
        if namespace is not None and flow.namespace != namespace and not inside:
            message = f"document {index}: the namespace must be {namespace} and is {flow.namespace}"
            violations.append(Violation(path="namespace", message=message))
        flows.append((flow, source))
    seen: set[tuple[str, str]] = set()
    for flow, _ in flows:
        if (flow.namespace, flow.id) in seen:
            violations.append(
                Violation(path="id", message=f"the flow {flow.namespace}/{flow.id} comes twice")
            )
        seen.add((flow.namespace, flow.id))
    if violations:
        raise FlowInvalid(violations)
    for flow, _ in flows:
        authorize(request, flow.namespace)
    _refuse_cycles(request, [flow for flow, _ in flows])
    saved = [await save(request, flow, source) for flow, source in flows]
    if delete and namespace is not None:
        for known in list(request.app[CATALOG].flows(tenant(request), namespace, below=below)):
            if (known.key.namespace, known.key.flow_id) not in seen:
                await delete_saved(request, known)
    return json_answer(saved)


def _refuse_cycles(request: web.Request, flows: Sequence[Flow]) -> None:
    """Raises FlowInvalid when one of the flows, all saved together, would run itself by way of others (FLW-19)."""
    sent = {(flow.namespace, flow.id): flow for flow in flows}
    name = tenant(request)
    catalog = request.app[CATALOG]

    def lookup(wanted: tuple[str, str]) -> Flow | None:
        if wanted in sent:
            return sent[wanted]
        saved = catalog.flow(name, *wanted)
        return None if saved is None or saved.deleted else saved.flow

    for flow in flows:
        way = way_back(flow, lookup)
        if way:
            shown = ", ".join(".".join(each) for each in way[1:])
            message = f"the flow runs itself as a subflow, by way of {shown}"
            raise FlowInvalid([Violation(path="tasks", message=message)])


def _prefixed(violation: Violation, prefix: str) -> Violation:
    """A violation with words before its message."""
    return Violation(
        path=violation.path,
        message=prefix + violation.message,
        line=violation.line,
        column=violation.column,
    )


async def save(
    request: web.Request, flow: Flow, source: str, expected_revision: int | None = None
) -> dict[str, Any]:
    """Save a flow, and give it as the API shows it.  Raises Problem 403, and as `ResourceClient.save_flow`."""
    name = tenant(request)
    authorize(request, flow.namespace)
    _check_namespace(request, flow.namespace)
    known = request.app[CATALOG].flow(name, flow.namespace, flow.id)
    if known is None or known.deleted:
        _authorize_new(request, flow.namespace)
    resource = await request.app[RESOURCES].save_flow(
        name, flow.namespace, flow.id, source, expected_revision, by=user(request)
    )
    return flow_to_wire(flow, source, resource.revision, updated=resource.updated)


def _check_namespace(request: web.Request, namespace: str) -> None:
    """A tenant may insist that namespaces are made before flows are saved in them (NSM-12).  Raises Problem 422."""
    name = tenant(request)
    if not request.app[DEDICATED].needs_existing_namespace(name):
        return
    if request.app[PLATFORMS].namespaces(name).find(namespace) is None:
        raise Problem(
            422,
            f"there is no namespace `{namespace}`, and this tenant takes flows only in namespaces that exist: "
            "create it first",
        )


def _authorize_new(request: web.Request, namespace: str) -> None:
    """A flow that was not there needs CREATE, the first one of a namespace also that of namespaces (PERM-X1)."""
    authorize(request, namespace, Permission.FLOW, Action.CREATE)
    if may(request, namespace, Permission.NAMESPACE, Action.CREATE):
        return
    if namespace not in request.app[PLATFORMS].namespaces(tenant(request)).names():
        authorize(request, namespace, Permission.NAMESPACE, Action.CREATE)


async def parse(request: web.Request, source: str) -> ParsedFlow:
    """Read a source with all its violations; large ones in a thread."""
    if len(source) <= _PARSED_IN_LOOP_BYTES:
        return request.app[PARSE_FLOW](source, tenant(request))
    return await asyncio.to_thread(request.app[PARSE_FLOW], source, tenant(request))


async def _source(request: web.Request) -> str:
    text = await read_text(request)
    if request.content_type != "application/json":
        return text
    # The former way: a flow as a JSON object.  Fields that the server manages are not part of its source.
    value = parse_json(text.encode())
    if not isinstance(value, dict):
        raise Problem(400, "a flow as JSON must be an object")
    written = {key: each for key, each in value.items() if key not in _MANAGED and each is not None}
    dumped: str = yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
    return dumped


def documents(text: str) -> list[str]:
    """The YAML documents of a text; a line that starts with `---` parts them."""
    parts = [part for part in _SEPARATOR.split(text) if part.strip()]
    if len(parts) > _MOST_DOCUMENTS:
        raise Problem(413, f"at most {_MOST_DOCUMENTS} flows can be sent at once")
    return parts


# --- delete ------------------------------------------------------------------------------------------------------


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a flow; its executions and its revisions stay."""
    saved = find_flow(request, segment(request, "namespace"), segment(request, "id"))
    await delete_saved(request, saved)
    return web.Response(status=204)


async def delete_saved(request: web.Request, saved: SavedFlow) -> bool:
    """Delete a flow; False when somebody else was faster.  Raises Problem 403."""
    key = saved.key
    authorize(request, key.namespace, Permission.FLOW, Action.DELETE)
    try:
        await request.app[RESOURCES].delete(
            ResourceKind.FLOW, key.tenant, f"{key.namespace}/{key.flow_id}", by=user(request)
        )
    except ResourceConflict:
        return False  # somebody else was faster
    return True


# --- how a flow is shown -----------------------------------------------------------------------------------------


def wire(saved: SavedFlow, *, with_source: bool, deleted: bool | None = None) -> dict[str, Any]:
    """A saved flow as the API shows it; one that can no longer be read shows why as `exception`."""
    deleted = saved.deleted if deleted is None else deleted
    source = saved.source
    try:
        return flow_to_wire(
            saved.flow,
            source,
            saved.revision,
            with_source=with_source,
            deleted=deleted,
            updated=saved.updated,
        )
    except (FlowInvalid, DocumentError) as error:
        shown: dict[str, Any] = {
            "id": saved.key.flow_id,
            "namespace": saved.key.namespace,
            "revision": saved.revision,
            "updated": format_date(saved.updated),
            "disabled": False,
            "deleted": deleted,
            "tasks": [],
            "exception": error.message,
        }
        if with_source:
            shown["source"] = source
        return shown
