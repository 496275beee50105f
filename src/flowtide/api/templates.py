"""Templates over HTTP, deprecated: saved, read and deleted where the operator enables them (FLW-17, page 244)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_text
from flowtide.api.flows import parse
from flowtide.api.keys import CATALOG, RESOURCES, SITE
from flowtide.api.parameters import page, segment, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import within
from flowtide.errors import FlowInvalid, ResourceConflict, Violation
from flowtide.model.records import encode
from flowtide.model.resources import FlowBody, ResourceKind
from flowtide.model.source import ParsedFlow
from flowtide.services.templates import saved_templates, template_source

_KIND = ResourceKind.TEMPLATE
_PROPERTIES = frozenset({"id", "namespace", "description", "tasks", "errors"})


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new template; one that exists is a conflict."""
    source, parsed = await _read(request)
    if parsed.flow is not None:
        authorize(request, parsed.flow.namespace)
    return await _save(request, source, parsed, expected_revision=0)


async def get(request: web.Request) -> web.StreamResponse:
    """A template, with its source."""
    source = _source(request)
    return json_answer(_wire(await parse(request, source), source))


async def update(request: web.Request) -> web.StreamResponse:
    """Replace a template."""
    _source(request)
    source, parsed = await _read(request)
    flow = parsed.valid()
    wanted = segment(request, "namespace"), segment(request, "id")
    if (flow.namespace, flow.id) != wanted:
        message = f"the template is {flow.namespace}/{flow.id}, it cannot replace {'/'.join(wanted)}"
        raise FlowInvalid([Violation(path="id", message=message)])
    return await _save(request, source, parsed, expected_revision=None)


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a template; executions of flows that use it fail there from now on."""
    _source(request)
    identifier = f"{segment(request, 'namespace')}/{segment(request, 'id')}"
    await request.app[RESOURCES].delete(_KIND, tenant(request), identifier, by=user(request))
    return web.Response(status=204)


async def search(request: web.Request) -> web.StreamResponse:
    """Find templates by a part of their id, and by namespace."""
    wanted = page(request)
    found = found_templates(request)
    shown = found[wanted.offset : wanted.offset + wanted.size]
    return page_answer([_wire(await parse(request, source), source) for _, _, source in shown], len(found))


def found_templates(request: web.Request) -> list[tuple[str, str, str]]:
    """The templates that the query string asks for, as (namespace, id, source).  Raises Problem 404."""
    _enabled(request)
    allowed = authorized_namespaces(request)
    text = request.query.get("q", "").casefold()
    namespace = request.query.get("namespace")
    return [
        (of, template_id, source)
        for of, template_id, source in saved_templates(request.app[CATALOG], tenant(request))
        if within(of, allowed)
        and text in template_id.casefold()
        and (not namespace or of == namespace or of.startswith(f"{namespace}."))
    ]


async def namespaces(request: web.Request) -> web.StreamResponse:
    """The namespaces that have templates."""
    _enabled(request)
    allowed = authorized_namespaces(request)
    return json_answer(
        sorted(
            {of for of, _, _ in saved_templates(request.app[CATALOG], tenant(request)) if within(of, allowed)}
        )
    )


async def validate(request: web.Request) -> web.StreamResponse:
    """What is wrong with a template; `constraints` is left out when it is right."""
    _enabled(request)
    _, parsed = await _read(request)
    entry: dict[str, Any] = {"index": 0, "warnings": parsed.warnings}
    if parsed.violations:
        entry["constraints"] = "\n".join(str(violation) for violation in parsed.violations)
    return json_answer([entry])


async def _read(request: web.Request) -> tuple[str, ParsedFlow]:
    _enabled(request)
    source = await read_text(request)
    return source, await parse_template(request, source)


async def parse_template(request: web.Request, source: str) -> ParsedFlow:
    """Read a template with all that is wrong with it."""
    _enabled(request)
    parsed = await parse(request, source)
    for name in sorted(parsed.document.keys() - _PROPERTIES):
        parsed.violations.append(Violation(path=name, message="a template has no such property"))
    return parsed


async def _save(
    request: web.Request, source: str, parsed: ParsedFlow, *, expected_revision: int | None
) -> web.StreamResponse:
    if parsed.violations:
        raise FlowInvalid(parsed.violations)
    flow = parsed.valid()
    body = encode(FlowBody(source=source))
    try:
        await request.app[RESOURCES].save(
            _KIND, tenant(request), f"{flow.namespace}/{flow.id}", body, expected_revision, by=user(request)
        )
    except ResourceConflict as error:
        raise ResourceConflict(
            f"the template {flow.namespace}/{flow.id} exists already", key=error.key, revision=error.revision
        ) from None
    return json_answer(_wire(parsed, source))


def _source(request: web.Request) -> str:
    _enabled(request)
    namespace, template_id = segment(request, "namespace"), segment(request, "id")
    source = template_source(request.app[CATALOG], tenant(request), namespace, template_id)
    if source is None:
        raise not_found(f"the template {namespace}/{template_id}")
    return source


def _wire(parsed: ParsedFlow, source: str) -> dict[str, Any]:
    return {**parsed.document, "deleted": False, "source": source}


def _enabled(request: web.Request) -> None:
    if not request.app[SITE].templates_enabled:
        raise Problem(
            404, "templates are deprecated and disabled: set `templates.enabled`, or let flows use Subflow"
        )
