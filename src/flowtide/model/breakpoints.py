"""Breakpoints as requests name them: `task` or `task.value`, several separated by commas."""

from __future__ import annotations

from flowtide.model.records import Breakpoint


def read_breakpoints(text: str) -> list[Breakpoint]:
    """Read a list of breakpoints; an empty text names none.  Raises ValueError for one without a task."""
    found = []
    for part in text.split(","):
        name = part.strip()
        if not name:
            continue
        task_id, dot, value = name.partition(".")
        if not task_id:
            raise ValueError(f"the breakpoint `{name[:256]}` names no task: write `task` or `task.value`")
        found.append(Breakpoint(id=task_id, value=value if dot else None))
    return found


def stops_at(breakpoints: list[Breakpoint], task_id: str, value: str | None) -> bool:
    """Whether a task run stands at one of the breakpoints; one without a value stands for every value."""
    return any(each.id == task_id and each.value in (None, value) for each in breakpoints)
