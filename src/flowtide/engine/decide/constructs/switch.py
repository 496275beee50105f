"""Switch: the case that the value names, else `defaults` (FLO-12)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import child_ended, finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.flowables import Switch

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Evaluate the value as text, once, and enter its case."""
    definition = task.task
    assert isinstance(definition, Switch)
    values = turn.evaluate(run, task, {"value": definition.value}, typed=False)
    if values is None:
        return
    value = values["value"]
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    turn.enter(run, task, f"case:{text}" if f"case:{text}" in task.branches else "defaults")
