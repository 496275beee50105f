"""Blueprints over HTTP: those of the tenant, saved and made into flows, and those of Flowtide itself (E165, E166)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_json
from flowtide.api.filters import read_conditions
from flowtide.api.flows import parse
from flowtide.api.keys import CATALOG, CLOCK, NEW_IDENTIFIER, RESOURCES
from flowtide.api.parameters import flag, page, segment, sorting, tenant, texts, user
from flowtide.api.problems import Problem, not_found
from flowtide.errors import FlowInvalid
from flowtide.expressions import Scope, compile_template, render_value
from flowtide.index.queries import Operation
from flowtide.model.blueprints import (
    SAVED_BLUEPRINT_DECODER,
    BlueprintKind,
    BlueprintTemplate,
    SavedBlueprint,
    arguments_wire,
    given_arguments,
    included_types,
    restored,
    template_of,
)
from flowtide.model.flow_graph import flow_graph
from flowtide.model.input_resolution import resolve_inputs
from flowtide.model.records import encode, format_date
from flowtide.model.resources import ResourceKind
from flowtide.services.blueprints import CommunityBlueprint, community_blueprints

_KIND = ResourceKind.BLUEPRINT
_LONGEST_TITLE = 150
_MOST_TAGS = 50
_FILTERS = {"q": {Operation.EQUALS}, "tags": {Operation.IN, Operation.EQUALS}}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """What all blueprints have in common."""

    id: str
    kind: str
    title: str
    description: str | None
    tags: Sequence[str]
    source: str
    published: datetime | None = None

    def wire(self, *, with_source: bool) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "title": self.title,
            "tags": list(self.tags),
            "includedTasks": included_types(self.source),
            "deleted": False,
        }
        if self.description is not None:
            shown["description"] = self.description
        if self.published is not None:
            shown["publishedAt"] = format_date(self.published)
        if with_source:
            shown["source"] = self.source
        try:
            template = template_of(self.source)
        except FlowInvalid:  # what was valid when it was saved
            template = None
        if template is not None:
            arguments = arguments_wire(template.arguments)
            shown["template"] = {"source": template.text, "templateArguments": arguments}
        return shown


# --- those of the tenant -----------------------------------------------------------------------------------------


async def search(request: web.Request) -> web.StreamResponse:
    """Find the tenant's blueprints by words and tags."""
    return _found(request, _saved(request), with_source=flag(request, "source"))


async def tags(request: web.Request) -> web.StreamResponse:
    """The tags of the tenant's blueprints."""
    return json_answer(sorted({tag for each in _saved(request) for tag in each.tags}))


async def get(request: web.Request) -> web.StreamResponse:
    """A blueprint of the tenant with its source, and with its arguments when it is a template."""
    return json_answer(_find(request).wire(with_source=True))


async def source(request: web.Request) -> web.StreamResponse:
    """The source of a blueprint of the tenant."""
    return _source(_find(request).source)


async def create(request: web.Request) -> web.StreamResponse:
    """Save a new blueprint."""
    saved = await _read(request, created=request.app[CLOCK]())
    return await _save(request, request.app[NEW_IDENTIFIER](), saved, expected_revision=0)


async def update(request: web.Request) -> web.StreamResponse:
    """Replace a blueprint."""
    before = _find(request)
    assert before.published is not None, "a saved blueprint has the date when it was made"
    saved = await _read(request, created=before.published, kind=before.kind)
    return await _save(request, before.id, saved)


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete a blueprint; flows that were made of it stay."""
    identifier = _find(request).id
    await request.app[RESOURCES].delete(_KIND, tenant(request), identifier, by=user(request))
    return web.Response(status=204)


async def use_template(request: web.Request) -> web.StreamResponse:
    """Make a flow of a template and the values of its arguments."""
    found = _find(request)
    template = template_of(found.source)
    if template is None:
        raise Problem(
            422, f"the blueprint `{found.title}` is no template: it declares no `templateArguments`"
        )
    body = await read_json(request)
    given = (body.get("templateArgumentsInputs") or {}) if isinstance(body, dict) else None
    if not isinstance(given, dict):
        raise Problem(422, 'the body must be {"templateArgumentsInputs": {argument: value}}')
    generated = await asyncio.to_thread(_filled, template, given_arguments(given), request.app[CLOCK])
    return json_answer({"generatedFlowSource": generated})


def _filled(template: BlueprintTemplate, given: Mapping[str, Any], clock: Callable[[], datetime]) -> str:
    """The flow.  No function of its expressions does I/O: who may use a blueprint may not read secrets by it."""

    def render(value: Any, variables: Mapping[str, Any]) -> Any:
        return render_value(value, Scope(variables, now=clock), typed=True)

    values = resolve_inputs(template.arguments, given, render)
    return restored(compile_template(template.expression).render(Scope({"arg": values}, now=clock)))


def _saved(request: web.Request) -> Iterable[_Shown]:
    for identifier, resource in request.app[CATALOG].list(_KIND, tenant(request)):
        yield _shown(identifier, SAVED_BLUEPRINT_DECODER.decode(resource.body))


def _find(request: web.Request) -> _Shown:
    identifier = segment(request, "id")
    resource = request.app[CATALOG].get(_KIND, tenant(request), identifier)
    if resource is None or resource.deleted:
        raise not_found(f"the blueprint {identifier}")
    return _shown(identifier, SAVED_BLUEPRINT_DECODER.decode(resource.body))


def _shown(identifier: str, saved: SavedBlueprint) -> _Shown:
    return _Shown(
        id=identifier,
        kind=saved.kind,
        title=saved.title,
        description=saved.description,
        tags=saved.tags,
        source=saved.source,
        published=saved.created,
    )


async def _read(request: web.Request, *, created: datetime, kind: str = BlueprintKind.FLOW) -> SavedBlueprint:
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(422, "a blueprint must be an object with `title` and `source`")
    title, text = body.get("title"), body.get("source")
    if not isinstance(title, str) or not title.strip() or len(title) > _LONGEST_TITLE:
        raise Problem(422, f"`title` must be a text of 1 to {_LONGEST_TITLE} characters")
    if not isinstance(text, str) or not text.strip():
        raise Problem(422, "`source` must be the text of a flow")
    description = body.get("description")
    if description is not None and not isinstance(description, str):
        raise Problem(422, "`description` must be a text")
    given = body.get("tags") or []
    if (
        not isinstance(given, list)
        or len(given) > _MOST_TAGS
        or not all(isinstance(tag, str) for tag in given)
    ):
        raise Problem(422, f"`tags` must be a list of at most {_MOST_TAGS} texts")
    try:
        chosen = BlueprintKind(str(body.get("kind") or kind).upper())
    except ValueError:
        raise Problem(422, f"`kind` must be one of {', '.join(BlueprintKind)}") from None
    template_of(text)
    return SavedBlueprint(
        title=title,
        source=text,
        created=created,
        kind=chosen.value,
        description=description,
        tags=list(dict.fromkeys(given)),
    )


async def _save(
    request: web.Request, identifier: str, saved: SavedBlueprint, expected_revision: int | None = None
) -> web.StreamResponse:
    await request.app[RESOURCES].save(
        _KIND, tenant(request), identifier, encode(saved), expected_revision, by=user(request)
    )
    shown = _shown(identifier, saved).wire(with_source=True)
    if (
        request.method == "PUT"
    ):  # where the clients do not take an answer that lacks this other name of the source
        shown = {**shown, "flow": saved.source}
    return json_answer(shown)


# --- those that come with Flowtide -------------------------------------------------------------------------------


async def search_community(request: web.Request) -> web.StreamResponse:
    """Find the blueprints of a kind that come with Flowtide, by words and tags."""
    kind = _kind(request)
    return _found(request, [_community(each) for each in community_blueprints() if each.kind is kind])


async def community_tags(request: web.Request) -> web.StreamResponse:
    """The tags of the blueprints of a kind that come with Flowtide."""
    kind = _kind(request)
    return json_answer(
        sorted({tag for each in community_blueprints() if each.kind is kind for tag in each.tags})
    )


async def get_community(request: web.Request) -> web.StreamResponse:
    """A blueprint that comes with Flowtide, with its source."""
    return json_answer(_community(_find_community(request)).wire(with_source=True))


async def community_source(request: web.Request) -> web.StreamResponse:
    """The source of a blueprint that comes with Flowtide."""
    return _source(_find_community(request).source)


async def community_graph(request: web.Request) -> web.StreamResponse:
    """The graph of a flow that comes with Flowtide."""
    found = _find_community(request)
    if found.kind is not BlueprintKind.FLOW:
        raise not_found(f"a graph of the {found.kind.lower()} {found.id}")
    return json_answer(flow_graph((await parse(request, found.source)).valid()))


def _find_community(request: web.Request) -> CommunityBlueprint:
    kind, identifier = _kind(request), segment(request, "id")
    for each in community_blueprints():
        if each.kind is kind and each.id == identifier:
            return each
    raise not_found(f"the blueprint {identifier}")


def _kind(request: web.Request) -> BlueprintKind:
    try:
        return BlueprintKind(request.match_info["kind"].upper())
    except ValueError:
        raise not_found("this kind of blueprints") from None


def _community(each: CommunityBlueprint) -> _Shown:
    return _Shown(
        id=each.id,
        kind=each.kind.value,
        title=each.title,
        description=each.description,
        tags=each.tags,
        source=each.source,
    )


# --- search in memory --------------------------------------------------------------------------------------------


def _found(request: web.Request, all_of_them: Iterable[_Shown], *, with_source: bool = False) -> web.Response:
    wanted = page(request)
    words = request.query.get("q", "").casefold().split()
    chosen = set(texts(request, "tags"))
    for condition in read_conditions(request.query, _FILTERS):
        if condition.field == "q":
            words += condition.value.casefold().split()
        else:
            chosen |= set(condition.values)
    found = [
        each
        for each in all_of_them
        if chosen <= set(each.tags) and all(word in _described(each) for word in words)
    ]
    for order in reversed(sorting(request)):
        key = _SORT_KEYS.get(order.field)
        if key is None:
            known = ", ".join(sorted(_SORT_KEYS))
            raise Problem(400, f"blueprints can be sorted by {known}, not by `{order.field}`")
        found.sort(key=key, reverse=order.descending)
    shown = found[wanted.offset : wanted.offset + wanted.size]
    return page_answer([each.wire(with_source=with_source) for each in shown], len(found))


def _described(each: _Shown) -> str:
    parts = (each.title, each.description or "", *each.tags, *included_types(each.source))
    return "\n".join(parts).casefold()


_SORT_KEYS: Mapping[str, Callable[[_Shown], Any]] = {
    "id": lambda each: each.id,
    "title": lambda each: (each.title.casefold(), each.id),
    "publishedAt": lambda each: format_date(each.published) if each.published is not None else "",
}


def _source(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/yaml")
