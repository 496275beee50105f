"""Commands to an execution: imperatives, on the topic `execution_commands`, decided by `flowtide.engine`.

The record's key names tenant and execution.  A command may arrive twice; deciding it a second time changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Label, ParentRun, TriggerInfo
from flowtide.model.states import State


class Command(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", tag_field="type", tag=True
):
    """Asks for something.  `at` is when the sender asked, in UTC; the engine's own clock dates the events."""

    at: datetime
    by: str | None = None  # who asks: a user's name, a worker's id, a trigger


class CreateExecution(Command, frozen=True):
    """Create an execution and start it.  A second one with the same id is ignored."""

    namespace: str
    flow_id: str
    flow_revision: int | None = None  # None: the latest one that the executor knows
    inputs: dict[str, Any] = {}  # files are URIs
    inputs_resolved: bool = False  # whether the sender applied defaults and validated them
    labels: list[Label] = []  # of this execution; the flow's own are added by the engine
    trigger: TriggerInfo | None = None
    parent: ParentRun | None = None
    original_id: str | None = None  # the first execution of a chain of replays; None: itself
    kind: str | None = None  # TEST, PLAYGROUND; None: NORMAL
    schedule_date: datetime | None = None  # not before
    trace_parent: str | None = None  # W3C traceparent of the request
    release_trigger: bool = False  # whether the *triggers* processor waits for its end (TRG-03)
    error: str | None = None  # set: create it FAILED at once with this message (TRG-08, EXE-07)


class ReportRunStarted(Command, frozen=True):
    """A worker runs this attempt from now on."""

    run_id: str
    attempt: int  # number of the attempt, from 0
    worker_id: str


class ReportRunEnded(Command, frozen=True):
    """A worker finished an attempt."""

    run_id: str
    attempt: int
    worker_id: str
    state: State  # SUCCESS, WARNING, FAILED, KILLED or SKIPPED
    outputs: dict[str, Any] = {}
    error: str | None = None  # why it failed, for people


class ReportDirectoryOpened(Command, frozen=True):
    """The worker holds the directory of a WorkingDirectory, and it is ready for the tasks inside (FLO-23)."""

    run_id: str
    attempt: int
    worker_id: str


class ReportEvaluation(Command, frozen=True):
    """A worker evaluated an expression with input or output for a flowable task (architecture §2, engine)."""

    run_id: str
    values: dict[str, Any] = {}  # property -> value
    error: str | None = None


class ReportChildEnded(Command, frozen=True):
    """A child execution that the task run waits for is over."""

    run_id: str
    child_id: str
    state: State
    outputs: dict[str, Any] = {}


class AnswerSlot(Command, frozen=True):
    """The flow's concurrency limit was asked for a slot: start (RUNNING), wait (QUEUED), or end (CANCELLED, FAILED)."""

    state: State


class KillExecution(Command, frozen=True):
    """End the execution: no more tasks, running ones are killed."""

    state: State = State.KILLED  # CANCELLED when the system asks
    cascade: bool = True  # also children that are waited for


class PauseExecution(Command, frozen=True):
    """Start no further tasks until resumed."""


class ResumeExecution(Command, frozen=True):
    """Go on after a pause; `run_id` names one of several paused task runs."""

    run_id: str | None = None
    inputs: dict[str, Any] = {}  # validated and typed values of `onResume`
    to: State | None = None  # None: as the Pause task says


class SetLabels(Command, frozen=True):
    """Add labels to an execution that is not over, or give them other values; those of the system stay (LAB-06)."""

    labels: list[Label]
    replace: bool = False  # whether labels that are not among them go, except those of the system


class ContinueRun(Command, frozen=True):
    """Go on with what is done in portions; sent by the engine to itself."""

    run_id: str  # that opens its children; "" for the kill or the resumption of the execution
    cascade: bool = True  # of a kill


class FireTimer(Command, frozen=True):
    """A timer of the execution's state is due; made by the runtime, never written to the log."""

    timer_id: str


class LoseWorker(Command, frozen=True):
    """The worker that ran this attempt is dead; made by the runtime from the services' liveness."""

    run_id: str
    attempt: int
    worker_id: str
    resubmit: bool = True  # False: fail the attempt instead


ExecutionCommand = (
    CreateExecution
    | ReportRunStarted
    | ReportRunEnded
    | ReportDirectoryOpened
    | ReportEvaluation
    | ReportChildEnded
    | AnswerSlot
    | KillExecution
    | PauseExecution
    | ResumeExecution
    | SetLabels
    | ContinueRun
    | FireTimer
    | LoseWorker
)
COMMAND_DECODER: msgspec.json.Decoder[ExecutionCommand] = msgspec.json.Decoder(ExecutionCommand)
