"""Events of an execution: past participles, on the topic `execution_events`, folded by `flowtide.engine.apply`.

Every event has its number within its execution, counted from 0 without gaps, and its cause.  An event carries what
changed, never the whole execution.  A recorded event keeps its meaning: a changed fold is a new `version` beside it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Breakpoint, Cause, Label, ParentRun, TriggerInfo
from flowtide.model.states import State


class Event(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", tag_field="type", tag=True
):
    """Something that happened to an execution."""

    tenant_id: str
    execution_id: str
    number: int
    at: datetime
    cause: Cause
    version: int = 1


class ExecutionCreated(Event, frozen=True):
    """The execution exists, in state CREATED."""

    namespace: str
    flow_id: str
    flow_revision: int
    inputs: dict[str, Any] = {}
    labels: list[Label] = []
    variables: dict[str, Any] = {}  # the flow's, unrendered
    trigger: TriggerInfo | None = None
    parent: ParentRun | None = None
    original_id: str | None = None
    kind: str | None = None
    schedule_date: datetime | None = None
    trace_parent: str | None = None
    release_trigger: bool = False
    requested: datetime | None = None  # when it was asked for: its CREATED date; None: when this was decided
    deadlines: dict[str, datetime] = {}  # SLA id -> when it has lasted too long
    breakpoints: list[Breakpoint] = []
    attempt_number: int = 1  # of the chain of replays and retries (RPL-02)
    original_created: datetime | None = None  # of the first of the chain; None: it is the first
    flow_retries: int = 0  # retries of the flow (CREATE_NEW_EXECUTION) that led here
    sources: list[str] = []  # the executions that it goes on from, whose files its tasks may read
    reuses: bool = False  # task runs of another execution follow, and then it starts (TaskRunReused)
    held: bool = False  # it waits for the end of the maintenance


class SlotRequested(Event, frozen=True):
    """The flow has a concurrency limit, and was asked for a slot; it is given back at the end."""


class ExecutionQueued(Event, frozen=True):
    """It waits for a slot of the flow's concurrency limit: QUEUED."""


class ExecutionStarted(Event, frozen=True):
    """It runs: RUNNING."""


class ExecutionPaused(Event, frozen=True):
    """It waits: PAUSED."""

    held: bool = False  # by a person: nothing more is started; else a task run waits and other branches go on


class ExecutionResumed(Event, frozen=True):
    """It goes on: RUNNING."""


class ExecutionKilling(Event, frozen=True):
    """It is being ended: KILLING; `outcome` is what it will end as."""

    outcome: State


class PhaseEntered(Event, frozen=True):
    """The root moved on to its next list of tasks: errors, finally or afterExecution."""

    phase: str
    outcome: State  # what the execution will end as, as far as is known


class ExecutionEnded(Event, frozen=True):
    """It is over; what runs afterwards (`afterExecution`) changes this no more."""

    state: State
    outputs: dict[str, Any] | None = None
    error: str | None = None  # why, when no task run tells it
    closed: bool = True  # nothing more will happen; False: `afterExecution` follows, then ExecutionClosed


class ExecutionClosed(Event, frozen=True):
    """Nothing more will ever happen: also `afterExecution` is done, and the executor forgets the execution."""


class ExecutionRetrying(Event, frozen=True):
    """It failed, and its flow's `retry` tries it again at `due`: RETRYING (STA-07)."""

    due: datetime


class ExecutionRestarted(Event, frozen=True):
    """It is over no more: what failed is reopened, in portions, and runs when all of it is."""

    automatic: bool = False  # by the retry of its flow, which keeps it RETRYING; else RESTARTED (STA-10)
    flow_revision: int | None = None  # None: as before
    target: str | None = None  # the only task run that is reopened; None: all that failed
    becomes: State | None = None  # what the target ended as, as a person says; None: it runs again
    resumes: list[str] = []  # child executions that are restarted instead of being replaced (SUB-08)
    opened: int = 0  # children of the root that count
    worst: State | None = None  # the gravest end of those that are not reopened


class ExecutionStateChanged(Event, frozen=True):
    """A person said what it ended as; nothing runs because of it."""

    state: State


class TaskRunReopened(Event, frozen=True):
    """It is over no more: RESTARTED, to be run again as another attempt; of one around such, RUNNING.

    It tells again what the task run is, because nobody keeps what is over.
    """

    run_id: str
    task_id: str
    attempt: int
    created: datetime
    created_number: int  # of the event that created it
    before: State  # how it had ended
    parent_id: str | None = None
    branch: str = "tasks"
    index: int = 0
    last: bool = False
    value: str | None = None
    iteration: int | None = None
    items: str | None = None
    outputs: dict[str, Any] | None = None
    resumes: str | None = None  # the child execution that is restarted with it
    becomes: State | None = None  # what it ended as, as a person says
    # of those around what is run again:
    around: bool = False
    since: int = 0  # number of the event from which on its children count
    entered: str | None = None
    opened: int = 0
    worst: State | None = None
    iterations_done: int = 0
    values: list[str] | None = None  # of a loop
    taken: list[int] | None = None  # of a list without order: the places that were opened
    done: list[int] | None = None  # and those that are over


class TaskRunReused(Event, frozen=True):
    """A task run of the execution that is replayed stands here too: as it ended there, or around what follows."""

    run_id: str
    task_id: str
    state: State  # how it ended, or RUNNING
    source_id: str  # the task run that it was
    attempt: int = 0
    parent_id: str | None = None
    branch: str = "tasks"
    index: int = 0
    last: bool = False
    value: str | None = None
    iteration: int | None = None
    items: str | None = None
    outputs: dict[str, Any] | None = None
    attempts: list[Any] = []  # as the API shows them
    histories: list[Any] = []  # of its state, likewise
    path: list[str] = []  # the values of the loops around it, its own last
    entered: str | None = None  # of one around what follows
    opened: int = 0
    worst: State | None = None
    iterations_done: int = 0
    values: list[str] | None = None  # of a loop
    taken: list[int] | None = None  # of a list without order: the places that were opened
    done: list[int] | None = None  # and those that are over


class ReuseCompleted(Event, frozen=True):
    """All task runs that the replay goes on from are there; the root counts them."""

    opened: int = 0
    worst: State | None = None


class TaskRunCreated(Event, frozen=True):
    """A task run exists.  A runnable one was handed to the workers (CREATED, SUBMITTED); a flowable one is RUNNING."""

    run_id: str
    task_id: str
    state: State  # SUBMITTED, RUNNING, SKIPPED, FAILED, or CREATED while the execution is held
    parent_id: str | None = None  # the task run of the flowable task that it stands in
    branch: str = "tasks"  # the list of its parent (or of the flow) that it stands in
    index: int = 0  # its place in that list
    last: bool = False  # whether it is the last of that list
    value: str | None = None  # of the loop's iteration
    iteration: int | None = None  # number of the iteration, from 0
    items: str | None = None  # URI of a batch (ForEachItem)
    batches: list[int] | None = None  # of one that writes what batches gave to a file: their numbers
    outputs: dict[str, Any] | None = None  # what a flowable task knows from the start
    error: str | None = None  # why it is FAILED at once


class TaskRunSubmitted(Event, frozen=True):
    """A further attempt was handed to the workers; of a flowable task run, it starts again."""

    run_id: str
    attempt: int
    flowable: bool = False


class TaskRunStarted(Event, frozen=True):
    """A worker runs it: RUNNING."""

    run_id: str
    attempt: int
    worker_id: str


class TaskRunRetrying(Event, frozen=True):
    """An attempt failed and another one follows at `due`: the attempt is FAILED, the task run RETRYING."""

    run_id: str
    attempt: int
    due: datetime
    error: str | None = None


class TaskRunResubmitted(Event, frozen=True):
    """The worker of an attempt died: the attempt is RESUBMITTED, the next one was handed out."""

    run_id: str
    attempt: int  # the lost one
    worker_id: str


class TaskRunPaused(Event, frozen=True):
    """It waits for a person or a date: PAUSED."""

    run_id: str
    due: datetime | None = None


class TaskRunResumed(Event, frozen=True):
    """It goes on after a pause: RUNNING."""

    run_id: str
    outputs: dict[str, Any] | None = None
    outcome: State | None = None  # what it ends as when the task that ran meanwhile is over; None: at once


class TaskRunKilling(Event, frozen=True):
    """Its worker was told to end it: KILLING."""

    run_id: str


class TaskRunEnded(Event, frozen=True):
    """It is over."""

    run_id: str
    state: State
    outputs: dict[str, Any] | None = None  # None: those it has already
    error: str | None = None


class BranchEntered(Event, frozen=True):
    """A flowable task moved on to another of its lists: a branch, `errors`, `finally`."""

    run_id: str
    branch: str
    outcome: State | None = None  # what the task run will end as, when that is settled before its `errors`
    outputs: dict[str, Any] | None = None  # what it knows from now on, such as the result of a condition
    unordered: bool = False  # its tasks do not start in the order of the list: those that did are remembered


class DirectoryClosing(Event, frozen=True):
    """The tasks inside a WorkingDirectory are over, and its worker was told to close the directory."""

    run_id: str
    outcome: State  # what its tasks came to


class LoopOpened(Event, frozen=True):
    """A loop knows its values; an iteration's children carry the value as text (FLO-15)."""

    run_id: str
    values: list[str]


class BatchesCounted(Event, frozen=True):
    """How far the executions of a ForEachItem are (FLO-18); told again when a hundredth of them moved on."""

    run_id: str
    iterations: dict[str, int]  # state -> how many batches are in it
    batches: int  # how many there are


class LoopRepeated(Event, frozen=True):
    """A loop that has no values begins its next iteration; what the one before left is replaced as it ends."""

    run_id: str
    iteration: int  # from 0


class LoopDelayed(Event, frozen=True):
    """The condition of such a loop does not hold yet: it is looked at again, or given up, at `due`."""

    run_id: str
    due: datetime


class ChildExecutionStarted(Event, frozen=True):
    """A task run started an execution."""

    run_id: str
    child_id: str
    namespace: str
    flow_id: str
    outputs: dict[str, Any] = {}


class LabelsSet(Event, frozen=True):
    """Labels were added, got other values, or went."""

    labels: list[Label] = []  # those that are new, or have another value
    removed: list[str] = []  # keys
    run_id: str | None = None  # the task run that did it


class VariablesSet(Event, frozen=True):
    """Variables were set or removed, in this order: first those that go, then what is merged into the others."""

    variables: dict[str, Any] = {}  # merged deeply: keys that are not named stay
    removed: list[list[str]] = []  # paths
    run_id: str | None = None  # the task run that did it


class SlaBreached(Event, frozen=True):
    """A service level agreement of the flow was not kept; it is not looked at again."""

    sla_id: str
    behavior: str  # FAIL, CANCEL or NONE
    reason: str
    labels: list[Label] = []  # added by it


class BreakpointReached(Event, frozen=True):
    """A task run waits at a breakpoint, and the execution with it: BREAKPOINT."""

    run_id: str


class BreakpointsSet(Event, frozen=True):
    """The execution has other breakpoints from now on."""

    breakpoints: list[Breakpoint] = []


class EvaluationRequested(Event, frozen=True):
    """Workers were asked for expressions of a flowable task that need input or output."""

    run_id: str  # "" for the flow itself
    properties: list[str]
    outcome: State | None = None  # of the flow itself: what it will end as


class EvaluationRecorded(Event, frozen=True):
    """What the workers answered; never evaluated again."""

    run_id: str
    values: dict[str, Any]


ExecutionEvent = (
    ExecutionCreated
    | SlotRequested
    | ExecutionQueued
    | ExecutionStarted
    | ExecutionPaused
    | ExecutionResumed
    | ExecutionKilling
    | PhaseEntered
    | ExecutionEnded
    | ExecutionClosed
    | TaskRunCreated
    | TaskRunSubmitted
    | TaskRunStarted
    | TaskRunRetrying
    | TaskRunResubmitted
    | TaskRunPaused
    | TaskRunResumed
    | TaskRunKilling
    | TaskRunEnded
    | BranchEntered
    | DirectoryClosing
    | LoopOpened
    | BatchesCounted
    | LoopRepeated
    | LoopDelayed
    | ChildExecutionStarted
    | LabelsSet
    | VariablesSet
    | SlaBreached
    | BreakpointReached
    | BreakpointsSet
    | EvaluationRequested
    | EvaluationRecorded
    | ExecutionRetrying
    | ExecutionRestarted
    | ExecutionStateChanged
    | TaskRunReopened
    | TaskRunReused
    | ReuseCompleted
)
EVENT_DECODER: msgspec.json.Decoder[ExecutionEvent] = msgspec.json.Decoder(ExecutionEvent)
