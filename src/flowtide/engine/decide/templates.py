"""Templates that are saved anew while executions run their tasks: what is there no more fails, visibly (FLW-17).

A template is read when an execution needs it, so that flows follow its changes; that is all that is known of it.
"""

from __future__ import annotations

from flowtide.engine.execution import ROOT
from flowtide.engine.turn import Turn
from flowtide.model.entries import Level
from flowtide.model.events import TaskRunEnded
from flowtide.model.states import State


def fail_lost(turn: Turn) -> None:
    """End the live task runs whose tasks the templates of the flow do not have any longer; costs a look at each."""
    runs = turn.execution.runs
    lost = [run for run in runs.values() if run.run_id != ROOT and run.task_id not in turn.plan.tasks]
    # Those inside first: a task run is over before the one around it.
    for run in sorted(lost, key=lambda run: run.number, reverse=True):
        reason = f"a template of the flow was changed meanwhile, and has no task `{run.task_id}` any more"
        turn.log(Level.ERROR, f"Task `{run.task_id}`: {reason}", run)
        cause = turn.emit(TaskRunEnded, run_id=run.run_id, state=State.FAILED, error=reason)
        turn.follow(run, cause)
    turn.settle()
