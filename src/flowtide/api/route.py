"""One operation of the API, as the table of routes has it: method, path and handler.  No state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from flowtide.api.permissions import Rule, rule_of

PREFIX = "/api/v1"
TENANT = "/{tenant}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One operation of the API."""

    method: str
    path: str  # below PREFIX
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    summary: str
    answer: str  # the type of the answer, as in catalogue G
    open: bool = False  # whether it needs no login

    @property
    def permission(self) -> Rule | None:
        """What it asks of its caller; None, for superadmins only, when api/permission_table.py does not know it."""
        return rule_of(self.method, self.path)


PATTERNS: web.AppKey[Mapping[str, Route]] = web.AppKey("patterns")  # "METHOD pattern" -> route


def route(
    method: str,
    path: str,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    answer: str,
    *,
    open: bool = False,  # noqa: A002 - the word of the domain
) -> Route:
    """A route, with the first line of its handler's documentation as its summary."""
    summary = (handler.__doc__ or "").strip().partition("\n")[0]
    return Route(method=method, path=path, handler=handler, summary=summary, answer=answer, open=open)
