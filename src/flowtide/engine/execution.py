"""The state of one execution, in pieces: a head, its progress, each task run, each loop's values, each timer.

Only `flowtide.engine.apply` changes it; deciders read it.  A change marks the piece that it touched, and only those
are written to the changelog, so that one more iteration of a loop costs what the first one cost.  A task run that is
over leaves `runs`; what later expressions may name of it (outputs, state) stays in `outputs` and `task_states`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from flowtide.engine.gathering import Gathering
from flowtide.engine.repeating import Left, Repeating
from flowtide.model.encrypted import has_encrypted
from flowtide.model.offload import offloaded_uri
from flowtide.model.records import ENCODER, Breakpoint, Label, ParentRun, TriggerInfo
from flowtide.model.states import TERMINAL, State

ROOT = ""
"""The id of the pseudo run that stands for the flow itself; its children are the tasks of the flow's own lists."""


class Head(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is known when an execution is created."""

    tenant: str
    execution_id: str
    namespace: str
    flow_id: str
    flow_revision: int
    created: datetime
    inputs: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    labels: list[Label] = []
    trigger: TriggerInfo | None = None
    parent: ParentRun | None = None
    original_id: str | None = None
    kind: str | None = None
    schedule_date: datetime | None = None
    trace_parent: str | None = None
    release_trigger: bool = False
    breakpoints: list[Breakpoint] = []
    attempt_number: int = 1  # of the chain of replays and retries
    original_created: datetime | None = None  # of the first of the chain; None: it is the first
    flow_retries: int = 0  # retries of the flow (CREATE_NEW_EXECUTION) that led here
    sources: list[str] = []  # the executions that it goes on from, whose files its tasks may read (trap 53)


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A task run, or the root.  Counters stand where one would otherwise look through the children."""

    run_id: str
    task_id: str
    state: State
    created: datetime
    parent_id: str = ROOT
    branch: str = "tasks"  # the list of its parent that it stands in
    index: int = 0  # its place there
    last: bool = False
    value: str | None = None
    iteration: int | None = None
    items: str | None = None
    path: list[str] = []  # the values of the loops around it, its own last: its place in the tree of outputs
    number: int = 0  # of the event that created it
    ended: int = 0  # number of the event that ended it
    attempt: int = 0
    since: int = (
        0  # number of the event from which on its children count: those before are of a former attempt
    )
    first_attempt: int = 0  # from which its retries are counted: a later one when it was reopened
    reopened: datetime | None = None
    resumes: str | None = None  # the child execution that is restarted with it, instead of a new one
    becomes: State | None = None  # what a person said that it ended as; it is not run again
    handed_out: bool = False  # whether workers may have a job of the current attempt, also when it is over
    retried: bool = False  # whether an attempt failed before, other than by the death of its worker
    started: datetime | None = None  # of the current attempt
    worker_id: str | None = None  # that runs the current attempt
    outputs: dict[str, Any] | None = None
    child_id: str | None = None  # the execution that it started and waits for
    evaluated: dict[str, Any] | None = None  # what workers evaluated for it
    # of flowable task runs, about their children:
    entered: str | None = None  # the list that is being run
    outcome: State | None = None  # what it will end as, settled before `errors` and `finally`
    worst: State | None = None  # the gravest end of a child in `entered`
    opened: int = 0  # children (of loops: iterations) opened so far in `entered`
    open: int = 0  # children that are not over
    iterations: int | None = None  # of a loop: how many there are
    iterations_done: int = 0
    iteration_now: int | None = None  # of a loop without values: the one that runs, from 0
    iteration_began: int = 0  # number of the event with which that one began
    shown: int = 0  # number of the event from which on expressions see the outputs it has before its end
    taken: list[int] | None = None  # of a list without order: the places whose tasks were opened
    done: list[int] | None = None  # and those whose tasks are over
    asked: list[str] | None = None  # properties that workers are evaluating
    repeats: bool = (
        False  # of any task run: whether it is in a loop without values, whose iterations replace it
    )
    loop: str | None = None  # the task run of the nearest such loop around it


class Progress(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What changes with every event."""

    state: State
    root: Run
    next_event: int = 0
    started: datetime | None = None
    killing: State | None = None  # what it will end as when all running tasks are gone
    held: bool = False  # paused by a person
    paused_runs: int = 0
    slot: bool = False  # it asked for a slot of the flow's concurrency limit
    breached: list[str] = []  # ids of service level agreements that were not kept
    retry_states: list[State] = []  # of attempts of task runs that were retried, each once (CND-15)
    error: str | None = None
    closed: bool = False
    reopening: bool = False  # task runs are being reopened, in portions; nothing runs meanwhile
    restarted: bool = False  # by a person, and not running yet
    target: str | None = None  # the only task run to be reopened; None: all that failed
    becomes: State | None = None  # what the target ended as, as a person says; None: it runs again
    resumes: list[str] = []  # child executions that are restarted instead of being replaced
    flow_retries: int = 0  # retries of the flow in this execution (RETRY_FAILED_TASK)
    reused: int = 0  # task runs that were taken over from the execution that it replays


class Execution:
    """One execution as it is now.  `apply` is the only way to change it."""

    __slots__ = (
        "_changed",
        "_deleted",
        "_dirty",
        "_ended",
        "_ended_loops",
        "_failed",
        "_gathered",
        "_labels",
        "_new_timers",
        "_reopened",
        "_repeating",
        "_written",
        "encrypted",
        "gatherings",
        "head",
        "loops",
        "offloaded",
        "outputs",
        "past",
        "past_loops",
        "progress",
        "runs",
        "steps",
        "task_states",
        "timers",
    )

    def __init__(self, head: Head, progress: Progress) -> None:
        self.head = head
        self.progress = progress
        self.runs: dict[str, Run] = {ROOT: progress.root}  # those that are not over, and the root
        self.loops: dict[str, list[str]] = {}  # run id -> values
        self.timers: dict[str, datetime] = {}  # timer id -> due
        self.gatherings: dict[str, Gathering] = {}  # task run that runs batches -> what they gave
        self._gathered: dict[str, bool] = {}  # pieces of those -> whether they are there
        self.outputs: dict[str, Any] = {}  # task id -> (loop value ->)* outputs
        self.task_states: dict[str, Any] = {}  # task id -> (loop value ->)* {"state": ...}
        self.offloaded = False  # whether outputs of a task run were too large to be kept here
        # The (root, name) of variables that hold encrypted values, such as ("inputs", "password").
        self.encrypted = {("inputs", name) for name, value in head.inputs.items() if has_encrypted(value)}
        self.note_encrypted("vars", head.variables, head.variables)
        if head.trigger is not None:
            self.note_encrypted("trigger", head.trigger.variables, head.trigger.variables)
        self._ended: dict[str, Run] = {}  # those that are over and not written yet
        self._changed: dict[str, Run] = {}  # piece -> the task run that it holds
        self._failed: dict[str, dict[str, Any]] = {}
        self._repeating = Repeating()
        self.past: dict[
            str, Run
        ] = {}  # task runs that are over; only while some are reopened (see `restore`)
        self.past_loops: dict[str, list[str]] = {}  # the values of loops that are over, likewise
        self.steps: deque[Any] | None = None  # what is left to be reopened; None: to be found out
        self._ended_loops: dict[str, list[str]] = {}  # those that are not written yet
        self._labels: dict[str, Any] | None = None
        self._reopened = False  # whether a task run that was over runs, or ran, again
        self._new_timers: list[tuple[str, datetime]] = []
        self._dirty: set[str] = set()
        self._deleted: set[str] = set()
        self._written: set[str] = set()

    @property
    def id(self) -> str:
        """The execution's id, unique within its tenant."""
        return self.head.execution_id

    @property
    def is_over(self) -> bool:
        """Whether its state is final (`afterExecution` may still run)."""
        return self.progress.state in TERMINAL

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will ever happen."""
        return self.progress.closed

    def parents(self, run: Run) -> Iterable[Run]:
        """The flowable task runs around `run`, nearest first, without the root."""
        while run.parent_id != ROOT:
            run = self.runs[run.parent_id]
            yield run

    def labels(self) -> dict[str, Any]:
        """The labels as `{{ labels }}` shows them: dotted keys are nested (LAB-11)."""
        if self._labels is None:
            self._labels = nested_labels(self.head.labels)
        return self._labels

    def runs_in_state(self, state: str) -> list[dict[str, Any]]:
        """The task runs in a state, as `tasksWithState` gives them (ERR-03).

        Those that succeeded or were skipped are looked up where expressions find them, without their ids.
        """
        state = state.upper()
        if state in (State.SUCCESS, State.SKIPPED):
            found: list[dict[str, Any]] = []
            for task_id, node in self.task_states.items():
                _collect(found, task_id, None, node, state)
            if self._repeating or self._reopened:
                # What repeats, or was run again, is not read back in the order in which it first ended.
                found.sort(key=lambda run: (run["taskId"], run["value"] or ""))
            return found
        live = [
            {"taskId": run.task_id, "taskRunId": run.run_id, "value": run.value, "state": run.state.value}
            for run in self.runs.values()
            if run.run_id != ROOT and run.state == state
        ]
        return [run for run in self._failed.values() if run["state"] == state] + live

    def just_ended(self, run_id: str) -> Run | None:
        """A task run that ended since the pieces were last taken."""
        return self._ended.get(run_id)

    # What `apply` uses.

    def touch(self, run: Run) -> None:
        """Note that a task run changed."""
        if run.run_id == ROOT:
            self._dirty.add("p")
        else:
            name = _piece_of(run)
            self._dirty.add(name)
            self._changed[name] = run

    def touch_head(self) -> None:
        """Note that the head changed."""
        self._labels = None
        self._dirty.add("h")

    def touch_progress(self) -> None:
        """Note that the progress changed."""
        self._dirty.add("p")

    def note_encrypted(self, root: str, values: Mapping[str, Any], names: Iterable[str]) -> None:
        """Note which of the named values of a root variable are encrypted now."""
        for name in names:
            if name in values and has_encrypted(values[name]):
                self.encrypted.add((root, name))
            else:
                self.encrypted.discard((root, name))

    def open_loop(self, run_id: str, values: list[str]) -> None:
        """Keep the values of a loop."""
        self.loops[run_id] = values
        self._deleted.discard(f"l:{run_id}")
        self._dirty.add(f"l:{run_id}")

    def gathering(self, run_id: str) -> Gathering:
        """What the batches of a task run gave."""
        found = self.gatherings.get(run_id)
        if found is None:
            found = self.gatherings[run_id] = Gathering(run_id, self._gathered)
            found.tell(0)
        return found

    def forget_gathering(self, run_id: str) -> None:
        """Forget what the batches of a task run gave, if it has any."""
        found = self.gatherings.pop(run_id, None)
        if found is not None:
            self._gathered.update(dict.fromkeys(found.names(), False))

    def set_timer(self, timer_id: str, due: datetime) -> None:
        """Wake the execution at `due`; a timer of the same id is replaced."""
        self.timers[timer_id] = due
        self._new_timers.append((timer_id, due))
        self._deleted.discard(f"t:{timer_id}")
        self._dirty.add(f"t:{timer_id}")

    def clear_timer(self, timer_id: str) -> None:
        """Forget a timer; it need not exist."""
        if self.timers.pop(timer_id, None) is not None:
            self._dirty.discard(f"t:{timer_id}")
            self._deleted.add(f"t:{timer_id}")

    def finish(self, run: Run) -> None:
        """Move a task run that is over out of the live ones; its outputs and state stay."""
        self.runs.pop(run.run_id, None)
        values = self.loops.pop(run.run_id, None)
        if values is not None and f"l:{run.run_id}" in self._dirty:
            self._ended_loops[run.run_id] = values  # the piece stays: the loop may be reopened
        self.remember(run)
        self._ended[run.run_id] = run
        if self.past:
            self.past[run.run_id] = run
        self.touch(run)

    def remember(self, run: Run) -> None:
        """Keep what later expressions may name of a task run that is over."""
        if run.repeats:
            self._replace(run)
        if (
            run.state is not State.SKIPPED
        ):  # what is skipped gives nothing, and leaves what an earlier one gave
            place(self.outputs, run.task_id, run.path, run.outputs if run.outputs is not None else {})
        if not self.offloaded and run.outputs and offloaded_uri(run.outputs) is not None:
            self.offloaded = True
        if run.outputs and has_encrypted(run.outputs):
            self.encrypted.add(("outputs", run.task_id))
        place(self.task_states, run.task_id, run.path, {"state": run.state.value})
        if run.state not in (State.SUCCESS, State.SKIPPED):
            self._failed[run.run_id] = {
                "taskId": run.task_id,
                "taskRunId": run.run_id,
                "value": run.value,
                "state": run.state.value,
            }

    def forget_past(self) -> None:
        """Nothing is reopened any more."""
        self.past = {}
        self.past_loops = {}
        self.steps = None

    def end_all(self) -> None:
        """Take what still runs for over: a replay looks at an execution of any state as one that was killed."""
        for run in list(self.runs.values()):
            if run.run_id != ROOT:
                run.state = State.KILLED
                self.past[run.run_id] = run
                del self.runs[run.run_id]
        self.past_loops.update(self.loops)

    def reopen(self, run: Run) -> None:
        """Take a task run that was over among the live ones; what expressions knew of its end is forgotten."""
        self._reopened = True
        self.past.pop(run.run_id, None)
        self._ended.pop(run.run_id, None)
        self.runs[run.run_id] = run
        self._unremember(run)
        self.touch(run)

    def _unremember(self, run: Run) -> None:
        self._failed.pop(run.run_id, None)
        unplace(self.outputs, run.task_id, run.path)
        unplace(self.task_states, run.task_id, run.path)

    def show(self, run: Run) -> None:
        """Let expressions name what a task run that is not over has so far."""
        run.shown = self.progress.next_event
        self._show(run)

    def _show(self, run: Run) -> None:
        place(self.outputs, run.task_id, run.path, run.outputs or {})

    def _replace(self, run: Run) -> None:
        """Forget what the iteration before left at the same place, so that iterations do not pile up."""
        before, inside = self._repeating.end(run)
        if before is not None:
            self._drop(before)
        self._forget_all(inside)

    def forget_iterations(self, run: Run, before: int) -> None:
        """Forget what a loop without values left before an event, where nothing took its place (FLO-21)."""
        self._forget_all(self._repeating.outdated(run.run_id, before))

    def _forget_all(self, gone: Iterable[Left]) -> None:
        for left in gone:
            self._drop(left)
            task_id, path = left.place.task_id, list(left.place.path)
            if not left.place.skipped:
                unplace(self.outputs, task_id, path)
            if left.place.other not in self._repeating:
                unplace(self.task_states, task_id, path)
            elif not left.place.skipped:
                place(self.task_states, task_id, path, {"state": State.SKIPPED.value})

    def _drop(self, left: Left) -> None:
        piece = _piece_of(left)
        for name in (piece, f"l:{left.run_id}"):
            self._dirty.discard(name)
            self._deleted.add(name)
        self._changed.pop(piece, None)
        self._ended_loops.pop(left.run_id, None)
        self.forget_gathering(left.run_id)
        self._failed.pop(left.run_id, None)
        self.past.pop(left.run_id, None)
        self.past_loops.pop(left.run_id, None)

    def take_new_timers(self) -> list[tuple[str, datetime]]:
        """The timers set since the last call, as (id, due)."""
        timers, self._new_timers = self._new_timers, []
        return timers

    # Pieces.

    def take_pieces(self) -> list[tuple[str, bytes | None]]:
        """The pieces that changed since the last call, encoded; None for those that are gone.

        Of a closed execution, all pieces that were ever written are gone.
        """
        if self._gathered:
            self._note_gathered()
        if self.progress.closed:
            pieces: list[tuple[str, bytes | None]] = [(name, None) for name in self._written]
            self._written = set()
            self._dirty.clear()
            self._deleted.clear()
            self._changed.clear()
            self._ended.clear()
            self._ended_loops.clear()
            return pieces
        pieces = []
        for name in self._deleted:
            if name in self._written:
                self._written.discard(name)
                pieces.append((name, None))
        for name in self._dirty:
            pieces.append((name, self._encode(name)))
            self._written.add(name)
        self._dirty.clear()
        self._deleted.clear()
        self._changed.clear()
        self._ended.clear()
        self._ended_loops.clear()
        return pieces

    def _note_gathered(self) -> None:
        for name, is_there in self._gathered.items():
            (self._dirty if is_there else self._deleted).add(name)
            (self._deleted if is_there else self._dirty).discard(name)
        self._gathered.clear()

    @property
    def written(self) -> Iterable[str]:
        """The names of the pieces that were given away and stand."""
        return self._written

    def mark_written(self, names: Iterable[str]) -> None:
        """Note which pieces the changelog holds."""
        self._written = set(names)

    def _encode(self, name: str) -> bytes:
        kind, _, identifier = name.partition(":")
        if kind == "p":
            return ENCODER.encode(self.progress)
        if kind == "h":
            return ENCODER.encode(self.head)
        if kind == "l":
            values = self.loops.get(identifier)
            return ENCODER.encode(self._ended_loops[identifier] if values is None else values)
        if kind == "t":
            return ENCODER.encode(self.timers[identifier])
        if kind == "g":
            return self.gatherings[identifier.partition(":")[0]].encode(name)
        return ENCODER.encode(self._changed[name])


def _piece_of(run: Run | Left) -> str:
    # By number, because what is written together then stands together, and costs a page and not one a task run.
    return f"r:{run.number:010d}"


def place(tree: dict[str, Any], task_id: str, path: list[str], value: Any) -> None:
    """Put a value into a tree that is keyed by task and then by the values of the loops around it."""
    if not path:
        tree[task_id] = value
        return
    node = tree.get(task_id)
    if not isinstance(node, dict):
        node = tree[task_id] = {}
    for key in path[:-1]:
        child = node.get(key)
        if not isinstance(child, dict):
            child = node[key] = {}
        node = child
    node[path[-1]] = value


def unplace(tree: dict[str, Any], task_id: str, path: list[str]) -> None:
    """Take back what `place` put there; nothing when it is not there."""
    nodes = [tree]
    for key in [task_id, *path][:-1]:
        node = nodes[-1].get(key)
        if not isinstance(node, dict):
            return
        nodes.append(node)
    for node, key in reversed(list(zip(nodes, [task_id, *path], strict=True))):
        node.pop(key, None)
        if node:
            return


def _collect(
    found: list[dict[str, Any]], task_id: str, value: str | None, node: dict[str, Any], state: str
) -> None:
    """Find the task runs of a state in the tree that `place` builds."""
    if isinstance(node.get("state"), str):
        if node["state"] == state:
            found.append({"taskId": task_id, "value": value, "state": state})
        return
    for key, child in node.items():
        _collect(found, task_id, key, child, state)


def nested_labels(labels: Iterable[Label]) -> dict[str, Any]:
    """Labels as a tree: `system.username` becomes `{"system": {"username": ...}}`."""
    tree: dict[str, Any] = {}
    for label in labels:
        node = tree
        *parents, key = label.key.split(".")
        for parent in parents:
            child = node.get(parent)
            if not isinstance(child, dict):
                child = node[parent] = {}
            node = child
        node[key] = label.value
    return tree


_HEAD = msgspec.json.Decoder(Head)
_PROGRESS = msgspec.json.Decoder(Progress)
_RUN = msgspec.json.Decoder(Run)
_VALUES = msgspec.json.Decoder(list[str])
_DUE = msgspec.json.Decoder(datetime)


def decode_due(piece: bytes) -> datetime:
    """Read the piece of a timer."""
    return _DUE.decode(piece)


def restore(pieces: Mapping[str, bytes], *, past: bool = False) -> Execution:
    """Build an execution from its pieces.  Raises ValueError when they do not belong together.

    With `past`, also what is over is kept in memory, because it is about to be reopened.
    """
    if "h" not in pieces or "p" not in pieces:
        raise ValueError("the state of an execution lacks its head or its progress")
    execution = Execution(_HEAD.decode(pieces["h"]), _PROGRESS.decode(pieces["p"]))
    over: list[Run] = []
    # What changed what expressions may name, with the numbers of the events.
    changes: list[tuple[int, Callable[[Run], None], Run]] = []
    loops: dict[str, list[str]] = {}
    gathered: dict[str, dict[str, bytes]] = {}
    for name, piece in pieces.items():
        kind, _, identifier = name.partition(":")
        if kind == "r":
            run = _RUN.decode(piece)
            if run.reopened is not None:
                execution._reopened = True  # noqa: SLF001  # the same module: it reads its own pieces back
            if run.state in TERMINAL:
                over.append(run)
                changes.append((run.ended, execution.remember, run))
            else:
                execution.runs[run.run_id] = run
                if run.ended:
                    changes.append((run.ended, execution._unremember, run))  # noqa: SLF001  # as above
                if run.shown:
                    changes.append((run.shown, execution._show, run))  # noqa: SLF001  # as above
        elif kind == "l":
            loops[identifier] = _VALUES.decode(piece)
        elif kind == "t":
            execution.timers[identifier] = _DUE.decode(piece)
        elif kind == "g":
            run_id, _, part = identifier.partition(":")
            gathered.setdefault(run_id, {})[part] = piece
    for run_id, parts in gathered.items():
        gathering = execution.gatherings[run_id] = Gathering(run_id, execution._gathered)  # noqa: SLF001  # as above
        gathering.read(parts)
    # Task runs of a loop that has a value twice share a place, where the last change counts.
    for _, change, run in sorted(changes, key=lambda each: each[0]):
        change(run)
    live = sorted(execution.runs.values(), key=lambda run: max(run.number, run.ended))
    execution.runs = {run.run_id: run for run in live}
    for run in live:
        if run.shown == 0 and (run.iteration_now is not None or (run.iterations is not None and run.outputs)):
            execution._show(run)  # noqa: SLF001  # as above; it was written by a version that did not keep the number
    for run in live:
        if (
            run.iterations is not None and run.run_id in loops
        ):  # one that is to run again does not know them yet
            execution.loops[run.run_id] = loops[run.run_id]
    if past:
        execution.past = {run.run_id: run for run in over}
        execution.past_loops = {
            run_id: values for run_id, values in loops.items() if run_id not in execution.runs
        }
    execution.mark_written(pieces)
    return execution


def whole_pieces(execution: Execution) -> dict[str, bytes]:
    """All pieces of an execution that was folded from its first event on and never gave pieces away."""
    closed, execution.progress.closed = execution.progress.closed, False
    pieces = {name: value for name, value in execution.take_pieces() if value is not None}
    execution.progress.closed = closed
    if closed:
        pieces["p"] = ENCODER.encode(execution.progress)
    return pieces
