"""One turn: a command comes in, events and what is to be sent go out, the state is changed on the way.

Emitting an event and applying it is a single call, so that the live state and a replayed one come from the same code.
The helpers here are what all constructs share: opening and ending task runs, and carrying an end to the parent.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Container, Mapping
from datetime import datetime, timedelta
from typing import Any

from flowtide.engine import handing_out, sla
from flowtide.engine.apply import APPLIERS, fold
from flowtide.engine.execution import ROOT, Execution, Run
from flowtide.engine.needs import EVERYTHING, roots_of
from flowtide.engine.outgoing import Outgoing, ToExecution, ToLog
from flowtide.engine.plan import Plan, TaskPlan, needs_io
from flowtide.engine.variables import selected, variables_of
from flowtide.errors import ExpressionError, ExpressionTimeout, SecretInvalid
from flowtide.expressions import (
    UNREPEATABLE_FUNCTIONS,
    Limits,
    References,
    Scope,
    references_of,
    render_value,
    truthy,
)
from flowtide.model.breakpoints import stops_at
from flowtide.model.commands import ContinueRun
from flowtide.model.encrypted import has_encrypted, opened
from flowtide.model.entries import Level, LogEntry
from flowtide.model.events import (
    BranchEntered,
    BreakpointReached,
    Event,
    ExecutionEvent,
    ExecutionResumed,
    ExecutionStarted,
    PhaseEntered,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunKilling,
    TaskRunResubmitted,
    TaskRunRetrying,
    TaskRunSubmitted,
)
from flowtide.model.identifiers import derived_identifier
from flowtide.model.offload import has_offloaded
from flowtide.model.records import Cause
from flowtide.model.states import STOPPING, TERMINAL, State, worst

_AT_ONCE = Limits(time_budget=timedelta(seconds=0.5), regex_timeout=timedelta(seconds=0.5))
"""What rendering may use here, where every other execution of the partition waits for it."""


_HANDLERS = ("errors", "finally", "afterExecution")
"""The lists that run in sequence whatever the construct."""

FlowLookup = Callable[[str, str, int | None], Plan | None]
"""(namespace, flow id, revision or None for the latest) -> the plan, or None when there is no such flow.

May raise whatever its owner raises when it is not certain; nothing was changed then."""


class Turn:
    """The decision on one command.  `execution` is None until an execution was created."""

    __slots__ = (
        "_continued",
        "_ended",
        "_execution",
        "cascade",
        "cause",
        "events",
        "execution_id",
        "flows",
        "has_workers",
        "iterations_opened",
        "may_use",
        "now",
        "outgoing",
        "plan",
        "reached",
        "tenant",
    )

    def __init__(
        self,
        execution: Execution | None,
        plan: Plan,
        *,
        tenant: str,
        execution_id: str,
        now: datetime,
        cause: Cause,
        flows: FlowLookup,
        has_workers: Callable[[str], bool] = lambda group: True,
        may_use: Callable[[str], bool] = lambda group: True,
    ) -> None:
        self._execution = execution
        self.plan = plan
        self.tenant = tenant
        self.execution_id = execution_id
        self.now = now
        self.cause = cause
        self.flows = flows
        self.has_workers = has_workers  # whether somebody works in a group, as far as is known
        self.may_use = may_use  # whether the tenant may use a group
        self.events: list[ExecutionEvent] = []
        self.outgoing: list[Outgoing] = []
        self.cascade = True  # whether a kill reaches child executions
        self.reached: list[
            tuple[int, State]
        ] = []  # states of the execution, with the numbers of their events
        self.iterations_opened = 0  # by this decision; loops open them in portions
        self._continued: set[str] = set()
        self._ended: deque[tuple[Run, Cause]] = deque()

    @property
    def exists(self) -> bool:
        """Whether the execution was created, before this turn or in it."""
        return self._execution is not None

    @property
    def execution(self) -> Execution:
        """The execution as it is now; it must exist."""
        assert self._execution is not None
        return self._execution

    # Telling.

    def emit(self, event_type: type[Event], **fields: Any) -> Cause:
        """Say that something happened, and apply it; gives the cause that it is for what follows from it."""
        execution = self._execution
        number = execution.progress.next_event if execution is not None else 0
        before = execution.progress.state if execution is not None else None
        event: Any = event_type(
            tenant_id=self.tenant,
            execution_id=self.execution_id,
            number=number,
            at=self.now,
            cause=self.cause,
            **fields,
        )
        if execution is None:
            self._execution = fold(None, event)
        else:
            APPLIERS[event_type, 1](execution, event)
            execution.progress.next_event = number + 1
            execution.touch_progress()
        state = self.execution.progress.state
        if state is not before:
            self.reached.append((number, state))
        self.events.append(event)
        return Cause(event=number)

    def send(self, outgoing: Outgoing) -> None:
        """Send something together with the events."""
        self.outgoing.append(outgoing)

    def log(self, level: Level, message: str, run: Run | None = None) -> None:
        """Write a line to the execution's log."""
        head = self.execution.head
        entry = LogEntry(
            tenant_id=self.tenant,
            namespace=head.namespace,
            flow_id=head.flow_id,
            execution_id=self.execution_id,
            timestamp=self.now,
            level=level,
            message=message,
            task_id=run.task_id if run is not None else None,
            task_run_id=run.run_id if run is not None else None,
            attempt_number=run.attempt if run is not None else None,
            thread="executor",
            execution_kind=head.kind,
        )
        self.send(ToLog(entry))

    # Expressions.

    def variables(
        self, task: TaskPlan | None, run: Run | None, needed: Container[str] = EVERYTHING
    ) -> dict[str, Any]:
        """What expressions of the task run see now; roots that are not `needed` may be missing."""
        if run is not None and run.run_id == ROOT:
            task = run = None
        return variables_of(self.execution, self.plan, task, run, needed)

    def scope(self, task: TaskPlan | None, run: Run | None, needs: References) -> Scope:
        """Where expressions of the task run are rendered; the same on every server and at every time."""
        execution = self.execution
        seeded = None
        if needs.dynamic or not needs.functions.isdisjoint(UNREPEATABLE_FUNCTIONS):
            seeded = random.Random(f"{self.execution_id}:{execution.progress.next_event}")
        return Scope(
            self.variables(task, run, roots_of(needs)),
            functions={"tasksWithState": lambda state: execution.runs_in_state(str(state))},
            now=lambda: self.now,
            random=seeded,
            limits=_AT_ONCE,
        )

    def render(self, value: Any, task: TaskPlan | None, run: Run | None, *, typed: bool = True) -> Any:
        """Render a property, or a structure of them.  Raises ExpressionError."""
        if value is None or (isinstance(value, str) and "{" not in value):
            return value
        return render_value(value, self.scope(task, run, references_of(value)), typed=typed)

    def evaluate(
        self,
        run: Run,
        task: TaskPlan,
        properties: Mapping[str, Any],
        *,
        typed: bool = True,
        mixed: bool = False,
        outcome: State | None = None,
        protected: Collection[str] = (),
    ) -> dict[str, Any] | None:
        """Render properties of a flowable task run.

        None when workers were asked, because the expressions do input or output, name encrypted values or outputs
        that were too large to be kept, or take longer than others can wait; the construct is started again when they
        have answered, and then finds the values here.  `mixed` lets a text around expressions be text, where typed
        values alone would be refused (C R07).  `outcome` is kept for the root, which asks at its end.  Of `protected`
        properties, what would show a secret is given encrypted (see `opened`); others must not show a SECRET.
        Raises ExpressionError.
        """
        missing = {
            name: value
            for name, value in properties.items()
            if not (run.evaluated is not None and name in run.evaluated)
            and self._needs_worker(value, task, run)
        }
        known = run.evaluated or {}
        values: dict[str, Any] = {}
        for name, value in properties.items() if not missing else ():
            try:
                values[name] = (
                    known[name] if name in known else self._rendered(value, task, run, typed, mixed)
                )
            except ExpressionTimeout:
                missing[name] = value
            except ExpressionError as error:
                raise ExpressionError(f"property `{name}`: {error}", code=error.code) from error
        if missing:
            handing_out.ask(self, run, task, missing, outcome=outcome, protected=protected)
            return None
        return values

    def opened(self, value: Any) -> Any:
        """The value with texts in place of encrypted ones; not to be recorded.  Raises ExpressionError."""
        if not has_encrypted(value):
            return value
        try:
            return opened(value, self.plan.cipher, tenant_id=self.tenant)
        except SecretInvalid as error:
            raise ExpressionError(error.message) from error

    def _rendered(self, value: Any, task: TaskPlan, run: Run, typed: bool, mixed: bool) -> Any:
        return self._render_mixed(value, task, run) if mixed else self.render(value, task, run, typed=typed)

    def _render_mixed(self, value: Any, task: TaskPlan, run: Run) -> Any:
        if isinstance(value, Mapping):
            return {
                self.render(key, task, run, typed=False): self._render_mixed(item, task, run)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._render_mixed(item, task, run) for item in value]
        try:
            return self.render(value, task, run)
        except ExpressionTimeout:
            raise
        except ExpressionError:
            return self.render(value, task, run, typed=False)

    def renders_here(self, value: Any, task: TaskPlan, run: Run) -> bool:
        """Whether an expression of a task run can be rendered without a worker."""
        return not self._needs_worker(value, task, run)

    def needs_worker(self, value: Any) -> bool:
        """Whether rendering an expression of the flow itself needs a worker."""
        return self._needs_worker(value, self.plan.root, self.execution.progress.root)

    def _needs_worker(self, value: Any, task: TaskPlan, run: Run) -> bool:
        if needs_io(value) or self._names_encrypted(value, run):
            return True
        if not self.execution.offloaded:
            return False
        return has_offloaded(selected(self.variables(task, run), references_of(value)))

    def _names_encrypted(self, value: Any, run: Run) -> bool:
        """Whether rendering a property needs an encrypted value; costs what the property names, not what is there."""
        execution = self.execution
        encrypted = execution.encrypted
        if not encrypted and self.plan.cipher is None:
            return False
        references = references_of(value)
        if references.dynamic and encrypted:
            return True
        for path in references.paths:
            root, name = path[0], path[1] if len(path) > 1 else None
            if root in ("parent", "parents"):
                if any(has_encrypted(parent.outputs) for parent in execution.parents(run)):
                    return True
            elif any(root == held and (name == key or not isinstance(name, str)) for held, key in encrypted):
                return True
        return False

    # Task runs.

    def open_task(
        self,
        task: TaskPlan,
        parent: Run,
        branch: str,
        index: int,
        *,
        value: str | None = None,
        iteration: int | None = None,
        items: str | None = None,
        batches: list[int] | None = None,
    ) -> None:
        """Create a task run and set it going; one that is over at once is carried to its parent by `settle`."""
        assert parent.entered == branch
        execution = self.execution
        run = Run(
            run_id=derived_identifier(self.execution_id, str(execution.progress.next_event)),
            task_id=task.id,
            state=State.CREATED,
            created=self.now,
            parent_id=parent.run_id,
            value=value,
            iteration=iteration,
            items=items,
        )
        error: str | None = None
        state = State.SUBMITTED if task.begins_at_worker else State.RUNNING
        if task.run_if is not None and not self._needs_worker(task.run_if.source, task, run):
            try:
                if not truthy(task.run_if.render(self.scope(task, run, task.run_if.needs))):
                    state = State.SKIPPED
            except ExpressionError as failure:
                state, error = State.FAILED, f"`runIf` of task `{task.id}`: {failure}"
        stops = state not in TERMINAL and self._stops_at(task.id, value)
        if state not in TERMINAL and (execution.progress.held or stops):
            state = State.CREATED
        if state is State.FAILED and task.task is not None and task.task.allow_failure:
            state = State.WARNING
        tasks = task.parent.branches[branch] if task.parent is not None else []
        cause = self.emit(
            TaskRunCreated,
            run_id=run.run_id,
            task_id=task.id,
            state=state,
            parent_id=parent.run_id or None,
            branch=branch,
            index=index,
            last=index == len(tasks) - 1,
            value=value,
            iteration=iteration,
            items=items,
            batches=batches,
            error=error,
        )
        if error is not None:
            self.log(Level.ERROR, error, run)
        if state in TERMINAL:
            run.state = state
            run.index, run.branch, run.last = index, branch, index == len(tasks) - 1
            self._ended.append((run, cause))
        elif stops:
            self.emit(BreakpointReached, run_id=run.run_id)
        elif state is not State.CREATED:
            self.begin(execution.runs[run.run_id], task, cause)

    def _stops_at(self, task_id: str, value: str | None) -> bool:
        """Whether a task run is to wait at a breakpoint; what follows the end is never stopped."""
        breakpoints = self.execution.head.breakpoints
        return bool(breakpoints) and not self.execution.is_over and stops_at(breakpoints, task_id, value)

    def wait_at_breakpoint(self, run: Run) -> bool:
        """Let a task run that was held wait at a breakpoint, if it stands at one."""
        stops = run.state is State.CREATED and self._stops_at(run.task_id, run.value)
        if stops:
            self.emit(BreakpointReached, run_id=run.run_id)
        return stops

    def begin(self, run: Run, task: TaskPlan, cause: Cause) -> None:
        """Set a task run going that was created, or is tried again: hand it to the workers, or start its construct."""
        before, self.cause = self.cause, cause
        self.go_on(run, task)
        self.cause = before

    def go_on(self, run: Run, task: TaskPlan) -> None:
        """Hand a task run out or start its construct, unless workers decide its `runIf` first, or it was false.

        It is decided once, and anew when the task run runs again after its end.
        """
        goes_on = run.attempt == run.first_attempt and (run.first_attempt > 0 or run.reopened is not None)
        source = task.run_if.source if task.run_if is not None else None
        if source is not None and "runIf" in (run.evaluated or {}):
            goes_on = True  # workers have just answered, or did for an attempt before
        if source is not None and (goes_on or self._needs_worker(source, task, run)):
            try:
                values = self.evaluate(run, task, {"runIf": source}, protected=("runIf",))
            except ExpressionError as error:
                self.fail(run, task, f"Task `{task.id}`: {error}", at_once=True)
                return
            if values is None:
                return
            if not truthy(self.opened(values["runIf"])):
                self.end(run, task, State.SKIPPED)
                return
        if task.construct is None:
            self.hand_out(run, task)
        else:
            self.start_construct(run, task)

    def start_construct(self, run: Run, task: TaskPlan) -> None:
        """Let a flowable task decide its first step."""
        from flowtide.engine.decide.constructs import (
            CONSTRUCTS,
        )  # the table needs the constructs, and they need turns

        assert task.construct is not None
        try:
            CONSTRUCTS[task.construct].start(self, run, task)
        except ExpressionError as error:
            self.fail(run, task, f"Task `{task.id}`: {error}")

    def hand_out(self, run: Run, task: TaskPlan) -> None:
        """Send a job to the workers, with what the task's expressions name."""
        handing_out.hand_out(self, run, task)

    def fail(self, run: Run, task: TaskPlan, error: str, *, at_once: bool = False) -> None:
        """End a task run as FAILED, unless it may be tried again; the reason goes to the log.

        `at_once` is for what another attempt cannot mend.
        """
        self.log(Level.ERROR, error, run)
        self.end(run, task, State.FAILED, error=error, at_once=at_once)

    def end(
        self,
        run: Run,
        task: TaskPlan,
        state: State,
        *,
        outputs: dict[str, Any] | None = None,
        error: str | None = None,
        at_once: bool = False,
    ) -> None:
        """A task run, or its attempt, is over: try again, or end it; `settle` carries the end to the parent."""
        definition = task.task
        assert definition is not None
        if self.execution.progress.killing is not None and state not in (State.SUCCESS, State.WARNING):
            state = State.KILLED
        if state is State.FAILED and not at_once and self._try_again(run, task, error):
            return
        retry = definition.retry
        if state is State.SUCCESS and run.retried and retry is not None and retry.warning_on_retry:
            state = State.WARNING
        if state is State.FAILED and definition.allow_failure:
            state = State.WARNING
        if state is State.WARNING and definition.allow_warning:
            state = State.SUCCESS
        cause = self.emit(TaskRunEnded, run_id=run.run_id, state=state, outputs=outputs, error=error)
        self._ended.append((run, cause))

    def _try_again(self, run: Run, task: TaskPlan, error: str | None) -> bool:
        retry = task.task.retry if task.task is not None else None
        if retry is None or self.execution.progress.killing is not None:
            return False
        failed_attempts = run.attempt + 1 - run.first_attempt
        if retry.max_attempts is not None and failed_attempts >= retry.max_attempts:
            return False
        randomness = random.Random(f"{run.run_id}:{run.attempt}").random()
        due = self.now + retry.delay(failed_attempts, randomness)
        if retry.max_duration is not None and due - (run.reopened or run.created) > retry.max_duration:
            return False
        self.emit(TaskRunRetrying, run_id=run.run_id, attempt=run.attempt, due=due, error=error)
        return True

    def continue_later(self, run: Run) -> None:
        """Go on with a task run in another decision, because this one is long enough."""
        if run.run_id not in self._continued:
            self._continued.add(run.run_id)
            self.send(ToExecution(self.execution_id, ContinueRun(at=self.now, run_id=run.run_id)))

    def submit_again(self, run: Run, task: TaskPlan) -> None:
        """Start the next attempt of a task run whose last one failed, or the first one of a task run that was held."""
        attempt = run.attempt + 1 if run.state is State.RETRYING else run.attempt
        cause = self.emit(
            TaskRunSubmitted, run_id=run.run_id, attempt=attempt, flowable=not task.begins_at_worker
        )
        self.begin(run, task, cause)

    def resubmit(self, run: Run, task: TaskPlan, worker_id: str) -> None:
        """Hand an attempt out again whose worker died; the lost one stays visible (LIFE-7)."""
        cause = self.emit(TaskRunResubmitted, run_id=run.run_id, attempt=run.attempt, worker_id=worker_id)
        self.begin(run, task, cause)

    def follow(self, run: Run, cause: Cause | None = None) -> None:
        """See to what follows a task run that is over; `settle` opens it."""
        self._ended.append((run, cause or self.cause))

    def go_on_held(self) -> None:
        """Run what was opened while the execution was held, because it goes on after its end, or from another one."""
        from flowtide.engine.decide.commands.control import open_held  # it needs turns
        from flowtide.engine.decide.constructs import CONSTRUCTS  # see start_construct

        execution = self.execution
        root = execution.progress.root
        started = execution.progress.started is not None
        self.cause = self.emit(ExecutionResumed if started else ExecutionStarted)
        if root.open > 0:
            open_held(self)
        elif root.opened == 0:
            CONSTRUCTS["root"].start(self, root, self.plan.root)
        else:
            last = Run(
                run_id="last",
                task_id="",
                state=root.worst or State.SUCCESS,
                created=self.now,
                index=root.opened - 1,
            )
            self.next_in_sequence(root, self.plan.root, last)

    # From children to parents.

    def settle(self) -> None:
        """Carry every end to its parent until nothing more follows."""
        from flowtide.engine.decide.constructs import CONSTRUCTS  # see start_construct

        while self._ended:
            child, self.cause = self._ended.popleft()
            if self.plan.assertions and self._cut_by_assertion():
                continue  # the kill saw to the parent
            parent = self.execution.runs.get(child.parent_id)
            if parent is None or parent.entered != child.branch or parent.state is State.RETRYING:
                continue  # it is over, is tried again later, or went on to another list
            if self.execution.is_closed:
                continue  # an assertion ended it, when another end of this decision was looked at
            task = self.plan.task(parent.task_id)
            if self.execution.progress.killing is not None:
                if parent.open == 0:
                    self.complete(parent, task)
                continue
            if parent.entered in _HANDLERS:
                self.next_in_sequence(parent, task, child)
                continue
            assert task.construct is not None
            try:
                CONSTRUCTS[task.construct].child_ended(self, parent, task, child)
            except ExpressionError as error:
                self.fail(parent, task, f"Task `{task.id}`: {error}")

    def _cut_by_assertion(self) -> bool:
        """Whether an assertion of the flow, looked at now, ends the execution."""
        if self._is_cut():
            return False
        cause = self.cause
        sla.check(self)
        self.cause = cause
        return self._is_cut()

    def _is_cut(self) -> bool:
        return self.execution.is_over or self.execution.progress.killing is not None

    def next_in_sequence(self, parent: Run, task: TaskPlan, child: Run) -> None:
        """After `child`, the next task of the same list; after the last, or after a failure, the list is over."""
        assert parent.entered is not None
        tasks = task.branches[parent.entered]
        if child.state not in STOPPING and child.index + 1 < len(tasks):
            self.open_task(tasks[child.index + 1], parent, parent.entered, child.index + 1)
        else:
            self.complete(parent, task)

    def enter(
        self,
        run: Run,
        task: TaskPlan,
        branch: str,
        *,
        outcome: State | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Run one of a flowable task's lists in sequence; an empty list is over at once.

        `outputs` are what the task run knows when it enters the list.
        """
        if run.run_id == ROOT:
            cause = self.emit(PhaseEntered, phase=branch, outcome=outcome or State.SUCCESS)
        else:
            cause = self.emit(
                BranchEntered, run_id=run.run_id, branch=branch, outcome=outcome, outputs=outputs
            )
        before, self.cause = self.cause, cause
        tasks = task.branches.get(branch, [])
        if tasks:
            self.open_task(tasks[0], run, branch, 0)
        else:
            self.complete(run, task)
        self.cause = before

    def complete(self, run: Run, task: TaskPlan, *, found: State | None = None) -> None:
        """The list that a flowable task runs is over: go on to `errors`, to `finally`, or end the task run.

        `found` is what the list came to where its tasks do not tell.
        """
        from flowtide.engine.decide.constructs import CONSTRUCTS  # see start_construct
        from flowtide.engine.flow_retry import retry_of_flow, wait_for_retry  # it needs turns

        assert task.construct is not None
        if found is None:
            found = run.worst or State.SUCCESS
        if found is State.SKIPPED:
            found = State.SUCCESS
        killing = self.execution.progress.killing
        if run.entered == "errors":
            outcome = run.outcome or State.FAILED
        elif run.entered == "finally":
            outcome = run.outcome or State.SUCCESS
            if outcome is not State.RETRIED:
                outcome = worst(outcome, found)
        elif run.entered == "afterExecution":
            outcome = run.outcome or State.SUCCESS
        else:
            outcome = found
        if killing is not None and run.entered != "afterExecution":
            outcome = State.KILLED
        elif run.entered == "afterExecution":
            pass
        elif (
            run.run_id == ROOT
            and run.entered == "tasks"
            and outcome is State.FAILED
            and (retry := retry_of_flow(self)) is not None
        ):
            # `errors` runs when no retry is left (STA-07); `finally` ends what this execution began.
            if retry.behavior == "RETRY_FAILED_TASK":
                wait_for_retry(self, retry)
                return
            outcome = State.RETRIED
            if task.branches.get("finally"):
                self.enter(run, task, "finally", outcome=outcome)
                return
        elif (
            run.entered not in ("errors", "finally")
            and outcome is State.FAILED
            and task.branches.get("errors")
        ):
            self.enter(run, task, "errors", outcome=outcome)
            return
        elif run.entered != "finally" and task.branches.get("finally"):
            self.enter(run, task, "finally", outcome=outcome)
            return
        CONSTRUCTS[task.construct].finish(self, run, task, outcome)

    # Killing.

    def kill_run(self, run: Run, task: TaskPlan) -> None:
        """End a live task run because the execution is being killed; flowable ones end after their children."""
        from flowtide.engine.decide.constructs import CONSTRUCTS  # see start_construct

        if run.state in TERMINAL or run.state is State.KILLING:
            return
        if task.construct is not None:
            construct = CONSTRUCTS[task.construct]
            asleep = run.state in (State.RETRYING, State.CREATED, State.BREAKPOINT)
            reported_later = not asleep and construct.kill(self, run, task)
            if not reported_later and run.open == 0:
                self.end(run, task, State.KILLED)
            return
        if run.state is State.RUNNING:
            self.emit(TaskRunKilling, run_id=run.run_id)
            return
        # No worker said that it runs this one.  If one is about to, it is told then, and its report is ignored.
        self.end(run, task, State.KILLED)
