"""What must hold of the whole system, whatever happened to its parts; reads the log and the index, asks no server."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from flowtide.engine.apply import fold
from flowtide.engine.execution import Execution, restore
from flowtide.index.kinds import event_id
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Record
from flowtide.model.events import (
    EVENT_DECODER,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    ExecutionRestarted,
    ExecutionResumed,
    ExecutionStarted,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunReopened,
    TaskRunReused,
)
from flowtide.model.jobs import JOB_DECODER, RunTask
from flowtide.model.states import TERMINAL, State
from flowtide.testing.flows import check_history, snapshot
from tests.simulation.servers import ATTEMPTS, MemoryIndex, decoded


class Broken(AssertionError):
    """Something that must hold does not."""


def records(log: EmbeddedLog, topic: str) -> list[Record]:
    """Everything on a topic, partition by partition."""
    store: Any = log._store
    found: list[Record] = []
    stored = store._topics[topic]
    for number, partition_id in enumerate(stored.partition_ids):
        end = store._ends[partition_id]
        found += store.read(stored, number, 0, end, end + 1)
    return found


def histories(log: EmbeddedLog) -> dict[str, list[ExecutionEvent]]:
    """The events of each execution, in the order of the log."""
    found: dict[str, list[ExecutionEvent]] = defaultdict(list)
    for record in records(log, "execution_events"):
        found[record.key].append(EVENT_DECODER.decode(record.value or b""))
    return found


def folded(events: Iterable[ExecutionEvent]) -> Execution:
    """The execution that its events tell of."""
    found: Execution | None = None
    for event in events:
        found = fold(found, event)
    assert found is not None
    return found


def check_states(log: EmbeddedLog) -> dict[str, Execution]:
    """At any moment, the committed state of every live execution is the fold of its committed events."""
    store: Any = log._store
    pieces: dict[str, dict[str, bytes]] = defaultdict(dict)
    for partition_id in store._topics["execution_commands"].partition_ids:
        for key, value in store.state("executor", partition_id).items():
            name, _, piece = key.partition("|")
            if piece != "x":
                pieces[name][piece] = value
    live: dict[str, Execution] = {}
    for name, events in histories(log).items():
        try:
            check_history(events)
        except AssertionError as error:
            raise Broken(f"{name}: {error}; {_short(events)}") from None
        folded: Execution | None = None
        try:
            for event in events:
                folded = fold(folded, event)
        except (KeyError, ValueError) as error:
            raise Broken(f"the events of {name} cannot be folded: {error!r}; {_short(events)}") from None
        assert folded is not None
        own = pieces.pop(name, None)
        if folded.is_closed:
            if own:
                raise Broken(f"the closed execution {name} left {sorted(own)}")
            continue
        if own is None:
            raise Broken(f"the live execution {name} has no state; {_short(events)}")
        restored = restore(own)
        if snapshot(restored) != snapshot(folded):
            raise Broken(f"the state of {name} is not the fold of its events; {_short(events)}")
        live[name] = folded
    if pieces:
        raise Broken(f"there is state of executions without events: {sorted(pieces)}")
    return live


def check_jobs(log: EmbeddedLog) -> None:
    """Each attempt was handed out once."""
    handed = Counter(
        (job.run_id, job.attempt)
        for record in records(log, "worker_jobs")
        if isinstance(job := JOB_DECODER.decode(record.value or b""), RunTask)
    )
    twice = [key for key, count in handed.items() if count > 1]
    if twice:
        raise Broken(f"these attempts were handed out more than once: {twice}")


def check_attempts() -> None:
    """No attempt of a task that may do something outside began twice."""
    twice = [
        key for key, count in Counter((run, attempt) for _, run, attempt in ATTEMPTS).items() if count > 1
    ]
    if twice:
        servers = [each for each in ATTEMPTS if each[1:] in twice]
        raise Broken(f"these attempts were run more than once: {servers}")


def check_ends(log: EmbeddedLog, accepted: Iterable[str]) -> None:
    """In the end every execution that was asked for is there and over, and nobody waits for a slot."""
    found = histories(log)
    lost = [execution_id for execution_id in accepted if f"main/{execution_id}" not in found]
    if lost:
        raise Broken(f"these executions were asked for and are lost: {lost}")
    stuck = check_states(log)
    if stuck:
        told = {name: _describe(execution) for name, execution in stuck.items()}
        raise Broken(f"these executions never end: {told}")
    store: Any = log._store
    for partition_id in store._topics["flow_commands"].partition_ids:
        left = store.state("flows", partition_id)
        if left:
            raise Broken(f"slots are held or waited for although everything is over: {sorted(left)}")
    letters = [decoded(record.value or b"") for record in records(log, "dead_letters")]
    if letters:
        raise Broken(f"there are dead letters: {letters[:3]}")


def check_children(log: EmbeddedLog) -> None:
    """Whoever was told that a child was started finds it on the log, once."""
    found = histories(log)
    for name, events in found.items():
        for event in events:
            child = getattr(event, "child_id", None)
            if child is not None and f"main/{child}" not in found:
                raise Broken(f"{name} started {child}, which is not there")


def check_limits(log: EmbeddedLog, limits: Mapping[str, int]) -> None:
    """No more executions of a flow ran at once than its limit says."""
    changes: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for events in histories(log).values():
        created = events[0]
        assert isinstance(created, ExecutionCreated)
        if created.flow_id not in limits:
            continue
        started: datetime | None = None
        waits = True  # for a slot: it was not started yet, or restarted since
        for event in events:
            if isinstance(event, ExecutionRestarted) and not event.automatic:
                waits = True
            elif isinstance(event, ExecutionStarted | ExecutionResumed) and waits:
                started, waits = event.at, False
            elif isinstance(event, ExecutionEnded) and started is not None:
                changes[created.flow_id] += [(started, 1), (event.at, -1)]
                started = None
    for flow_id, moments in changes.items():
        running = 0
        for at, change in sorted(moments):
            running += change
            if running > limits[flow_id]:
                raise Broken(f"{running} executions of {flow_id} ran at once, at {at}")


def check_flow_trigger(log: EmbeddedLog, *, upstream: str, flow_id: str) -> None:
    """Every execution of `upstream` that ended started exactly one of `flow_id`, each time that it ended."""
    started: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for name, events in histories(log).items():
        created = events[0]
        assert isinstance(created, ExecutionCreated)
        if created.flow_id == flow_id and created.trigger is not None:
            started[created.trigger.variables["executionId"]] += 1
        elif created.flow_id == upstream:
            ended[name.removeprefix("main/")] = sum(isinstance(event, ExecutionEnded) for event in events)
    if started != ended:
        raise Broken(
            f"these executions of {upstream} started too few {flow_id}: {sorted((ended - started).keys())}; "
            f"these too many, or before their end: {sorted((started - ended).keys())}"
        )


def check_schedules(log: EmbeddedLog, flow_id: str, every: timedelta) -> int:
    """A schedule fired exactly once for each date, and left none out; gives how often."""
    dates: Counter[datetime] = Counter()
    for record in records(log, "execution_events"):
        event = EVENT_DECODER.decode(record.value or b"")
        if isinstance(event, ExecutionCreated) and event.flow_id == flow_id and event.trigger is not None:
            dates[datetime.fromisoformat(event.trigger.variables["date"])] += 1
    twice = [date for date, count in dates.items() if count > 1]
    if twice:
        raise Broken(f"the schedule of {flow_id} fired more than once for {twice}")
    ordered = sorted(dates)
    for before, after in pairwise(ordered):
        if after - before != every:
            raise Broken(f"the schedule of {flow_id} left out what lies between {before} and {after}")
    return len(ordered)


def check_index(log: EmbeddedLog, index: MemoryIndex) -> None:
    """In the end the index has every execution and task run, in the state that the events say."""
    for name, events in histories(log).items():
        execution_id = events[0].execution_id
        ended = next(event for event in reversed(events) if isinstance(event, ExecutionEnded))
        shown = index.documents.get(("executions", "main", execution_id))
        if shown is None:
            raise Broken(f"the index lacks the execution {name}")
        state = decoded(shown.body)["state"]["current"]
        if state != ended.state:
            raise Broken(f"the index shows {name} {state}, it is {ended.state}")
        states: dict[str, State] = {}
        for event in events:
            if isinstance(event, TaskRunCreated | TaskRunEnded | TaskRunReused):
                states[event.run_id] = event.state
            elif isinstance(event, TaskRunReopened):
                states[event.run_id] = State.RUNNING
        for run_id, expected in states.items():
            run = index.documents.get(("task_runs", "main", run_id))
            if run is None:
                raise Broken(f"the index lacks the task run {run_id} of {name}")
            found = decoded(run.body)["state"]["current"]
            if expected in TERMINAL and found != expected:
                raise Broken(f"the index shows the task run {run_id} of {name} {found}, it is {expected}")
        lacking = [
            event.number
            for event in events
            if ("events", "main", event_id(execution_id, event.number)) not in index.documents
        ]
        if lacking:
            raise Broken(f"the index lacks the events {lacking} of {name}")


def _describe(execution: Execution) -> str:
    runs = [f"{run.task_id} {run.state} {run.worker_id or ''}" for run in execution.runs.values()]
    return f"{execution.head.flow_id} {execution.progress.state} {runs} {execution.timers}"


def _short(events: list[ExecutionEvent]) -> str:
    return ", ".join(f"{event.number} {type(event).__name__}" for event in events[-12:])
