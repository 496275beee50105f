"""What workers are given: attempts of task runs, and expressions that the executor does not render itself.

In come a turn and a task run, out goes a job to a worker group, or a control to the worker that holds the directory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from flowtide.engine import groups
from flowtide.engine.gathering import handed
from flowtide.engine.outgoing import ToEveryWorker, ToWorkers
from flowtide.engine.variables import selected
from flowtide.expressions import references_of
from flowtide.model.events import EvaluationRequested
from flowtide.model.jobs import Evaluate, FlowRef, RunInDirectory, RunTask
from flowtide.model.records import encode
from flowtide.model.states import State

if TYPE_CHECKING:
    from flowtide.engine.execution import Run
    from flowtide.engine.plan import TaskPlan
    from flowtide.engine.turn import Turn


def hand_out(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Send a job to the workers of its group, with what the task's expressions name."""
    directory = directory_of(turn, run, task)
    # In a directory there is no choice: its worker was chosen when it was opened.
    group = None if directory is not None else groups.choose(turn, run, task)
    if directory is None and group is None:
        return
    chosen = selected(turn.variables(task, run, task.roots), task.references)
    if task.gathers is not None:
        chosen.update(handed(turn.execution, run, task.gathers))
    at = turn.now
    if turn.execution.progress.root.entered == "afterExecution":
        # A kill names everything that was handed out until its moment, and this may be the same moment.
        at += timedelta(microseconds=1)
    job = RunTask(
        tenant_id=turn.tenant,
        execution_id=turn.execution_id,
        run_id=run.run_id,
        attempt=run.attempt,
        task_id=task.id,
        flow=_flow_ref(turn),
        task=task.raw,
        variables=msgspec.Raw(encode(chosen)),
        at=at,
        parent_run_id=run.parent_id or None,
        value=run.value,
        trace_parent=turn.execution.head.trace_parent,
        execution_kind=turn.execution.head.kind,
        ancestors=_ancestors(turn),
    )
    if group is not None:
        turn.send(ToWorkers(job, group.key))
        return
    assert directory is not None
    assert directory.worker_id is not None  # it said that the directory is there, else nothing runs inside
    control = RunInDirectory(
        tenant_id=turn.tenant,
        execution_id=turn.execution_id,
        worker_id=directory.worker_id,
        directory_run_id=directory.run_id,
        directory_attempt=directory.attempt,
        job=job,
    )
    turn.send(ToEveryWorker(control))


def ask(
    turn: Turn,
    run: Run,
    task: TaskPlan,
    expressions: Mapping[str, Any],
    *,
    outcome: State | None,
    protected: Collection[str],
) -> None:
    """Have workers evaluate properties of a task run; see `Turn.evaluate`.  Raises ExpressionError when nobody can."""
    group = groups.choose_for_evaluation(turn, run, task)
    if group is None:
        return
    turn.emit(EvaluationRequested, run_id=run.run_id, properties=sorted(expressions), outcome=outcome)
    variables = selected(turn.variables(task, run), references_of(expressions))
    job = Evaluate(
        tenant_id=turn.tenant,
        execution_id=turn.execution_id,
        run_id=run.run_id,
        task_id=run.task_id,
        flow=_flow_ref(turn),
        expressions=dict(expressions),
        variables=msgspec.Raw(encode(variables)),
        at=turn.now,
        ancestors=_ancestors(turn),
        protected=sorted(expressions.keys() & set(protected)),
    )
    turn.send(ToWorkers(job, group.key))


def directory_of(turn: Turn, run: Run, task: TaskPlan) -> Run | None:
    """The task run around this one in whose directory it works (FLO-23)."""
    if task.directory is None:
        return None
    around = turn.execution.parents(run)
    return next(parent for parent in around if parent.task_id == task.directory.id)


def _ancestors(turn: Turn) -> list[str]:
    """The executions whose files its tasks may read: those above it (FIL-04), and those it goes on from."""
    head = turn.execution.head
    above = head.parent.ancestors if head.parent is not None else []
    return [*head.sources, *above] if head.sources else above


def _flow_ref(turn: Turn) -> FlowRef:
    head = turn.execution.head
    return FlowRef(namespace=head.namespace, id=head.flow_id, revision=head.flow_revision)
