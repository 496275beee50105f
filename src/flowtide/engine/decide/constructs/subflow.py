"""Subflow: starts an execution of another flow and, unless told otherwise, waits for its end (catalogue B §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flowtide.engine.decide.constructs.basic import child_ended, finish, resume
from flowtide.engine.execution import Run
from flowtide.engine.outgoing import ToExecution
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError, NamespaceForbidden
from flowtide.model.commands import CreateExecution, KillExecution, RestartExecution
from flowtide.model.entries import Level
from flowtide.model.events import ChildExecutionStarted, TaskRunKilling
from flowtide.model.flowables import Subflow
from flowtide.model.identifiers import derived_identifier
from flowtide.model.records import Label, ParentRun, TriggerInfo
from flowtide.model.states import State

__all__ = ["child_ended", "child_execution_ended", "finish", "kill", "resume", "start"]

_DEEPEST = 50
"""Executions within executions; more than that is a cycle that validation could not see."""


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Start the child execution; the task run is over at once when nothing waits for it."""
    definition = task.task
    assert isinstance(definition, Subflow)
    if run.resumes is not None:
        _restart_child(turn, run, definition, run.resumes)
        return
    values = turn.evaluate(
        run,
        task,
        {
            "namespace": definition.namespace,
            "flowId": definition.flow_id,
            "inputs": dict(definition.inputs),
            "labels": _label_pairs(definition.labels),
            "scheduleDate": definition.schedule_date,
        },
        mixed=True,
        protected=("inputs",),
    )
    if values is None:
        return
    head = turn.execution.head
    namespace, flow_id = str(values["namespace"]), str(values["flowId"])
    ancestors = [turn.execution_id, *(head.parent.ancestors if head.parent is not None else ())]
    if len(ancestors) > _DEEPEST:
        reason = f"more than {_DEEPEST} executions within one another: {namespace}.{flow_id} calls itself"
        turn.fail(run, task, f"Task `{task.id}`: {reason}", at_once=True)
        return
    try:
        child = turn.flows(namespace, flow_id, definition.revision)
    except NamespaceForbidden as error:
        turn.fail(run, task, f"Task `{task.id}`: {error.message}", at_once=True)
        return
    if child is None:
        wanted = f"flow {namespace}.{flow_id}"
        if definition.revision is not None:
            wanted += f" with revision {definition.revision}"
        # A missing flow is not tried again: it fails at once (H, Subflow), as a disabled one does (SUB-04).
        turn.fail(run, task, f"Task `{task.id}`: there is no {wanted}", at_once=True)
        return
    if child.flow.disabled:
        turn.fail(run, task, "Cannot execute a flow which is disabled", at_once=True)
        return
    child_id = derived_identifier("subflow", turn.execution_id, run.run_id, str(run.attempt))
    labels = list(head.labels) if definition.inherit_labels else []
    labels += [Label(key=key, value=str(value)) for key, value in values["labels"]]
    labels = [label for label in labels if label.key != "system.correlationId"]
    labels += [label for label in head.labels if label.key == "system.correlationId"]
    variables = {
        "executionId": turn.execution_id,
        "namespace": head.namespace,
        "flowId": head.flow_id,
        "flowRevision": head.flow_revision,
    }
    turn.send(
        ToExecution(
            child_id,
            CreateExecution(
                at=turn.now,
                namespace=namespace,
                flow_id=flow_id,
                flow_revision=child.revision,
                inputs=values["inputs"],
                labels=labels,
                trigger=TriggerInfo(
                    id=task.id,
                    type=task.type,
                    variables=variables,
                    chain=head.trigger.chain if head.trigger is not None else 0,
                ),
                parent=ParentRun(
                    execution_id=turn.execution_id,
                    run_id=run.run_id,
                    namespace=head.namespace,
                    flow_id=head.flow_id,
                    flow_revision=head.flow_revision,
                    wait=definition.wait,
                    ancestors=ancestors,
                    outputs=_wanted_outputs(turn, run, definition),
                ),
                schedule_date=_date(values["scheduleDate"]),
                trace_parent=head.trace_parent,
            ),
        )
    )
    _note_child(turn, run, child_id, namespace, flow_id)
    if not definition.wait:
        turn.end(run, task, State.SUCCESS)


def _restart_child(turn: Turn, run: Run, definition: Subflow, child_id: str) -> None:
    """The execution that failed goes on, instead of another one (SUB-08); its state was restored for that."""
    _note_child(turn, run, child_id, definition.namespace, definition.flow_id)
    restart = RestartExecution(
        at=turn.now,
        run_id=run.run_id,
        parent_id=turn.execution_id,
        resumes=turn.execution.progress.resumes,  # its own children were restored with it
    )
    turn.send(ToExecution(child_id, restart))
    if not definition.wait:
        turn.end(run, turn.plan.task(run.task_id), State.SUCCESS)


def child_execution_retried(turn: Turn, run: Run, *, child_id: str) -> None:
    """The retry of the child's flow goes on in another execution, whose end counts (STA-08)."""
    definition = turn.plan.task(run.task_id).task
    assert isinstance(definition, Subflow)
    _note_child(turn, run, child_id, definition.namespace, definition.flow_id)


def _note_child(turn: Turn, run: Run, child_id: str, namespace: str, flow_id: str) -> None:
    """Say which execution the task run stands for from now on."""
    turn.emit(
        ChildExecutionStarted,
        run_id=run.run_id,
        child_id=child_id,
        namespace=namespace,
        flow_id=flow_id,
        outputs={"executionId": child_id},
    )


def child_execution_ended(
    turn: Turn,
    run: Run,
    task: TaskPlan,
    *,
    child_id: str,
    state: State,
    outputs: dict[str, Any],
    reason: str | None = None,
) -> None:
    """The child execution is over: the task run ends as it did, when it is to transmit that."""
    definition = task.task
    assert isinstance(definition, Subflow)
    told = {"executionId": child_id, "outputs": outputs, "state": state.value}
    if state in (State.FAILED, State.WARNING) and not definition.transmit_failed:
        state = State.SUCCESS
    if state is State.RETRIED:
        state = State.FAILED
    error = None
    if state is State.FAILED:
        error = f"The execution {child_id} ended {told['state']}" + (f": {reason}" if reason else "")
        turn.log(Level.ERROR, error, run)
    turn.end(run, task, state, outputs=told, error=error)


def kill(turn: Turn, run: Run, task: TaskPlan) -> bool:
    """Kill the child execution, unless only the parent is to be killed; its end is reported."""
    if run.child_id is None or not turn.cascade:
        return False
    turn.emit(TaskRunKilling, run_id=run.run_id)
    turn.send(ToExecution(run.child_id, KillExecution(at=turn.now)))
    return True


def _wanted_outputs(turn: Turn, run: Run, definition: Subflow) -> dict[str, Any]:
    """The deprecated `outputs`, which the child evaluates, where the operator lets them (SUB-03)."""
    if not definition.outputs or not definition.wait:
        return {}
    if not turn.plan.subflow_outputs:
        turn.log(
            Level.WARN,
            "`outputs` has no effect: it is deprecated, and `plugins.configurations` does not enable it",
            run,
        )
        return {}
    return dict(definition.outputs)


def _label_pairs(labels: Mapping[str, Any] | Sequence[Label]) -> list[list[Any]]:
    if isinstance(labels, Mapping):
        return [[key, value] for key, value in labels.items()]
    return [[label.key, label.value] for label in labels]


def _date(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ExpressionError(f"`scheduleDate`: {value!r} is not an ISO-8601 date and time") from None
    if moment.tzinfo is None:
        raise ExpressionError(f"`scheduleDate`: {value!r} needs a time zone, e.g. Z")
    return moment
