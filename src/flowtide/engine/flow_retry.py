"""The retry of a flow: whether a failed execution is tried again, when, and as what (RTY-08, STA-07, STA-08).

`RETRY_FAILED_TASK` opens in the same execution what failed; `CREATE_NEW_EXECUTION` ends it as RETRIED and starts
another one.  State: how often that was done, in the execution's progress and head.
"""

from __future__ import annotations

import random
from datetime import timedelta

from flowtide.engine.outgoing import ToExecution
from flowtide.engine.turn import Turn
from flowtide.model.commands import CreateExecution
from flowtide.model.entries import Level
from flowtide.model.events import ExecutionRetrying
from flowtide.model.identifiers import derived_identifier
from flowtide.model.retry import Retry

FLOW_RETRY = "flow:"
"""The timer that waits for the retry of the flow."""


def retry_of_flow(turn: Turn) -> Retry | None:
    """The retry of the flow, when one is left for an execution that just failed."""
    retry = turn.plan.flow.retry
    execution = turn.execution
    if retry is None or execution.progress.killing is not None:
        return None
    if retry.max_attempts is not None and _failures(turn, retry) >= retry.max_attempts:
        return None
    head = execution.head
    since = head.original_created if head.flow_retries and head.original_created is not None else head.created
    if retry.max_duration is not None and turn.now + _delay(turn, retry) - since > retry.max_duration:
        return None
    return retry


def was_retried(turn: Turn) -> bool:
    """Whether a success is a warning, because the flow was retried and its retry wants that."""
    retry = turn.plan.flow.retry
    return retry is not None and retry.warning_on_retry and _failures(turn, retry) > 1


def wait_for_retry(turn: Turn, retry: Retry) -> None:
    """RETRYING, until the delay is over."""
    due = turn.now + _delay(turn, retry)
    turn.log(Level.WARN, f"The execution failed; its flow's retry goes on at {due.isoformat()}")
    turn.emit(ExecutionRetrying, due=due)


def create_next(turn: Turn) -> str:
    """Start the execution that retries this one; gives its id."""
    execution = turn.execution
    head = execution.head
    next_id = derived_identifier("retry", turn.execution_id, str(execution.progress.next_event))
    turn.send(
        ToExecution(
            next_id,
            CreateExecution(
                at=turn.now,
                namespace=head.namespace,
                flow_id=head.flow_id,
                flow_revision=head.flow_revision,
                inputs=head.inputs,
                inputs_resolved=True,
                labels=head.labels,
                trigger=head.trigger,
                parent=head.parent,
                original_id=head.original_id or head.execution_id,
                kind=head.kind,
                trace_parent=head.trace_parent,
                attempt_number=head.attempt_number + 1,
                original_created=head.original_created or head.created,
                flow_retries=head.flow_retries + 1,
                sources=[head.execution_id, *head.sources],
            ),
        )
    )
    return next_id


def _failures(turn: Turn, retry: Retry) -> int:
    """How often the flow was tried, this time included."""
    if retry.behavior == "CREATE_NEW_EXECUTION":
        return turn.execution.head.flow_retries + 1
    return turn.execution.progress.flow_retries + 1


def _delay(turn: Turn, retry: Retry) -> timedelta:
    failures = _failures(turn, retry)
    return retry.delay(failures, random.Random(f"{turn.execution_id}:{failures}").random())
