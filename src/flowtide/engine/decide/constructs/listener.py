"""A listener of the flow, deprecated: its tasks when the execution is over, if its conditions hold (FLW-16, G03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowtide.engine.decide.constructs.basic import child_ended, finish, kill, resume
from flowtide.engine.execution import Run
from flowtide.engine.plan import TaskPlan
from flowtide.engine.turn import Turn
from flowtide.errors import ExpressionError
from flowtide.model.condition import ConditionPlugin
from flowtide.model.listeners import ListenerTask
from flowtide.model.records import Label
from flowtide.model.states import State

__all__ = ["child_ended", "finish", "kill", "resume", "start"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    """The execution as conditions see it; what its flow gave is not known here."""

    execution_id: str
    namespace: str
    flow_id: str
    state: State
    labels: Sequence[Label]
    retry_states: Sequence[State]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    outputs_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    """What a condition may look at."""

    turn: Turn
    run: Run
    task: TaskPlan
    execution: _Ended

    def render(self, template: Any) -> Any:
        return self.turn.render(template, self.task, self.run)


def start(turn: Turn, run: Run, task: TaskPlan) -> None:
    """Run the tasks, unless one of the conditions does not hold."""
    definition = task.task
    assert isinstance(definition, ListenerTask)
    head, progress = turn.execution.head, turn.execution.progress
    ended = _Ended(
        execution_id=turn.execution_id,
        namespace=head.namespace,
        flow_id=head.flow_id,
        state=progress.state,
        labels=head.labels,
        retry_states=progress.retry_states,
    )
    context = _Context(turn=turn, run=run, task=task, execution=ended)
    try:
        met = all(
            condition.holds(context)
            for condition in definition.listener.conditions
            if isinstance(condition, ConditionPlugin)
        )
    except ValueError as error:
        raise ExpressionError(f"a condition: {error}") from None
    if met:
        turn.enter(run, task, "tasks")
    else:
        turn.end(run, task, State.SKIPPED)
