"""Runs flows in memory, one decision at a time: for tests of flows, of the engine, and of plugin authors.

A `FlowWorld` holds flows and executions, a clock that only the test moves, and workers that are a function of the test.
It needs no log, no task and no thread.  With `paranoid` (the default) every decision is checked: the state written in
pieces and read back, and the state folded anew from all events, must both equal the live one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec

from flowtide.engine.apply import fold
from flowtide.engine.decide import decide
from flowtide.engine.decide.commands.reports import stop
from flowtide.engine.execution import ROOT, Execution, Run, restore, whole_pieces
from flowtide.engine.outgoing import Outgoing, ToEveryWorker, ToExecution, ToLog, ToWorkers
from flowtide.engine.plan import Plan
from flowtide.engine.replay import replay_fields, reused_portions
from flowtide.errors import ExpressionError
from flowtide.model.commands import (
    CreateExecution,
    ExecutionCommand,
    FireTimer,
    LoseWorker,
    ReportDirectoryOpened,
    ReportEvaluation,
    ReportRunEnded,
    ReportRunStarted,
    RestartExecution,
)
from flowtide.model.encrypted import Cipher, has_encrypted
from flowtide.model.entries import LogEntry
from flowtide.model.events import (
    EVENT_DECODER,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionKilling,
    ExecutionRestarted,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunReopened,
    TaskRunResubmitted,
    TaskRunSubmitted,
)
from flowtide.model.identifiers import derived_identifier
from flowtide.model.jobs import (
    CloseDirectory,
    Control,
    Evaluate,
    Job,
    KillRun,
    RunInDirectory,
    RunTask,
)
from flowtide.model.offload import has_offloaded
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State

START = datetime(2026, 1, 1, tzinfo=UTC)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended."""

    state: State = State.SUCCESS
    outputs: dict[str, Any] = {}
    error: str | None = None
    closing: bool = (
        False  # of a working directory: it was opened, and this is how it is closed; RUNNING: it stays
    )


Work = Callable[[RunTask], Outcome | None]
"""Runs an attempt; None keeps it running until the test reports its end with `FlowWorld.report`."""


def succeed(job: RunTask) -> Outcome:
    """The worker for whom every attempt succeeds; what a task is made of is among its outputs."""
    return Outcome(outputs={"value": job.task_id})


class FlowWorld:
    """Flows, their executions, and everything that is under way between them."""

    tenant = "main"

    def __init__(
        self,
        sources: Sequence[str],
        registry: Registry,
        *,
        work: Work = succeed,
        evaluate: Callable[[Evaluate], Mapping[str, Any] | None] | None = None,
        start: datetime = START,
        paranoid: bool = True,
        cipher: Cipher | None = None,
        subflow_outputs: bool = False,
    ) -> None:
        """`cipher` is for SECRET inputs and outputs; None: no key is configured.

        `subflow_outputs` lets the deprecated `outputs` of Subflow work.
        """
        self._cipher = cipher
        self._subflow_outputs = subflow_outputs
        self.now = start
        self.work = work
        self.evaluate = evaluate
        self.paranoid = paranoid
        self.executions: dict[str, Execution] = {}  # also those that are closed
        self.events: dict[str, list[ExecutionEvent]] = {}
        self.lines: list[LogEntry] = []
        self.sent: list[Outgoing] = []  # what left for flows and triggers
        self.running: dict[tuple[str, str], RunTask] = {}  # (execution, run) -> attempts that `work` keeps
        self.kills: list[KillRun] = []
        # (execution, run, attempt) -> the job that opened a working directory, and how it will be closed
        self.directories: dict[tuple[str, str, int], tuple[RunTask, Outcome]] = {}
        self.controlled: list[RunInDirectory | CloseDirectory] = []
        self._taken: set[tuple[str, int]] = set()  # (run, attempt) of jobs inside of directories
        self.waiting: deque[tuple[str, ExecutionCommand]] = deque()
        self.jobs: deque[Job] = deque()
        self.evaluating: list[Evaluate] = []  # expressions that `evaluate` keeps
        self.groups: set[str] = set()  # worker groups that have workers, besides the default one
        self.routed: list[tuple[str, str | None]] = []  # (task, worker group) of every job
        self.decided: list[tuple[str, ExecutionCommand]] = []  # every command that came, to be sent again
        self._plans: dict[tuple[str, str], list[Plan]] = {}  # revisions, the first one first
        self._fired: dict[tuple[str, str], datetime] = {}  # timers that meant nothing when they fired
        self._pieces: dict[str, dict[str, bytes]] = {}
        self._started = 0
        for source in sources:
            self.save(source, registry)

    def save(self, source: str, registry: Registry) -> Plan:
        """Save a flow.  Raises FlowInvalid."""
        flow = parse_flow(source, registry).valid()
        revisions = self._plans.setdefault((flow.namespace, flow.id), [])
        plan = Plan(
            flow,
            tenant=self.tenant,
            revision=len(revisions) + 1,
            cipher=self._cipher,
            subflow_outputs=self._subflow_outputs,
        )
        revisions.append(plan)
        return plan

    # Doing.

    def plan(self, namespace: str, flow_id: str, revision: int | None = None) -> Plan | None:
        """A revision of a flow, the latest by default; None when there is none."""
        revisions = self._plans.get((namespace, flow_id))
        if revisions is None or (revision is not None and not 0 < revision <= len(revisions)):
            return None
        return revisions[-1 if revision is None else revision - 1]

    def start(self, flow_id: str | None = None, *, namespace: str | None = None, **fields: Any) -> str:
        """Ask for an execution of a flow, the first one by default; gives its id.  Nothing is decided yet."""
        name = next(
            found
            for found in self._plans
            if (flow_id is None or found[1] == flow_id) and (namespace is None or found[0] == namespace)
        )
        self._started += 1
        execution_id = derived_identifier("test", str(self._started))
        command = CreateExecution(at=self.now, namespace=name[0], flow_id=name[1], **fields)
        self.send(execution_id, command)
        return execution_id

    def send(self, execution_id: str, command: ExecutionCommand) -> None:
        """Put a command in the queue."""
        self.waiting.append((execution_id, command))

    def run(self, *, most: int = 100_000) -> None:
        """Let decisions and workers go on until nothing is left but time and people.  Raises RuntimeError if never."""
        for _ in range(most):
            if not self.step():
                return
        raise RuntimeError(f"still busy after {most} steps")

    def step(self) -> bool:
        """Decide one command, else run one job; False when there is neither."""
        if self.waiting:
            execution_id, command = self.waiting.popleft()
            self.decide(execution_id, command)
            return True
        if self.jobs:
            self._work(self.jobs.popleft())
            return True
        return False

    def advance(self, duration: timedelta) -> None:
        """Let time pass; timers fire in their order, each followed by what it leads to."""
        end = self.now + duration
        self.run()
        while (due := self.next_due()) is not None and due[0] <= end:
            self.now = max(self.now, due[0])
            self._fired[due[1], due[2]] = due[0]
            self.decide(due[1], FireTimer(at=self.now, timer_id=due[2]))
            self.run()
        self.now = end

    def next_due(self) -> tuple[datetime, str, str] | None:
        """The next timer as (due, execution, timer); each fires once, as in the executor."""
        return min(
            (
                (due, execution_id, timer_id)
                for execution_id, execution in self.executions.items()
                if not execution.is_closed
                for timer_id, due in execution.timers.items()
                if self._fired.get((execution_id, timer_id)) != due
            ),
            default=None,
        )

    def report(self, execution_id: str, run_id: str, outcome: Outcome) -> None:
        """End an attempt that `work` kept running."""
        self._done(self.running.pop((execution_id, run_id)), outcome)

    def lose_worker(self, worker_id: str = "worker", *, resubmit: bool = True) -> None:
        """The worker dies with everything that it runs, and everything that it said was heard."""
        while self.waiting:
            self.step()
        self.running.clear()
        self.directories.clear()
        self.jobs = deque(
            job for job in self.jobs if not isinstance(job, RunTask) or not self._is_inside(job)
        )
        for execution_id, execution in list(self.executions.items()):
            for run in list(execution.runs.values()):
                if run.worker_id == worker_id and run.run_id != ROOT:
                    self.send(
                        execution_id,
                        LoseWorker(
                            at=self.now,
                            run_id=run.run_id,
                            attempt=run.attempt,
                            worker_id=worker_id,
                            resubmit=resubmit,
                        ),
                    )

    # Looking.

    def state(self, execution_id: str) -> State:
        """The state of an execution."""
        return self.executions[execution_id].progress.state

    def outputs(self, execution_id: str) -> dict[str, Any] | None:
        """The outputs of an execution that ended."""
        for event in reversed(self.events[execution_id]):
            if type(event).__name__ == "ExecutionEnded":
                return event.outputs  # type: ignore[union-attr]  # an ExecutionEnded has them
        return None

    def runs(self, execution_id: str) -> list[str]:
        """Every task run in the order of its creation, as `task[value]... STATE`."""
        found: dict[str, str] = {}
        names: dict[str, str] = {}
        for event in self.events[execution_id]:
            kind = type(event).__name__
            run_id: str = getattr(event, "run_id", "")
            if kind in ("TaskRunCreated", "TaskRunReused"):
                value = getattr(event, "value", None)
                names[run_id] = getattr(event, "task_id") + (f"[{value}]" if value is not None else "")  # noqa: B009  # the union has no such field
            if run_id and hasattr(event, "state"):
                found[run_id] = event.state.value
            elif run_id and kind in _STATE_OF:
                found[run_id] = _STATE_OF[kind]
        return [f"{names[run_id]} {state}" for run_id, state in found.items()]

    def messages(self) -> list[str]:
        """The log lines."""
        return [line.message for line in self.lines]

    # The parts.

    def decide(self, execution_id: str, command: ExecutionCommand) -> None:
        """Decide a command now."""
        self.decided.append((execution_id, command))
        execution = self.executions.get(execution_id)
        if execution is not None and execution.is_closed and isinstance(command, RestartExecution):
            execution = self._restored(execution_id)
            if command.next_event not in (None, execution.progress.next_event):
                self._pieces[execution_id] = {}
                return
        elif (
            execution is not None
            and not execution.is_closed
            and (execution.progress.reopening or _reopens(command))
        ):
            # As an executor that was started anew in between would see it.
            execution = restore(_in_order(self._pieces[execution_id]), past=True)
        elif execution is not None and execution.is_closed:
            if isinstance(command, ReportRunStarted | ReportDirectoryOpened):
                self._route(
                    execution_id, stop(command, tenant=self.tenant, execution_id=execution_id, at=self.now)
                )
            return
        plan: Plan | None
        if execution is None:
            if not isinstance(command, CreateExecution):
                return
            plan = self.plan(command.namespace, command.flow_id, command.flow_revision)
        else:
            revision = execution.head.flow_revision
            if isinstance(command, RestartExecution):
                revision = command.flow_revision or revision
            plan = self.plan(execution.head.namespace, execution.head.flow_id, revision)
        assert plan is not None
        turn = decide(
            execution,
            plan,
            command,
            tenant=self.tenant,
            execution_id=execution_id,
            now=self.now,
            flows=self.plan,
            has_workers=lambda group: group in self.groups,
        )
        self.executions[execution_id] = turn.execution
        self.events.setdefault(execution_id, []).extend(turn.events)
        for outgoing in turn.outgoing:
            self._route(execution_id, outgoing)
        self._check(execution_id)

    def _restored(self, execution_id: str) -> Execution:
        """An execution that is over, as its events tell it to who wants to restart it."""
        folded: Execution | None = None
        for event in self.events[execution_id]:
            folded = fold(folded, EVENT_DECODER.decode(encode(event)))
        assert folded is not None
        pieces = _in_order(whole_pieces(folded))
        self._pieces[execution_id] = dict(pieces)
        return restore(pieces, past=True)

    def crash(self, execution_id: str) -> None:
        """The executor of an execution dies: another one goes on from the pieces of state that were committed."""
        execution = self.executions.get(execution_id)
        if execution is None or execution.is_closed:
            return
        restored = restore(_in_order(self._pieces[execution_id]), past=execution.progress.reopening)
        self.executions[execution_id] = restored
        for timer_id in restored.timers:
            self._fired.pop((execution_id, timer_id), None)

    def past(self, execution_id: str) -> Mapping[str, Run]:
        """The task runs of an execution that are over."""
        folded: Execution | None = None
        for event in self.events[execution_id]:
            folded = fold(folded, event)
        assert folded is not None
        return restore(_in_order(whole_pieces(folded)), past=True).past

    def restart(
        self,
        execution_id: str,
        *,
        flow_revision: int | None = None,
        target: str | None = None,
        becomes: State | None = None,
    ) -> None:
        """Ask to run what failed again, in its children too, or one task run."""
        execution = self._restored(execution_id)
        resumes: list[str] = []
        waiting = [execution]
        while waiting:
            for run in waiting.pop().past.values():
                if run.child_id is not None and run.child_id not in resumes:
                    resumes.append(run.child_id)
                    waiting.append(self._restored(run.child_id))
        command = RestartExecution(
            at=self.now,
            next_event=execution.progress.next_event,
            flow_revision=flow_revision,
            target=target,
            becomes=becomes,
            resumes=resumes,
        )
        self.send(execution_id, command)

    def replay(self, execution_id: str, run_id: str | None = None, **fields: Any) -> str:
        """Ask for a replay, from a task run or from the start; gives the id of the new execution."""
        self._started += 1
        new_id = derived_identifier("replay", str(self._started))
        source = self._restored(execution_id)
        head = source.head
        revision = fields.pop("flow_revision", None) or head.flow_revision
        create = CreateExecution(
            at=self.now,
            namespace=head.namespace,
            flow_id=head.flow_id,
            flow_revision=revision,
            reuses=run_id is not None,
            **{**replay_fields(head), **fields},
        )
        self.send(new_id, create)
        if run_id is not None:
            plan = self.plan(head.namespace, head.flow_id, revision)
            assert plan is not None
            for portion in reused_portions(source, plan, run_id, new_id, at=self.now, documents={}, most=3):
                self.send(new_id, portion)
        return new_id

    def _route(self, execution_id: str, outgoing: Outgoing) -> None:
        if isinstance(outgoing, ToWorkers):
            self.jobs.append(outgoing.job)
            self.routed.append((outgoing.job.task_id, outgoing.worker_group))
        elif isinstance(outgoing, ToExecution):
            self.waiting.append((outgoing.execution_id, outgoing.command))
        elif isinstance(outgoing, ToEveryWorker):
            self._control(outgoing.control)
        elif isinstance(outgoing, ToLog):
            self.lines.append(outgoing.entry)
        else:
            self.sent.append(outgoing)

    def _control(self, control: Control) -> None:
        match control:
            case KillRun():
                self._kill(control)
            case RunInDirectory():
                self.controlled.append(control)
                self._run_in_directory(control)
            case CloseDirectory():
                self.controlled.append(control)
                self._close_directory(control)

    def _run_in_directory(self, control: RunInDirectory) -> None:
        key = (control.execution_id, control.directory_run_id, control.directory_attempt)
        job = control.job
        taken = (job.run_id, job.attempt)
        if key not in self.directories:
            lost = LoseWorker(at=self.now, run_id=key[1], attempt=key[2], worker_id=control.worker_id)
            self.send(control.execution_id, lost)
        elif taken not in self._taken:
            self._taken.add(taken)
            self.jobs.append(job)

    def _close_directory(self, control: CloseDirectory) -> None:
        held = self.directories.pop((control.execution_id, control.run_id, control.attempt), None)
        if held is not None and not control.discard and held[1].state is not State.RUNNING:
            job, outcome = held
            self._report(job, outcome)

    def _open_directory(self, job: RunTask, outcome: Outcome) -> None:
        if outcome.state is not State.SUCCESS and not outcome.closing:
            self._report(job, outcome)
            return
        self.directories[job.execution_id, job.run_id, job.attempt] = (job, outcome)
        opened = ReportDirectoryOpened(
            at=self.now, run_id=job.run_id, attempt=job.attempt, worker_id="worker"
        )
        self.send(job.execution_id, opened)

    def _opens_directory(self, job: RunTask) -> bool:
        plan = self.plan(job.flow.namespace, job.flow.id, job.flow.revision)
        if plan is None or job.task_id not in plan.tasks:
            return False
        return plan.task(job.task_id).construct == "working_directory"

    def _is_inside(self, job: RunTask) -> bool:
        plan = self.plan(job.flow.namespace, job.flow.id, job.flow.revision)
        return plan is not None and plan.task(job.task_id).directory is not None

    def _kill(self, control: KillRun) -> None:
        self.kills.append(control)
        for key in list(self.directories):
            if key[0] == control.execution_id and control.run_id in ("", key[1]):
                del self.directories[key]
        for execution_id, run_id in list(self.running):
            if execution_id == control.execution_id and control.run_id in ("", run_id):
                self._report(self.running.pop((execution_id, run_id)), Outcome(state=State.KILLED))

    def _work(self, job: Job) -> None:
        if isinstance(job, Evaluate):
            self._evaluate(job)
            return
        assert isinstance(job, RunTask)  # those of triggers come from another processor
        self.send(
            job.execution_id,
            ReportRunStarted(at=self.now, run_id=job.run_id, attempt=job.attempt, worker_id="worker"),
        )
        outcome = self.work(job)
        if outcome is None:
            self.running[job.execution_id, job.run_id] = job
        else:
            self._done(job, outcome)

    def _done(self, job: RunTask, outcome: Outcome) -> None:
        if self._opens_directory(job):
            self._open_directory(job, outcome)
        else:
            self._report(job, outcome)

    def _evaluate(self, job: Evaluate) -> None:
        try:
            values = self.evaluate(job) if self.evaluate is not None else {}
        except ExpressionError as error:
            self.send(job.execution_id, ReportEvaluation(at=self.now, run_id=job.run_id, error=str(error)))
            return
        if values is None:
            self.evaluating.append(job)
        else:
            report = ReportEvaluation(at=self.now, run_id=job.run_id, values=dict(values))
            self.send(job.execution_id, report)

    def _report(self, job: RunTask, outcome: Outcome) -> None:
        self.send(
            job.execution_id,
            ReportRunEnded(
                at=self.now,
                run_id=job.run_id,
                attempt=job.attempt,
                worker_id="worker",
                state=outcome.state,
                outputs=outcome.outputs,
                error=outcome.error,
            ),
        )

    def _check(self, execution_id: str) -> None:
        execution = self.executions[execution_id]
        for timer_id, _ in execution.take_new_timers():
            self._fired.pop((execution_id, timer_id), None)
        pieces = self._pieces.setdefault(execution_id, {})
        for name, value in execution.take_pieces():
            if value is None:
                pieces.pop(name, None)
            else:
                pieces[name] = value
        if not self.paranoid:
            return
        live = snapshot(execution)
        if execution.is_closed:
            assert not pieces, f"pieces of a closed execution are left: {sorted(pieces)}"
        else:
            restored = restore(pieces)
            assert not (found := _differences(snapshot(restored), live)), (
                f"the state read back from its pieces differs: {found}"
            )
            check_marks(restored)
        folded: Execution | None = None
        for event in self.events[execution_id]:
            folded = fold(folded, EVENT_DECODER.decode(encode(event)))
        assert folded is not None
        assert not (found := _differences(snapshot(folded), live)), (
            f"the state folded from the events differs: {found}"
        )
        check_history(self.events[execution_id])
        check_counters(execution)
        check_marks(execution)


def _in_order(pieces: Mapping[str, bytes]) -> dict[str, bytes]:
    """The pieces in the order of their names, as a store gives them; that of a set differs between processes."""
    return dict(sorted(pieces.items()))


def _reopens(command: ExecutionCommand) -> bool:
    return isinstance(command, FireTimer) and command.timer_id == "flow:"


def check_history(events: Sequence[ExecutionEvent]) -> None:
    """What every history of an execution keeps to.  Raises AssertionError.

    Numbers have no gap, a cause is a command or an earlier event, an attempt of a parent creates a task run once for
    each place in its lists, a task run and the execution end once.
    """
    places: set[tuple[object, ...]] = set()
    attempts: dict[str, int] = {}
    over: set[str] = set()
    for number, event in enumerate(events):
        assert event.number == number, f"event {number} has the number {event.number}"
        cause = event.cause
        assert (cause.event is None) != (cause.command is None), f"event {number} has no cause, or two"
        assert cause.event is None or cause.event < number, f"event {number} comes before its cause"
        assert ROOT not in over or type(event) in _AFTER_THE_END, f"event {number} follows the end"
        if isinstance(event, TaskRunCreated):
            parent = event.parent_id or ROOT
            place = (parent, attempts.get(parent, 0), event.branch, event.iteration, event.index)
            assert place not in places, (
                f"event {number} creates a second task run of `{event.task_id}` at {place}"
            )
            assert parent not in over or event.branch == "afterExecution", (
                f"event {number}: its parent is over"
            )
            places.add(place)
        elif isinstance(event, ExecutionRestarted):
            over.discard(ROOT)
            attempts[ROOT] = attempts.get(ROOT, 0) + 1
        elif isinstance(event, TaskRunReopened):
            over.discard(event.run_id)
            attempts[event.run_id] = attempts.get(event.run_id, 0) + 1
        elif isinstance(event, TaskRunSubmitted | TaskRunResubmitted):
            attempts[event.run_id] = attempts.get(event.run_id, 0) + 1
        elif isinstance(event, TaskRunEnded):
            assert event.run_id not in over, f"event {number} ends a task run for the second time"
            over.add(event.run_id)
        elif isinstance(event, ExecutionEnded):
            assert ROOT not in over, f"event {number} ends the execution for the second time"
            over.add(ROOT)


def check_counters(execution: Execution) -> None:
    """The counters of flowable task runs are what counting their children gives.  Raises AssertionError."""
    children: dict[str, int] = {}
    paused = 0
    for run in execution.runs.values():
        if run.run_id != ROOT:
            children[run.parent_id] = children.get(run.parent_id, 0) + 1
            paused += run.state is State.PAUSED
    for run in execution.runs.values():
        found = children.get(run.run_id, 0)
        assert run.open == found, f"`{run.task_id}` counts {run.open} open children, it has {found}"
    counted = execution.progress.paused_runs
    assert counted == paused, f"{counted} paused task runs are counted, there are {paused}"


def check_marks(execution: Execution) -> None:
    """Outputs that are encrypted, or too large to be kept, are known as such.  Raises AssertionError."""
    for task_id, outputs in execution.outputs.items():
        if has_encrypted(outputs):
            assert ("outputs", task_id) in execution.encrypted, f"outputs of `{task_id}` pass for plain ones"
        if has_offloaded(outputs):
            assert execution.offloaded, f"outputs of `{task_id}` are too large, and pass for others"


_AFTER_THE_END = frozenset(get_args(ExecutionEvent)) - {ExecutionEnded, ExecutionStarted, ExecutionKilling}


_STATE_OF = {
    "TaskRunSubmitted": "SUBMITTED",
    "TaskRunStarted": "RUNNING",
    "TaskRunRetrying": "RETRYING",
    "TaskRunResubmitted": "SUBMITTED",
    "TaskRunPaused": "PAUSED",
    "BreakpointReached": "BREAKPOINT",
    "TaskRunResumed": "RUNNING",
    "TaskRunKilling": "KILLING",
    "TaskRunReopened": "RESTARTED",
}


def _differences(found: Any, live: Any, path: str = "") -> list[str]:
    """Where two snapshots differ, as `path: found instead of live`."""
    if isinstance(found, dict) and isinstance(live, dict):
        return [
            line
            for name in {**found, **live}
            for line in _differences(found.get(name, "nothing"), live.get(name, "nothing"), f"{path}/{name}")
        ]
    return [] if found == live else [f"{path}: {found!r} instead of {live!r}"]


def snapshot(execution: Execution) -> dict[str, Any]:
    """Everything that an execution's state says, as plain values to be compared."""
    return {
        "head": msgspec.to_builtins(execution.head),
        "progress": msgspec.to_builtins(execution.progress),
        "runs": {run_id: msgspec.to_builtins(run) for run_id, run in execution.runs.items()},
        "loops": dict(execution.loops),
        "timers": dict(execution.timers),
        "gatherings": {
            run_id: [
                msgspec.to_builtins(each.counts),
                each.given,
                each.taken,
                each.portions,
                each.waiting_bytes,
            ]
            for run_id, each in execution.gatherings.items()
        },
        "outputs": msgspec.to_builtins(execution.outputs),
        "task_states": msgspec.to_builtins(execution.task_states),
        "failed": [execution.runs_in_state(state.value) for state in State],
    }
