"""Switch: the case that the value names, else `defaults` (FLO-12)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import child_ended, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.encrypted import is_encrypted
from flowtide.model.flowables import Switch
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Evaluate the value as text, once, and enter its case."""
    definition = task.task
    assert isinstance(definition, Switch)
    values = turn.evaluate(run, task, {"value": definition.value}, typed=False, protected=("value",))
    if values is None:
        return
    value = turn.opened(values["value"])
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    found = f"case:{text}" in task.branches
    turn.enter(
        run,
        task,
        f"case:{text}" if found else "defaults",
        outputs={
            "value": values["value"] if is_encrypted(values["value"]) else text,
            "defaults": not found,
        },
    )


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with what the case came to."""
    turn.end(run, task, outcome, outputs=run.outputs)
