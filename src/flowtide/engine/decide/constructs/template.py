"""Template: the tasks of a template in sequence, with the rendered `args` among its outputs (FLW-17, G01)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import child_ended, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.model.flowables import Template
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Render `args`, once, and open the first task; without the template there is nothing to run."""
    definition = task.task
    assert isinstance(definition, Template)
    if task.refused is not None:
        turn.fail(run, task, f"Task `{task.id}`: {task.refused}", at_once=True)
        return
    values = turn.evaluate(run, task, {"args": dict(definition.args)}, mixed=True, protected=("args",))
    if values is not None:
        turn.enter(run, task, "tasks", outputs={"args": values["args"]})


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with what the tasks came to."""
    turn.end(run, task, outcome, outputs=run.outputs)
