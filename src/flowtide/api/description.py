"""The OpenAPI document over HTTP, for generators of clients and pages that show an API; it is made once."""

from __future__ import annotations

import asyncio
from functools import cache

import yaml
from aiohttp import web

from flowtide.model.records import encode


@cache
def _document() -> dict[str, object]:
    from flowtide.api.openapi import openapi  # here, for that document is made of this route, too

    return openapi()


@cache
def _yaml() -> bytes:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return bytes(yaml.dump(_document(), Dumper=dumper, sort_keys=False, allow_unicode=True, encoding="utf-8"))


@cache
def _json() -> bytes:
    return encode(_document())


async def as_yaml(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document of this API, as YAML."""
    body = await asyncio.to_thread(_yaml)
    return web.Response(body=body, content_type="application/yaml", charset="utf-8")


async def as_json(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document of this API, as JSON."""
    return web.Response(body=await asyncio.to_thread(_json), content_type="application/json")
