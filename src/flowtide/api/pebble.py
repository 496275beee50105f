"""What expressions can call, for editors that complete them."""

from __future__ import annotations

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.expressions import IO_FUNCTIONS
from flowtide.expressions.filters import FILTERS
from flowtide.expressions.functions import FUNCTIONS


async def filters(request: web.Request) -> web.StreamResponse:
    """The names of the filters of expressions."""
    return json_answer(sorted(FILTERS))


async def functions(request: web.Request) -> web.StreamResponse:
    """The functions of expressions, each with the names of its parameters where they are fixed."""
    found = {
        name: list(FUNCTIONS[name][0].names) if name in FUNCTIONS else []
        for name in sorted({*FUNCTIONS, *IO_FUNCTIONS})
    }
    return json_answer(found)
