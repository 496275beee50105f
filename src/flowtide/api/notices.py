"""Announcements and kill switches over HTTP: what administrators tell everybody, and what they stop (ANN-01, KS-01)."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_body
from flowtide.api.keys import CATALOG, CLOCK, NEW_IDENTIFIER, PLATFORMS, RESOURCES
from flowtide.api.parameters import user
from flowtide.api.problems import Problem, not_found
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.instance import (
    BANNER_DECODER,
    KILL_SWITCH_DECODER,
    Banner,
    KillSwitch,
)
from flowtide.model.records import UNREADABLE, encode
from flowtide.model.resources import ResourceKind

_Body = TypeVar("_Body", Banner, KillSwitch)
_LONGEST: Final = 10_000


async def search_banners(request: web.Request) -> web.StreamResponse:
    """All announcements; `active` says which are shown now."""
    await request.app[PLATFORMS].fresh()
    found = _all(request, ResourceKind.BANNER, BANNER_DECODER)
    return json_answer([_banner(request, key, each) for key, each in found])


async def active_banners(request: web.Request) -> web.StreamResponse:
    """The announcements that everybody sees now."""
    await request.app[PLATFORMS].fresh()
    now = request.app[CLOCK]()
    found = _all(request, ResourceKind.BANNER, BANNER_DECODER)
    return json_answer([_banner(request, key, each) for key, each in found if each.is_active(now)])


def active_notices(request: web.Request, tenants: Container[str]) -> dict[str, Any]:
    """The announcement and the kill switches that somebody who may enter these tenants sees now (KS-06)."""
    now = request.app[CLOCK]()
    banners = [
        _banner(request, key, each)
        for key, each in _all(request, ResourceKind.BANNER, BANNER_DECODER)
        if each.is_active(now) and (each.tenant_id is None or each.tenant_id in tenants)
    ]
    switches = [
        _wire(key, each)
        for key, each in _all(request, ResourceKind.KILL_SWITCH, KILL_SWITCH_DECODER)
        if each.is_on(now) and (each.tenant_id is None or each.tenant_id in tenants)
    ]
    return {**({"banner": banners[0]} if banners else {}), "killSwitches": switches}


async def create_banner(request: web.Request) -> web.StreamResponse:
    """Announce something."""
    return await _save_banner(request, request.app[NEW_IDENTIFIER]())


async def update_banner(request: web.Request) -> web.StreamResponse:
    """Change an announcement."""
    return await _save_banner(request, _known(request, ResourceKind.BANNER))


async def delete_banner(request: web.Request) -> web.StreamResponse:
    """Remove an announcement."""
    identifier = _known(request, ResourceKind.BANNER)
    await request.app[RESOURCES].delete(ResourceKind.BANNER, SYSTEM_TENANT, identifier, by=user(request))
    return web.Response(status=204)


async def search_kill_switches(request: web.Request) -> web.StreamResponse:
    """All kill switches, the archived ones too."""
    await request.app[PLATFORMS].fresh()
    found = _all(request, ResourceKind.KILL_SWITCH, KILL_SWITCH_DECODER)
    return json_answer([_wire(key, each) for key, each in found])


async def create_kill_switch(request: web.Request) -> web.StreamResponse:
    """Stop or ignore the executions of a scope, from its start date on."""
    return await _save_switch(request, request.app[NEW_IDENTIFIER]())


async def update_kill_switch(request: web.Request) -> web.StreamResponse:
    """Change, enable or disable a kill switch."""
    return await _save_switch(request, _known(request, ResourceKind.KILL_SWITCH))


async def delete_kill_switch(request: web.Request) -> web.StreamResponse:
    """Archive a kill switch: it does nothing any more and stays visible (KS-05)."""
    identifier = _known(request, ResourceKind.KILL_SWITCH)
    saved = request.app[CATALOG].get(ResourceKind.KILL_SWITCH, SYSTEM_TENANT, identifier)
    assert saved is not None
    archived = msgspec.structs.replace(KILL_SWITCH_DECODER.decode(saved.body), deleted=True, enabled=False)
    await _save(request, ResourceKind.KILL_SWITCH, identifier, archived)
    return web.Response(status=204)


async def _save_banner(request: web.Request, identifier: str) -> web.StreamResponse:
    banner = await _read(
        request, BANNER_DECODER, "an announcement needs `message`, and may have `type`, dates"
    )
    if not banner.message.strip() or len(banner.message) > _LONGEST:
        raise Problem(422, f"`message` must be a text of at most {_LONGEST} characters")
    _check_dates(banner.start_date, banner.end_date)
    await _save(request, ResourceKind.BANNER, identifier, banner)
    return json_answer(_banner(request, identifier, banner))


async def _save_switch(request: web.Request, identifier: str) -> web.StreamResponse:
    switch = await _read(
        request, KILL_SWITCH_DECODER, "a kill switch needs `name`, `evaluationType` and `startDate`"
    )
    if not switch.name.strip():
        raise Problem(422, "`name` must not be empty")
    if switch.flow_id is not None and switch.namespace is None:
        raise Problem(422, "a kill switch of a flow needs `namespace` (KS-04)")
    if switch.namespace is not None and switch.tenant_id is None:
        raise Problem(422, "a kill switch of a namespace needs `tenantId` (KS-04)")
    if switch.tenant_id is None and not switch.execution_ids:
        raise Problem(422, "a kill switch needs `tenantId`, or `executionIds` (KS-04)")
    _check_dates(switch.start_date, switch.end_date)
    await _save(request, ResourceKind.KILL_SWITCH, identifier, switch)
    return json_answer(_wire(identifier, switch))


def _check_dates(start: Any, end: Any) -> None:
    for name, moment in (("startDate", start), ("endDate", end)):
        if moment is not None and moment.tzinfo is None:
            raise Problem(422, f"`{name}` must name its time zone, such as 2026-01-31T12:00:00Z")
    if start is not None and end is not None and end <= start:
        raise Problem(422, "`endDate` must be after `startDate`")


async def _read(request: web.Request, decoder: msgspec.json.Decoder[_Body], needs: str) -> _Body:
    try:
        document = msgspec.json.decode(await read_body(request))
        if isinstance(document, dict):
            if decoder is KILL_SWITCH_DECODER:
                document.setdefault("startDate", request.app[CLOCK]())
            document = {name: value for name, value in document.items() if value is not None}
        return decoder.decode(encode(document))
    except UNREADABLE as error:
        raise Problem(422, f"{needs}: {error}") from None


async def _save(request: web.Request, kind: ResourceKind, identifier: str, body: Banner | KillSwitch) -> None:
    await request.app[RESOURCES].save(kind, SYSTEM_TENANT, identifier, encode(body), by=user(request))


def _known(request: web.Request, kind: ResourceKind) -> str:
    identifier: str = request.match_info["id"]
    saved = request.app[CATALOG].get(kind, SYSTEM_TENANT, identifier)
    if saved is None or saved.deleted:
        raise not_found(f"`{identifier[:100]}`")
    return identifier


def _all(
    request: web.Request, kind: ResourceKind, decoder: msgspec.json.Decoder[_Body]
) -> list[tuple[str, _Body]]:
    found = request.app[CATALOG].list(kind, SYSTEM_TENANT)
    return [(identifier, decoder.decode(saved.body)) for identifier, saved in found]


def _wire(identifier: str, body: Banner | KillSwitch) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(body)
    if isinstance(body, KillSwitch):
        document |= {"enabled": body.enabled, "deleted": body.deleted}
    else:
        document["type"] = body.type.value
    return {"id": identifier, **document}


def _banner(request: web.Request, identifier: str, banner: Banner) -> dict[str, Any]:
    return _wire(identifier, banner) | {"active": banner.is_active(request.app[CLOCK]())}
