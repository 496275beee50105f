"""Pages of other origins, and what every answer tells a browser: headers in, headers out (KEY-61).  State: none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from flowtide.api.keys import SITE
from flowtide.api.origins import origins_for

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_KEPT = ("/plugins", "/configs")  # below the prefix: the same for everybody, and asked for again and again
_PREFIX = "/api/v1"


@web.middleware
async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what browsers ask before they send a request of a page of another origin."""
    asked = hdrs.ORIGIN in request.headers and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if not request.app[SITE].cors or not asked or request.method != hdrs.METH_OPTIONS:
        return await handler(request)
    found = origins_for(request.app[SITE].cors, request.headers[hdrs.ORIGIN])
    if found is None or request.headers[hdrs.ACCESS_CONTROL_REQUEST_METHOD] not in found.methods:
        return web.Response(status=403)
    response = web.Response(status=204)
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = ", ".join(found.methods)
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    allowed = ", ".join(found.headers) or wanted
    if allowed and allowed.isprintable():
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = allowed
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(found.max_age_seconds)
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What goes with every answer, streams included: a signal of aiohttp, sent just before the head is."""
    headers = response.headers
    headers[hdrs.SERVER] = "Flowtide"  # and not which versions of what it is made of
    headers.setdefault("X-Content-Type-Options", "nosniff")
    site = request.app[SITE]
    path = request.rel_url.raw_path.removeprefix(site.context_path)
    if path.startswith(_PREFIX):
        # An answer of the API that a browser is made to show must not run anything, nor be framed.
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "no-referrer")
        if not path.removeprefix(_PREFIX).startswith(_KEPT):
            headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if not site.cors:
        return
    headers[hdrs.VARY] = ", ".join(filter(None, (headers.get(hdrs.VARY), hdrs.ORIGIN)))
    origin = request.headers.get(hdrs.ORIGIN)
    found = None if origin is None else origins_for(site.cors, origin)
    if origin is None or found is None:
        return
    headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    if found.is_named and found.credentials:
        headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    if found.exposed:
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(found.exposed)
