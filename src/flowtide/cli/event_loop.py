"""The event loop of commands: a coroutine in, its result out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run until the end, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.run(work)
    return uvloop.run(work)
