"""Paths as clients write them: one with a slash at its end means what it means without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.abc import AbstractMatchInfo

Resolve = Callable[[web.Request], Awaitable[AbstractMatchInfo]]


def without_last_slash(resolve: Resolve, prefix: str) -> Resolve:
    """A resolver that looks again without the slash for what is not found below `prefix`.

    The request stays as it came; a redirect would cost every POST its body with many clients.
    """

    async def resolved(request: web.Request) -> AbstractMatchInfo:
        found = await resolve(request)
        path = request.rel_url.raw_path
        if found.http_exception is None or not path.startswith(prefix) or not path.endswith("/"):
            return found
        plain = request.rel_url.with_path(path.rstrip("/"), encoded=True)
        again = await resolve(request.clone(rel_url=plain))
        return found if again.http_exception is not None else again

    return resolved
