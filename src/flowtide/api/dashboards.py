"""Dashboards over HTTP: saved as their YAML, found, checked and deleted (E110); built-in ones can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_text
from flowtide.api.keys import CATALOG, CLOCK, NEW_IDENTIFIER, REGISTRY, RESOURCES
from flowtide.api.parameters import page, segment, sorting, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.errors import DashboardInvalid, ResourceConflict, Violation
from flowtide.model.dashboards.dashboard import Dashboard
from flowtide.model.dashboards.saved import SAVED_DASHBOARD_DECODER, SavedDashboard
from flowtide.model.dashboards.source import Parsed, parse_chart, parse_dashboard
from flowtide.model.records import encode, format_date
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.dashboards.built_in import BUILT_IN, built_in_source

_KIND = ResourceKind.DASHBOARD
_PARSED_IN_LOOP_BYTES = 5_000  # a larger source is parsed in a thread, so that others are answered meanwhile


# --- read --------------------------------------------------------------------------------------------------------


async def search(request: web.Request) -> web.StreamResponse:
    """Find dashboards by a part of their title, id or description."""
    wanted = page(request)
    text = request.query.get("q", "").strip().casefold()
    found = []
    for identifier, resource in request.app[CATALOG].list(_KIND, tenant(request)):
        saved = SAVED_DASHBOARD_DECODER.decode(resource.body)
        if text in f"{saved.title}\n{identifier}\n{saved.description or ''}".casefold():
            found.append((identifier, resource, saved))
    for each in reversed(sorting(request)):
        key = _SORT_KEYS.get(each.field)
        if key is None:
            known = ", ".join(sorted(_SORT_KEYS))
            raise Problem(400, f"dashboards can be sorted by {known}, not by `{each.field}`")
        found.sort(key=key, reverse=each.descending)
    shown = [
        await _wire(request, identifier, saved, resource)
        for identifier, resource, saved in found[wanted.offset : wanted.offset + wanted.size]
    ]
    return page_answer(shown, len(found))


_SORT_KEYS: Mapping[str, Callable[[tuple[str, Resource, SavedDashboard]], Any]] = {
    "id": lambda each: each[0],
    "title": lambda each: (each[2].title.casefold(), each[0]),
    "created": lambda each: each[2].created,
    "updated": lambda each: each[1].updated,
}


async def get(request: web.Request) -> web.StreamResponse:
    """A dashboard with its source."""
    identifier = request.match_info["id"]
    built_in = await _built_in(request, identifier)
    if built_in is not None:
        return json_answer(built_in)
    resource, saved = find_saved(request, identifier)
    return json_answer(await _wire(request, identifier, saved, resource))


async def defaults(request: web.Request) -> web.StreamResponse:
    """The built-in dashboards of the start page, of a namespace and of a flow."""
    return json_answer({name: await _built_in(request, each) for name, each in BUILT_IN.items()})


def find_saved(request: web.Request, identifier: str) -> tuple[Resource, SavedDashboard]:
    """A saved dashboard.  Raises Problem 404."""
    resource = request.app[CATALOG].get(_KIND, tenant(request), identifier)
    if resource is None or resource.deleted:
        raise not_found(f"the dashboard {identifier[:100]}" if identifier.isprintable() else "this dashboard")
    return resource, SAVED_DASHBOARD_DECODER.decode(resource.body)


async def find(request: web.Request) -> Dashboard:
    """The dashboard that the path names, a built-in one too.  Raises Problem 404, DashboardInvalid."""
    identifier = request.match_info["id"]
    source = built_in_source(identifier)
    if source is None:
        source = find_saved(request, identifier)[1].source
    return (await parse(request, source)).valid()


async def parse(request: web.Request, source: str) -> Parsed[Dashboard]:
    """Read a source with all that is wrong; large ones in a thread."""
    registry = request.app[REGISTRY]
    if len(source) <= _PARSED_IN_LOOP_BYTES:
        return parse_dashboard(source, registry)
    return await asyncio.to_thread(parse_dashboard, source, registry)


# --- write -------------------------------------------------------------------------------------------------------


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new dashboard; without `id` it gets one.  An id that is taken is a conflict."""
    source = await read_text(request)
    dashboard = (await parse(request, source)).valid()
    identifier = dashboard.id or request.app[NEW_IDENTIFIER]()
    try:
        return await _save(request, identifier, dashboard, source, expected_revision=0)
    except ResourceConflict as error:
        raise ResourceConflict(
            f"the dashboard {identifier} exists already", key=error.key, revision=error.revision
        ) from None


async def update(request: web.Request) -> web.StreamResponse:
    """Replace a dashboard."""
    identifier = _changeable(request)
    _, before = find_saved(request, identifier)
    source = await read_text(request)
    dashboard = (await parse(request, source)).valid()
    if dashboard.id not in (None, identifier):
        message = f"the dashboard is `{dashboard.id}`, it cannot replace `{identifier}`"
        raise DashboardInvalid([Violation(path="id", message=message)])
    return await _save(request, identifier, dashboard, source, before=before)


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a dashboard."""
    identifier = _changeable(request)
    find_saved(request, identifier)
    await request.app[RESOURCES].delete(_KIND, tenant(request), identifier, by=user(request))
    return web.Response(status=204)


async def validate(request: web.Request) -> web.StreamResponse:
    """What is wrong with a dashboard; `constraints` is left out when it is right."""
    return _validation(await parse(request, await read_text(request)))


async def validate_chart(request: web.Request) -> web.StreamResponse:
    """What is wrong with a single chart; `constraints` is left out when it is right."""
    return _validation(parse_chart(await read_text(request), request.app[REGISTRY]))


def _validation(parsed: Parsed[Any]) -> web.Response:
    entry: dict[str, Any] = {"index": 0, "warnings": parsed.warnings}
    if parsed.violations:
        entry["constraints"] = "\n".join(str(violation) for violation in parsed.violations)
    return json_answer(entry)


def _changeable(request: web.Request) -> str:
    if request.match_info["id"] in BUILT_IN.values():
        raise Problem(403, "a built-in dashboard cannot be changed: save a copy of it under another id")
    return segment(request, "id")


async def _save(
    request: web.Request,
    identifier: str,
    dashboard: Dashboard,
    source: str,
    *,
    before: SavedDashboard | None = None,
    expected_revision: int | None = None,
) -> web.StreamResponse:
    saved = SavedDashboard(
        source=source,
        title=dashboard.title,
        description=dashboard.description,
        created=before.created if before is not None else request.app[CLOCK](),
    )
    resource = await request.app[RESOURCES].save(
        _KIND, tenant(request), identifier, encode(saved), expected_revision, by=user(request)
    )
    return json_answer(_shown(request, identifier, dashboard, saved, resource))


# --- how a dashboard is shown ------------------------------------------------------------------------------------


async def _wire(
    request: web.Request, identifier: str, saved: SavedDashboard, resource: Resource
) -> dict[str, Any]:
    parsed = await parse(request, saved.source)
    return _shown(request, identifier, parsed.thing, saved, resource)


def _shown(
    request: web.Request,
    identifier: str,
    dashboard: Dashboard | None,
    saved: SavedDashboard,
    resource: Resource,
) -> dict[str, Any]:
    """A dashboard for the API; of one that can no longer be read, such as after a plugin went, only the source."""
    shown: dict[str, Any] = {"title": saved.title, "charts": []}
    if saved.description is not None:
        shown["description"] = saved.description
    if dashboard is not None:
        shown = _content(dashboard)
    return {
        **shown,
        "id": identifier,
        "tenantId": tenant(request),
        "deleted": False,
        "created": format_date(saved.created),
        "updated": format_date(resource.updated),
        "sourceCode": saved.source,
    }


def _content(dashboard: Dashboard) -> dict[str, Any]:
    shown: dict[str, Any] = dashboard.model_dump(mode="json", by_alias=True, exclude_none=True)
    return shown


async def _built_in(request: web.Request, identifier: str) -> dict[str, Any] | None:
    source = built_in_source(identifier)
    if source is None:
        return None
    dashboard = (await parse(request, source)).valid()
    return {
        **_content(dashboard),
        "id": identifier,
        "tenantId": tenant(request),
        "deleted": False,
        "sourceCode": source,
    }
