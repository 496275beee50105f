"""The executions of a ForEachItem: a child task run, which is a subflow, for each batch of the file (FLO-18).

All batches are started, in portions; a failed one does not keep the others from running.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from flowtide.engine.decide.constructs.basic import kill
from flowtide.engine.decide.constructs.for_each import PORTION
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.events import LoopOpened
from flowtide.model.flowables.for_each_item import ItemExecutions, batch_name
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Read from what the file was cut into how many batches there are, and start the first executions."""
    count = _split(turn, run, task).get("numberOfBatches")
    if not isinstance(count, int):
        raise ExpressionError("the number of batches is not known")
    cause = turn.emit(LoopOpened, run_id=run.run_id, values=[str(number) for number in range(count)])
    before, turn.cause = turn.cause, cause
    _open_more(turn, run, task)
    turn.cause = before


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """When the last execution is over, so is the list."""
    _open_more(turn, run, task)


def resume(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Start the next portion."""
    if run.entered == "tasks":
        _open_more(turn, run, task)


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with how many executions came to which state."""
    batches = _below(turn.execution.outputs.get(task.branches["tasks"][0].id), run.path)
    states = Counter(
        found for each in batches.values() if isinstance(each, dict) and (found := each.get("state"))
    )
    turn.end(run, task, outcome, outputs={"iterations": dict(states), "numberOfBatches": run.iterations or 0})


def _open_more(turn: Turn, run: Run, task: TaskPlan) -> None:
    values = turn.execution.loops[run.run_id]
    folder = str(_split(turn, run, task).get("splits")).rpartition("/")[0]
    while run.opened < len(values):
        if turn.iterations_opened >= PORTION:
            turn.continue_later(run)
            return
        turn.iterations_opened += 1
        number = run.opened
        turn.open_task(
            task.branches["tasks"][0],
            run,
            "tasks",
            0,
            value=values[number],
            iteration=number,
            items=f"{folder}/{batch_name(number)}",
        )
    if run.open == 0 and run.iterations_done == len(values):
        turn.complete(run, task)


def _split(turn: Turn, run: Run, task: TaskPlan) -> dict[str, Any]:
    """The outputs of the task that cut the file."""
    definition = task.task
    assert isinstance(definition, ItemExecutions)
    return _below(turn.execution.outputs.get(definition.split), run.path)


def _below(tree: Any, path: list[str]) -> dict[str, Any]:
    """What stands in a task's outputs below the values of the loops around it."""
    for value in path:
        tree = tree.get(value) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}
