"""The plugins of this server: groups, documentation, schemas and icons (catalogue G, "plugins"; E063).

What a class says is read in a thread: the first request may import all plugins.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer, page_answer
from flowtide.api.keys import PLUGINS
from flowtide.api.parameters import flag, page, segment
from flowtide.api.problems import not_found
from flowtide.services.plugin_docs import icon_svg


async def list_of_groups(request: web.Request) -> web.StreamResponse:
    """The plugin groups with their types; a page of them when `page` or `size` is given."""
    return _listed(request, await asyncio.to_thread(request.app[PLUGINS].groups))


async def list_of_packages(request: web.Request) -> web.StreamResponse:
    """The packages of all groups with their types."""
    return json_answer(await asyncio.to_thread(request.app[PLUGINS].groups, packages=True))


async def list_of_triggers(request: web.Request) -> web.StreamResponse:
    """The trigger types, to choose from."""
    found = await asyncio.to_thread(request.app[PLUGINS].triggers)
    wanted = page(request)
    return page_answer(found[wanted.offset : wanted.offset + wanted.size], len(found))


def _listed(request: web.Request, found: list[dict[str, Any]]) -> web.StreamResponse:
    # 1.3 gives a plain list, 2.0 pages.
    if "page" in request.query or "size" in request.query:
        wanted = page(request)
        return page_answer(found[wanted.offset : wanted.offset + wanted.size], len(found))
    return json_answer(found)


async def documentation(request: web.Request) -> web.StreamResponse:
    """The documentation and the schema of a type, also by a former name."""
    name = segment(request, "cls")
    found = await asyncio.to_thread(request.app[PLUGINS].documentation, name)
    if found is None:
        raise not_found(f"the plugin {name}")
    return json_answer(found)


async def versions(request: web.Request) -> web.StreamResponse:
    """The versions of a type that are here."""
    name = segment(request, "cls")
    found = await asyncio.to_thread(request.app[PLUGINS].find, name)
    if found is None:
        raise not_found(f"the plugin {name}")
    return json_answer({"type": found[1], "versions": [request.app[PLUGINS].version]})


async def documentation_of_version(request: web.Request) -> web.StreamResponse:
    """The documentation of one version of a type."""
    if segment(request, "version") != request.app[PLUGINS].version:
        raise not_found(f"version {segment(request, 'version')} of the plugin {segment(request, 'cls')}")
    return await documentation(request)


async def flow_schema(request: web.Request) -> web.StreamResponse:
    """The JSON Schema of a flow, with every plugin, for editors."""
    return json_answer(await asyncio.to_thread(request.app[PLUGINS].schema, "flow"))


async def schema(request: web.Request) -> web.StreamResponse:
    """The JSON Schema of what `schemaType` names, such as `flow` or `chart`; of a list of them with `arrayOf`."""
    kind = segment(request, "schemaType").lower()
    found = await asyncio.to_thread(request.app[PLUGINS].schema, kind)
    if found is None:
        raise not_found(f"the schema `{kind}`")
    if flag(request, "arrayOf"):
        of_one = {key: value for key, value in found.items() if key not in ("$schema", "$defs")}
        found = {"$schema": found["$schema"], "type": "array", "items": of_one, "$defs": found["$defs"]}
    return json_answer(found)


async def properties(request: web.Request) -> web.StreamResponse:
    """The properties of what `schemaType` names, by their names."""
    kind = segment(request, "schemaType").lower()
    found = await asyncio.to_thread(request.app[PLUGINS].schema, kind)
    if found is None:
        raise not_found(f"the schema `{kind}`")
    reference = found.get("$ref")
    definition = found["$defs"][reference.rpartition("/")[2]] if reference is not None else found
    return json_answer(
        {"properties": definition.get("properties", {}), "required": definition.get("required", [])}
    )


async def list_of_inputs(request: web.Request) -> web.StreamResponse:
    """The types of inputs."""
    inputs = await asyncio.to_thread(lambda: request.app[PLUGINS].inputs)
    return json_answer([{"type": name, "cls": part.__name__} for name, part in inputs.items()])


async def input_documentation(request: web.Request) -> web.StreamResponse:
    """The documentation and the schema of an input type."""
    name = segment(request, "inputType")
    found = await asyncio.to_thread(request.app[PLUGINS].input_documentation, name)
    if found is None:
        raise not_found(f"the input type {name}")
    return json_answer(found)


async def icons(request: web.Request) -> web.StreamResponse:
    """The icon of every type, as SVG in base64."""
    return json_answer(await asyncio.to_thread(lambda: request.app[PLUGINS].icons))


async def group_icons(request: web.Request) -> web.StreamResponse:
    """The icon of every group."""
    return json_answer(await asyncio.to_thread(lambda: request.app[PLUGINS].group_icons))


async def icon(request: web.Request) -> web.StreamResponse:
    """The icon of one type."""
    name = segment(request, "cls")
    found = (await asyncio.to_thread(lambda: request.app[PLUGINS].icons)).get(name)
    if found is None:
        raise not_found(f"the icon of {name}")
    return json_answer({"icon": found})


async def icon_image(request: web.Request) -> web.StreamResponse:
    """The icon of one type as an image."""
    name = segment(request, "cls")
    found = await asyncio.to_thread(request.app[PLUGINS].find, name)
    if found is None:
        raise not_found(f"the icon of {name}")
    return web.Response(text=icon_svg(found[1], found[0]), content_type="image/svg+xml")
