"""The file in which the Python package `kestra` looks for `context` (G K05): the variables of the task as JSON."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

from flowtide.model.task import RunContext

FILE_NAME: Final = ".kestra-execution-context.json"
_LEFT_OUT: Final = frozenset({"envs", "globals"})  # of the server, not of the execution


async def write_execution_context(context: RunContext) -> Path:
    """Write it into the working directory; gives its path.

    It holds what the job carries, which is what the task's own expressions name, and the flow, the execution and the
    task run.
    """
    path = context.working_directory / FILE_NAME
    content = {name: value for name, value in context.variables.items() if name not in _LEFT_OUT}
    text = json.dumps(content, default=str)
    await asyncio.to_thread(path.write_text, text, encoding="utf-8", errors="replace")
    return path
