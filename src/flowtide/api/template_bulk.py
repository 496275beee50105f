"""Templates, many at once, deprecated: as files, and saved and deleted together (page 089)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.access import authorize
from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_json, read_text
from flowtide.api.execution_flows import flow_names
from flowtide.api.flow_archives import send_archive, uploaded_sources
from flowtide.api.flows import documents
from flowtide.api.keys import CATALOG, CLOCK, RESOURCES
from flowtide.api.parameters import flag, segment, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.templates import found_templates, parse_template
from flowtide.errors import FlowInvalid, ResourceConflict, Violation
from flowtide.model.records import encode
from flowtide.model.resources import FlowBody, ResourceKind
from flowtide.model.source import ParsedFlow
from flowtide.services.templates import template_source

_KIND = ResourceKind.TEMPLATE
_MOST_TEMPLATES = 10_000
_Found = list[tuple[str, str, str]]


async def export_by_ids(request: web.Request) -> web.StreamResponse:
    """The sources of templates as a ZIP archive."""
    return await _archive(request, await _named(request))


async def export_by_query(request: web.Request) -> web.StreamResponse:
    """The sources of the templates that a search finds, as a ZIP archive."""
    return await _archive(request, found_templates(request))


async def delete_by_ids(request: web.Request) -> web.StreamResponse:
    """Delete the templates of `[{"namespace": ..., "id": ...}]`."""
    return await _delete(request, await _named(request))


async def delete_by_query(request: web.Request) -> web.StreamResponse:
    """Delete the templates that a search finds."""
    return await _delete(request, found_templates(request))


async def import_templates(request: web.Request) -> web.StreamResponse:
    """Save the templates of a ZIP archive or of a YAML file; gives the places of those that are wrong."""
    found_templates(request)  # whether templates are there at all
    failed: list[str] = []
    right: list[tuple[str, ParsedFlow]] = []
    for place, source in await uploaded_sources(request):
        parsed = await parse_template(request, source)
        if parsed.violations or parsed.flow is None:
            failed.append(place)
        else:
            authorize(request, parsed.flow.namespace)
            right.append((source, parsed))
    for source, parsed in right:
        await _save(request, source, parsed)
    return json_answer(failed)


async def update_namespace(request: web.Request) -> web.StreamResponse:
    """Save all templates of a namespace; those that the body does not have are deleted unless `delete=false`."""
    namespace = segment(request, "namespace")
    before = {template_id for of, template_id, _ in found_templates(request) if of == namespace}
    violations: list[Violation] = []
    given: dict[str, tuple[str, ParsedFlow]] = {}
    for index, source in enumerate(documents(await read_text(request))):
        parsed = await parse_template(request, source)
        found = list(parsed.violations)
        if parsed.flow is not None and parsed.flow.namespace != namespace:
            found.append(Violation(path="namespace", message=f"must be `{namespace}`, as in the address"))
        if parsed.flow is not None and parsed.flow.id in given:
            found.append(Violation(path="id", message=f"`{parsed.flow.id}` comes twice"))
        violations += [
            Violation(path=f"[{index}].{each.path}", message=each.message, line=each.line, column=each.column)
            for each in found
        ]
        if not found and parsed.flow is not None:
            given[parsed.flow.id] = source, parsed
    if violations:
        raise FlowInvalid(violations)
    for source, parsed in given.values():
        await _save(request, source, parsed)
    if flag(request, "delete", default=True):
        for template_id in sorted(before - given.keys()):
            await _remove(request, namespace, template_id)
    shown: list[dict[str, Any]] = [
        {**parsed.document, "deleted": False, "source": source} for source, parsed in given.values()
    ]
    return json_answer(shown)


async def _named(request: web.Request) -> _Found:
    found_templates(request)  # whether templates are there at all
    names = list(dict.fromkeys(flow_names(await read_json(request))))
    if len(names) > _MOST_TEMPLATES:
        raise Problem(400, f"at most {_MOST_TEMPLATES} templates can be named at once")
    found: _Found = []
    for namespace, template_id in names:
        authorize(request, namespace)
        source = template_source(request.app[CATALOG], tenant(request), namespace, template_id)
        if source is None:
            raise not_found(f"the template {namespace}/{template_id}")
        found.append((namespace, template_id, source))
    return found


async def _archive(request: web.Request, found: _Found) -> web.StreamResponse:
    now = request.app[CLOCK]()
    sources = [(f"{namespace}.{template_id}.yml", source, now) for namespace, template_id, source in found]
    return await send_archive(request, "templates.zip", sources)


async def _delete(request: web.Request, found: _Found) -> web.StreamResponse:
    count = 0
    for namespace, template_id, _ in found:
        count += await _remove(request, namespace, template_id)
    return json_answer({"count": count})


async def _remove(request: web.Request, namespace: str, template_id: str) -> bool:
    try:
        await request.app[RESOURCES].delete(
            _KIND, tenant(request), f"{namespace}/{template_id}", by=user(request)
        )
    except ResourceConflict:
        return False  # somebody else was faster
    return True


async def _save(request: web.Request, source: str, parsed: ParsedFlow) -> None:
    flow = parsed.valid()
    body = encode(FlowBody(source=source))
    await request.app[RESOURCES].save(
        _KIND, tenant(request), f"{flow.namespace}/{flow.id}", body, by=user(request)
    )
