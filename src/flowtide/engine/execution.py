"""The state of one execution, in pieces: a head, its progress, each task run, each loop's values, each timer.

Only `flowtide.engine.apply` changes it; deciders read it.  A change marks the piece that it touched, and only those
are written to the changelog, so that one more iteration of a loop costs what the first one cost.  A task run that is
over leaves `runs`; what later expressions may name of it (outputs, state) stays in `outputs` and `task_states`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.encrypted import has_encrypted
from flowtide.model.offload import offloaded_uri
from flowtide.model.records import ENCODER, Label, ParentRun, TriggerInfo
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
    error: str | None = None
    closed: bool = False


class Execution:
    """One execution as it is now.  `apply` is the only way to change it."""

    __slots__ = (
        "_changed",
        "_deleted",
        "_dirty",
        "_ended",
        "_failed",
        "_labels",
        "_new_timers",
        "_written",
        "encrypted",
        "head",
        "loops",
        "offloaded",
        "outputs",
        "progress",
        "runs",
        "task_states",
        "timers",
    )

    def __init__(self, head: Head, progress: Progress) -> None:
        self.head = head
        self.progress = progress
        self.runs: dict[str, Run] = {ROOT: progress.root}  # those that are not over, and the root
        self.loops: dict[str, list[str]] = {}  # run id -> values
        self.timers: dict[str, datetime] = {}  # timer id -> due
        self.outputs: dict[str, Any] = {}  # task id -> (loop value ->)* outputs
        self.task_states: dict[str, Any] = {}  # task id -> (loop value ->)* {"state": ...}
        self.offloaded = False  # whether outputs of a task run were too large to be kept here
        # The (root, name) of variables that hold encrypted values, such as ("inputs", "password").
        self.encrypted = {("inputs", name) for name, value in head.inputs.items() if has_encrypted(value)}
        if head.trigger is not None and has_encrypted(head.trigger.variables.get("outputs")):
            self.encrypted.add(("trigger", "outputs"))
        self._ended: dict[str, Run] = {}  # those that are over and not written yet
        self._changed: dict[str, Run] = {}  # piece -> the task run that it holds
        self._failed: list[dict[str, Any]] = []
        self._labels: dict[str, Any] | None = None
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
            return found
        live = [
            {"taskId": run.task_id, "taskRunId": run.run_id, "value": run.value, "state": run.state.value}
            for run in self.runs.values()
            if run.run_id != ROOT and run.state == state
        ]
        return [run for run in self._failed if run["state"] == state] + live

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

    def open_loop(self, run_id: str, values: list[str]) -> None:
        """Keep the values of a loop."""
        self.loops[run_id] = values
        self._deleted.discard(f"l:{run_id}")
        self._dirty.add(f"l:{run_id}")

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
        if self.loops.pop(run.run_id, None) is not None:
            self._dirty.discard(f"l:{run.run_id}")
            self._deleted.add(f"l:{run.run_id}")
        self.remember(run)
        self._ended[run.run_id] = run
        self.touch(run)

    def remember(self, run: Run) -> None:
        """Keep what later expressions may name of a task run that is over."""
        if run.outputs is not None or run.state is not State.SKIPPED:
            place(self.outputs, run.task_id, run.path, run.outputs if run.outputs is not None else {})
        if not self.offloaded and run.outputs and offloaded_uri(run.outputs) is not None:
            self.offloaded = True
        # What workers report is clear text; encrypted values come from subflows, pauses and switches.
        if run.outputs and run.worker_id is None and has_encrypted(run.outputs):
            self.encrypted.add(("outputs", run.task_id))
        place(self.task_states, run.task_id, run.path, {"state": run.state.value})
        if run.state not in (State.SUCCESS, State.SKIPPED):
            self._failed.append(
                {"taskId": run.task_id, "taskRunId": run.run_id, "value": run.value, "state": run.state.value}
            )

    def take_new_timers(self) -> list[tuple[str, datetime]]:
        """The timers set since the last call, as (id, due)."""
        timers, self._new_timers = self._new_timers, []
        return timers

    # Pieces.

    def take_pieces(self) -> list[tuple[str, bytes | None]]:
        """The pieces that changed since the last call, encoded; None for those that are gone.

        Of a closed execution, all pieces that were ever written are gone.
        """
        if self.progress.closed:
            pieces: list[tuple[str, bytes | None]] = [(name, None) for name in self._written]
            self._written = set()
            self._dirty.clear()
            self._deleted.clear()
            self._changed.clear()
            self._ended.clear()
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
        return pieces

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
            return ENCODER.encode(self.loops[identifier])
        if kind == "t":
            return ENCODER.encode(self.timers[identifier])
        return ENCODER.encode(self._changed[name])


def _piece_of(run: Run) -> str:
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


def restore(pieces: Mapping[str, bytes]) -> Execution:
    """Build an execution from its pieces.  Raises ValueError when they do not belong together."""
    if "h" not in pieces or "p" not in pieces:
        raise ValueError("the state of an execution lacks its head or its progress")
    execution = Execution(_HEAD.decode(pieces["h"]), _PROGRESS.decode(pieces["p"]))
    ended: list[Run] = []
    for name, piece in pieces.items():
        kind, _, identifier = name.partition(":")
        if kind == "r":
            run = _RUN.decode(piece)
            if run.state in TERMINAL:
                ended.append(run)
            else:
                execution.runs[run.run_id] = run
        elif kind == "l":
            execution.loops[identifier] = _VALUES.decode(piece)
        elif kind == "t":
            execution.timers[identifier] = _DUE.decode(piece)
    ended.sort(key=lambda run: run.ended)
    for run in ended:
        execution.remember(run)
    live = sorted(execution.runs.values(), key=lambda run: run.number)
    execution.runs = {run.run_id: run for run in live}
    execution.mark_written(pieces)
    return execution
