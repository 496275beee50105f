"""The executions of a ForEachItem: a child task run, which is a subflow, for each batch of the file (FLO-18).

All batches are started, in portions; a failed one does not keep the others from running.  What they gave is handed to
workers in portions too, as soon as there is enough of it (`flowtide.engine.gathering`).
"""

from __future__ import annotations

from typing import Any

from flowtide.engine.decide.constructs.basic import kill
from flowtide.engine.decide.constructs.for_each import PORTION
from flowtide.engine.execution import Run
from flowtide.engine.gathering import LAST, PORTION_BATCHES, PORTION_BYTES
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.events import BatchesCounted, LoopOpened
from flowtide.model.flowables.for_each_item import ItemExecutions, batch_name
from flowtide.model.states import STOPPING, State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]

_TOLD = 100
"""The executions' states are told again when one part in so many of what can change has changed."""


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Read from what the file was cut into how many batches there are, and start the first executions."""
    count = _split(turn, run, task).get("numberOfBatches")
    if not isinstance(count, int):
        raise ExpressionError("the number of batches is not known")
    cause = turn.emit(LoopOpened, run_id=run.run_id, values=[str(number) for number in range(count)])
    before, turn.cause = turn.cause, cause
    _go_on(turn, run, task)
    turn.cause = before


def child_ended(turn: Turn, run: Run, task: TaskPlan, child: Run) -> None:
    """When the last execution is over, and what all of them gave is written, so is the list."""
    _go_on(turn, run, task, gathered=child.items is None and child.value == LAST)


def resume(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Start the next portion."""
    if run.entered == "tasks":
        _go_on(turn, run, task)


def finish(turn: Turn, run: Run, task: TaskPlan, outcome: State) -> None:
    """End with how many executions came to which state, and where what they gave is."""
    outputs: dict[str, Any] = {"iterations": {}, "numberOfBatches": run.iterations or 0}
    gathering = turn.execution.gatherings.get(run.run_id)
    if gathering is not None:
        outputs["iterations"] = {state: count for state, count in gathering.counts.states.items() if count}
        if gathering.counts.listed is not None:
            outputs["uri"] = gathering.counts.listed
    turn.end(run, task, outcome, outputs=outputs)


def _go_on(turn: Turn, run: Run, task: TaskPlan, *, gathered: bool = False) -> None:
    """Start more executions, have written what those before gave, and end when there is nothing left of both."""
    values = turn.execution.loops[run.run_id]
    folder = str(_split(turn, run, task).get("splits")).rpartition("/")[0]
    while run.opened < len(values):
        if turn.iterations_opened >= PORTION:
            turn.continue_later(run)
            break
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
    gathering = turn.execution.gatherings.get(run.run_id)
    if gathering is None:
        if not values:
            turn.complete(run, task)
        return
    if gathering.waiting_bytes >= PORTION_BYTES or gathering.waiting >= PORTION_BATCHES:
        portions = gathering.cut()
        for batches in portions[:-1] or portions:  # what is left over waits for more
            _gather(turn, run, task, batches)
    if run.open > 0 or run.iterations_done < len(values):
        _tell(turn, run, len(values))
    elif gathered or run.worst in STOPPING or not (gathering.waiting or gathering.portions):
        turn.complete(run, task)
    else:
        _gather(turn, run, task, gathering.cut()[0], value=LAST)


def _gather(turn: Turn, run: Run, task: TaskPlan, batches: list[int], value: str | None = None) -> None:
    """Let a worker write to a file what batches gave."""
    number = turn.execution.progress.next_event  # no other child has this place
    gather = task.branches["gather"][0]
    turn.open_task(gather, run, "tasks", number, value=value or str(number), batches=batches)


def _tell(turn: Turn, run: Run, count: int) -> None:
    """Say how far the executions are, when that is much further than what was said."""
    gathering = turn.execution.gatherings[run.run_id]
    if run.opened + gathering.ended - gathering.counts.told < max(1, 2 * count // _TOLD):
        return
    live = {"CREATED": count - run.opened, "RUNNING": run.opened - gathering.ended}
    states = {state: number for state, number in {**live, **gathering.counts.states}.items() if number}
    turn.emit(BatchesCounted, run_id=run.run_id, iterations=states, batches=count)


def _split(turn: Turn, run: Run, task: TaskPlan) -> dict[str, Any]:
    """The outputs of the task that cut the file."""
    definition = task.task
    assert isinstance(definition, ItemExecutions)
    tree: Any = turn.execution.outputs.get(definition.split)
    for value in run.path:
        tree = tree.get(value) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}
