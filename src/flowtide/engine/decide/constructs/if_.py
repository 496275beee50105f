"""If: `then` when the condition is true, else `else` (FLO-13, FLO-20)."""

from __future__ import annotations

from flowtide.engine.decide.constructs.basic import child_ended, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.expressions import truthy
from flowtide.model.flowables import If
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Evaluate the condition, once, and enter the branch."""
    definition = task.task
    assert isinstance(definition, If)
    values = turn.evaluate(
        run, task, {"condition": definition.condition}, typed=False, protected=("condition",)
    )
    if values is not None:
        result = truthy(turn.opened(values["condition"]))
        turn.enter(run, task, "then" if result else "else", outputs={"evaluationResult": result})


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with what the branch came to."""
    turn.end(run, task, outcome, outputs=run.outputs)
