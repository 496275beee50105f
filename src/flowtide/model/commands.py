"""Commands to an execution: imperatives, on the topic `execution_commands`, decided by `flowtide.engine`.

The record's key names tenant and execution.  A command may arrive twice; deciding it a second time changes nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Breakpoint, Label, ParentRun, TriggerInfo, Value
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
    breakpoints: list[Breakpoint] = []  # tasks before which it waits
    attempt_number: int = 1  # of the chain of replays and retries
    original_created: datetime | None = None  # of the first of the chain; None: it is the first
    flow_retries: int = 0  # retries of the flow (CREATE_NEW_EXECUTION) that led here
    sources: list[str] = []  # the executions that it goes on from, whose files its tasks may read
    reuses: bool = False  # ReuseRuns follow; it starts after the last of them
    stopped: State | None = (
        None  # set: create it in this state, by a kill switch that its labels name (KS-02)
    )
    held: bool = False  # it waits for the end of the maintenance (MM-01)


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
    successor_id: str | None = None  # the execution that retries it, and that is waited for instead (STA-08)
    error: str | None = None  # why it failed, when that is known at its end


class AnswerSlot(Command, frozen=True):
    """The flow's concurrency limit was asked for a slot: start (RUNNING), wait (QUEUED), or end (CANCELLED, FAILED)."""

    state: State


class KillExecution(Command, frozen=True):
    """End the execution: no more tasks, running ones are killed."""

    state: State = State.KILLED  # CANCELLED when the system asks
    cascade: bool = True  # also children that are waited for
    graceful: bool = False  # what runs already may finish (KS-02)
    labels: list[Label] = []  # set with it, also those of the system: which kill switch it was (KS-03)


class PauseExecution(Command, frozen=True):
    """Start no further tasks until resumed."""


class ResumeExecution(Command, frozen=True):
    """Go on after a pause; `run_id` names one of several paused task runs."""

    run_id: str | None = None
    inputs: dict[str, Any] = {}  # validated and typed values of `onResume`
    to: State | None = None  # None: as the Pause task says


class ResumeFromBreakpoint(Command, frozen=True):
    """Go on from breakpoints; what waits at one starts."""

    breakpoints: list[Breakpoint] | None = None  # instead of those it has; None: they stay


class UnqueueExecution(Command, frozen=True):
    """Wait no longer for a slot of the flow's concurrency limit: run beyond it, or end in a state."""

    state: State = State.RUNNING


class ForceRunExecution(Command, frozen=True):
    """Run now, whatever it waits for: a slot, its date, a person, a breakpoint."""


class ConfirmSlot(Command, frozen=True):
    """Asks whether the execution still needs the slot that it holds; if it is gone, the slot is given back (CON-06)."""

    namespace: str
    flow_id: str


class SetLabels(Command, frozen=True):
    """Add labels to an execution that is not over, or give them other values; those of the system stay (LAB-06)."""

    labels: list[Label]
    replace: bool = False  # whether labels that are not among them go, except those of the system


class RestoreExecution(Command, frozen=True):
    """Know an execution that is over again, as the index tells it; portions of pieces of its state.

    One that is not over ignores it; one that nothing is asked of afterwards is forgotten again.
    """

    next_event: int  # the number after its last event
    pieces: dict[str, msgspec.Raw]


class RestartExecution(Command, frozen=True):
    """Run what failed again, in an execution that was restored; one that is not over ignores it (RTY-10)."""

    next_event: int | None = None  # as it was restored; None: whatever that is (of a child execution)
    pieces: int | None = None  # how many were sent; fewer mean that they were forgotten meanwhile
    flow_revision: int | None = None  # None: its own
    target: str | None = None  # the only task run to run again; None: all that failed
    becomes: State | None = None  # what the target is to be, instead of running again (change of status)
    resumes: list[str] = []  # child executions that were restored too
    run_id: str | None = None  # the task run of the parent execution that waits for it; None: a person asked
    parent_id: str | None = None  # that execution


class AmendExecution(Command, frozen=True):
    """Change what is told of an execution that is over: its labels (LAB-03) or its state; needs no state of it."""

    next_event: int  # the number after its last event; refused when it was taken meanwhile
    labels: list[Label] = []  # to be added, or with other values
    state: State | None = None


class ReusedRun(Value, frozen=True):
    """A task run that a replay takes over."""

    run_id: str
    task_id: str
    source_id: str
    state: State  # how it ended; RUNNING: it stands around what runs again; RESTARTED: it runs again
    attempt: int = 0
    parent_id: str | None = None
    branch: str = "tasks"
    index: int = 0
    last: bool = False
    value: str | None = None
    iteration: int | None = None
    items: str | None = None
    outputs: dict[str, Any] | None = None
    attempts: list[Any] = []
    histories: list[Any] = []
    path: list[str] = []
    entered: str | None = None
    opened: int = 0
    worst: State | None = None
    iterations_done: int = 0
    values: list[str] | None = None
    taken: list[int] | None = None
    done: list[int] | None = None
    settles: bool = False  # it is over, and what follows it has to be opened


class ReuseRuns(Command, frozen=True):
    """Take over a portion of the task runs of the execution that is replayed; the last one starts the execution."""

    first: int  # place of the first of them among all
    runs: list[ReusedRun]
    complete: bool = False
    opened: int = 0  # children of the root
    worst: State | None = None


class ContinueRun(Command, frozen=True):
    """Go on with what is done in portions; sent by the engine to itself."""

    run_id: str  # that opens its children; "" for the kill or the resumption of the execution
    cascade: bool = True  # of a kill
    graceful: bool = False  # of a kill


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
    | ResumeFromBreakpoint
    | UnqueueExecution
    | ForceRunExecution
    | ConfirmSlot
    | SetLabels
    | ContinueRun
    | FireTimer
    | LoseWorker
    | RestoreExecution
    | RestartExecution
    | AmendExecution
    | ReuseRuns
)
COMMAND_DECODER: msgspec.json.Decoder[ExecutionCommand] = msgspec.json.Decoder(ExecutionCommand)
