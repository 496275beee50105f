"""Flow triggers: states of executions upstream in, executions of the listening flow out (page 482, FTR-01 to FTR-10).

State, of each window of time in which several preconditions must be met: a piece for each that is met, and one for the
executions that were used up; both go when the window is over.  Another piece tells of a trigger that `stopAfter`
switched off.  An execution is named after the trigger and what fired it, so that nothing fires twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from flowtide.engine.execution import nested_labels
from flowtide.errors import FlowtideError
from flowtide.log.keys import ExecutionKey, FlowKey, TriggerKey
from flowtide.log.port import Message
from flowtide.model.commands import CreateExecution
from flowtide.model.condition import ConditionContext, ConditionPlugin
from flowtide.model.conditions.multiple import MultipleCondition
from flowtide.model.encrypted import has_encrypted
from flowtide.model.entries import Level, LogEntry
from flowtide.model.flow import Flow
from flowtide.model.flow_commands import NoteExecutionState
from flowtide.model.identifiers import derived_identifier
from flowtide.model.inputs import Render
from flowtide.model.offload import DEFAULT_LIMIT_BYTES
from flowtide.model.plugin import Part
from flowtide.model.records import Label, TriggerInfo, Value, encode
from flowtide.model.time_windows import TimeWindow
from flowtide.model.triggers.flow import FlowTrigger

MET = "met"
USED = "used"
OFF = "off"

LONGEST_CHAIN = 50
"""Flow triggers that may lead to one another; more is a circle that nobody meant."""

_LATE = timedelta(hours=1)  # how long after its end a window waits for notes that are under way
_REMEMBERED = 100  # executions used up, of one window
_MESSAGE_LIMIT_BYTES = 900_000  # below what every broker takes
_CORRELATION = "system.correlationId"
_FROM = Label(key="system.from", value="trigger")


class ListeningFlow(NamedTuple):
    """The latest revision of a flow."""

    revision: int
    flow: Flow | None  # None: it is deleted, or cannot be read on this server


class _Met(Value, frozen=True):
    """A precondition that an execution met."""

    expires: datetime
    at: datetime
    by: str  # names the execution and its state
    outputs: dict[str, Any] = {}


class _Used(Value, frozen=True):
    """Executions that fired a trigger, so that they do not count again."""

    expires: datetime
    by: list[str]


class _Window:
    """What was met so far within a window of time."""

    __slots__ = ("expires", "flow", "met", "used")

    def __init__(self, flow: str, expires: datetime) -> None:
        self.flow = flow
        self.expires = expires
        self.met: dict[str, _Met] = {}  # by what was met
        self.used: list[str] = []


class _Gate:
    """Preconditions, or a MultipleCondition: parts that are all met within a window, each by some execution."""

    def __init__(
        self, trigger_id: str, gate_id: str, parts: Sequence[Part], window: TimeWindow, *, resets: bool
    ) -> None:
        self.names = (trigger_id, gate_id, _digest(window))
        self.window = window
        self.resets = resets
        # Named after what they ask, so that a changed flow counts nothing that was met before under the same name.
        self.parts: dict[str, Any] = {_digest(part): part for part in parts}

    def met_by(self, context: ConditionContext) -> list[str]:
        """The names of the parts that an execution meets.  Raises whatever conditions raise."""
        return [name for name, part in self.parts.items() if part.holds(context)]


class _Plan:
    """A Flow trigger made ready."""

    def __init__(self, trigger: FlowTrigger) -> None:
        self.trigger = trigger
        self.states = trigger.listens_to()
        self.labels = frozenset(trigger.selecting_labels())
        self.conditions: list[ConditionPlugin] = []
        self.gates: list[_Gate] = []
        for each in trigger.conditions:
            assert isinstance(each, ConditionPlugin)
            if isinstance(each, MultipleCondition):
                gate = _Gate(trigger.id, each.id, each.parts(), each.within, resets=each.reset_on_success)
                self.gates.append(gate)
            else:
                self.conditions.append(each)
        asked = trigger.preconditions
        if asked is not None:
            window = asked.time_window or TimeWindow()
            self.gates.append(_Gate(trigger.id, asked.id, asked.parts, window, resets=asked.reset_on_success))


class _Context:
    """What conditions look at: an execution upstream."""

    def __init__(self, execution: NoteExecutionState, render: Render, variables: Mapping[str, Any]) -> None:
        self.execution = execution
        self._render = render
        self._variables = variables

    def render(self, template: Any) -> Any:
        """Render keeping types."""
        return self._render(template, self._variables)


class FlowTriggers:
    """The Flow triggers of the flows of one partition.

    Messages and changed pieces are added to `messages` and `changes`, which the partition owns.  `render` renders
    templates of conditions, and `render_inputs` those of inputs and labels, which are recorded.
    """

    def __init__(
        self,
        messages: list[Message],
        changes: dict[str, bytes | None],
        *,
        render: Render,
        render_inputs: Render,
    ) -> None:
        self._messages = messages
        self._changes = changes
        self._render = render
        self._render_inputs = render_inputs
        self._windows: dict[str, _Window] = {}  # by the window's name
        self._expiries: list[tuple[datetime, str]] = []  # stale ones stay until they are due
        self._off: dict[str, dict[str, int]] = {}  # flow -> trigger -> the revision that was switched off
        self._plans: dict[str, tuple[int, list[_Plan]]] = {}

    # State.

    def restore(self, flow: str, kind: str, identifier: str, value: bytes) -> None:
        """Take in a piece of state.  Raises one of UNREADABLE."""
        if kind == OFF:
            self._off.setdefault(flow, {})[identifier] = msgspec.json.decode(value, type=int)
        elif kind == USED:
            used = _USED_DECODER.decode(value)
            self._window(flow, identifier, used.expires).used = list(used.by)
        else:
            met = _MET_DECODER.decode(value)
            name, _, part = identifier.partition(".")
            self._window(flow, name, met.expires).met[part] = met

    def fire(self, now: datetime, maximum: int) -> None:
        """Forget at most `maximum` windows that are over."""
        for _ in range(maximum):
            if not self._expiries or self._expiries[0][0] > now:
                return
            _, name = heapq.heappop(self._expiries)
            window = self._windows.get(name)
            if window is None:
                continue
            if window.expires > now:
                heapq.heappush(self._expiries, (window.expires, name))
                continue
            for part in window.met:
                self._changes[f"{window.flow}/{MET}/{name}.{part}"] = None
            if window.used:
                self._changes[f"{window.flow}/{USED}/{name}"] = None
            del self._windows[name]

    def next_due(self) -> datetime | None:
        """When the next window may be over."""
        return self._expiries[0][0] if self._expiries else None

    @property
    def windows(self) -> int:
        """How many windows are kept, for diagnostics."""
        return len(self._windows)

    # Notes.

    def handle(self, key: FlowKey, listening: ListeningFlow, note: NoteExecutionState, now: datetime) -> None:
        """Take in a state that an execution reached."""
        flow = listening.flow
        text = str(key)
        if flow is None or flow.disabled:
            self._plans.pop(text, None)
            return
        own = (note.namespace, note.flow_id) == (key.namespace, key.flow_id)
        for plan in self._planned(text, listening):
            trigger = plan.trigger
            if own:
                # Its own executions never fire it, or one would follow the other for ever.
                if note.trigger_id == trigger.id and note.state in trigger.stop_after:
                    self._switch_off(key, trigger.id, listening.revision)
            elif self._off.get(text, {}).get(trigger.id) != listening.revision:
                self._evaluate(key, listening, plan, note, now)

    def _planned(self, text: str, listening: ListeningFlow) -> list[_Plan]:
        revision, plans = self._plans.get(text, (0, []))
        if revision != listening.revision:
            assert listening.flow is not None
            plans = [
                _Plan(trigger)
                for trigger in listening.flow.triggers
                if isinstance(trigger, FlowTrigger) and not trigger.disabled
            ]
            self._plans[text] = (listening.revision, plans)
            self.review(text, listening)
        return plans

    def review(self, text: str, listening: ListeningFlow) -> None:
        """A flow was saved or deleted: what `stopAfter` switched off in an earlier revision is on again."""
        off = self._off.get(text, {})
        revision = listening.revision if listening.flow is not None else None
        for trigger_id in [each for each, found in off.items() if found != revision]:
            del off[trigger_id]
            self._changes[f"{text}/{OFF}/{trigger_id}"] = None
        if not off:
            self._off.pop(text, None)
        if listening.flow is None:
            self._plans.pop(text, None)

    def _switch_off(self, key: FlowKey, trigger_id: str, revision: int) -> None:
        self._off.setdefault(str(key), {})[trigger_id] = revision
        self._changes[f"{key}/{OFF}/{trigger_id}"] = b"%d" % revision

    def _evaluate(
        self, key: FlowKey, listening: ListeningFlow, plan: _Plan, note: NoteExecutionState, now: datetime
    ) -> None:
        if note.state not in plan.states or not plan.labels <= set(note.labels):
            return
        variables = _variables(key, listening.revision, note)
        context = _Context(note, self._render, variables)
        try:
            if not all(condition.holds(context) for condition in plan.conditions):
                return
            met = [gate.met_by(context) for gate in plan.gates]
        except Exception as error:
            # Conditions come from plugins too; whatever goes wrong in one concerns this trigger only.
            self._fail(key, listening, plan, note, variables, _reason(error), now)
            return
        passed = self._pass(key, plan, note, met)
        if passed is None:
            return
        if passed:
            variables["trigger"] = {**variables["trigger"], "outputs": passed}
        if note.chain >= LONGEST_CHAIN:
            self._log(
                key,
                plan,
                Level.ERROR,
                f"No execution is started for {note.execution_id} of {note.namespace}.{note.flow_id}: "
                f"{LONGEST_CHAIN} Flow triggers led to it, one after the other, which looks like a circle.",
                now,
            )
            return
        self._start(key, listening, plan, note, variables, now)

    def _pass(
        self, key: FlowKey, plan: _Plan, note: NoteExecutionState, met_now: Sequence[Sequence[str]]
    ) -> dict[str, Any] | None:
        """Note what the execution meets, of each gate; None unless everything is met now, else the outputs of all
        that met it.
        """
        counts = not plan.gates
        complete: list[tuple[_Gate, str, _Window]] = []
        all_met = True
        outputs: dict[str, Any] = {}
        for gate, names in zip(plan.gates, met_now, strict=True):
            if len(gate.parts) == 1 and len(plan.gates) == 1:
                span = gate.window.span(note.at) if names else None
                return None if span is None else dict(note.outputs)
            counted, name, window = self._meet(key, gate, names, note)
            counts = counts or counted
            if window is None or not gate.parts.keys() <= window.met.keys():
                all_met = False
            else:
                complete.append((gate, name, window))
        if not counts or not all_met:
            return None
        met = [window.met[part] for gate, _, window in complete for part in gate.parts]
        for each in sorted(met, key=lambda one: (one.at, one.by)):
            outputs.update(each.outputs)
        for gate, name, window in complete:
            self._use_up(key, gate, name, window, note)
        outputs.update(note.outputs)
        return outputs

    def _meet(
        self, key: FlowKey, gate: _Gate, parts: Sequence[str], note: NoteExecutionState
    ) -> tuple[bool, str, _Window | None]:
        """Keep what the execution meets.  Gives whether it counts, and the window."""
        span = gate.window.span(note.at)
        if span is None:
            return False, "", None
        start = "" if gate.window.slides else span.start.isoformat()
        name = derived_identifier("window", str(key), *gate.names, start)
        window = self._windows.get(name)
        by = _by(note)
        if window is not None and gate.window.slides:
            newest = max((note.at, *(met.at for met in window.met.values())))
            self._slide(key, name, window, newest - gate.window.length)
            if note.at < newest - gate.window.length:
                return False, name, window
        if not parts or (window is not None and by in window.used):
            return False, name, window
        expires = (note.at + gate.window.length if gate.window.slides else span.end) + _LATE
        window = self._window(str(key), name, expires)
        for part in parts:
            before = window.met.get(part)
            if before is None or (before.at, before.by) < (note.at, by):
                met = window.met[part] = _Met(expires=expires, at=note.at, by=by, outputs=note.outputs)
                self._changes[f"{key}/{MET}/{name}.{part}"] = encode(met)
        return True, name, window

    def _slide(self, key: FlowKey, name: str, window: _Window, begins: datetime) -> None:
        """Forget what lies before the beginning of a sliding window."""
        for part in [part for part, met in window.met.items() if met.at < begins]:
            del window.met[part]
            self._changes[f"{key}/{MET}/{name}.{part}"] = None

    def _use_up(
        self, key: FlowKey, gate: _Gate, name: str, window: _Window, note: NoteExecutionState
    ) -> None:
        """It fires: what was met counts no more, unless it is to be kept; the same note never counts again."""
        used = {_by(note)}
        if gate.resets:
            used |= {met.by for met in window.met.values()}
            for part in window.met:
                self._changes[f"{key}/{MET}/{name}.{part}"] = None
            window.met.clear()
        window.used = [*window.used, *sorted(used - set(window.used))][-_REMEMBERED:]
        piece = _Used(expires=window.expires, by=window.used)
        self._changes[f"{key}/{USED}/{name}"] = encode(piece)

    def _window(self, flow: str, name: str, expires: datetime) -> _Window:
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = _Window(flow, expires)
            heapq.heappush(self._expiries, (expires, name))
        window.expires = max(window.expires, expires)
        return window

    # What follows.

    def _start(
        self,
        key: FlowKey,
        listening: ListeningFlow,
        plan: _Plan,
        note: NoteExecutionState,
        variables: dict[str, Any],
        now: datetime,
    ) -> None:
        trigger = plan.trigger
        try:
            inputs: dict[str, Any] = {}
            if trigger.inputs:
                inputs = self._render_inputs(dict(trigger.inputs), variables)
            labels = [self._label(label, variables) for label in trigger.labels]
            creation = self._creation(
                key, listening, plan, note, variables, now, inputs=inputs, labels=labels
            )
            if len(creation) > _MESSAGE_LIMIT_BYTES:
                raise ValueError(
                    f"the outputs and inputs of the execution are too large: {len(creation):,} bytes"
                )
        except Exception as error:
            # Templates are other people's.
            self._fail(key, listening, plan, note, variables, _reason(error), now)
            return
        if note.outputs_bytes:
            self._log(
                key,
                plan,
                Level.WARN,
                f"The outputs of execution {note.execution_id} are {note.outputs_bytes:,} bytes, more than the "
                f"{DEFAULT_LIMIT_BYTES:,} that a Flow trigger carries: `trigger.outputs` is left out. "
                "Store them in a file, and give its URI as the output.",
                now,
            )
        self._create(key, trigger.id, note, creation)

    def _label(self, label: Label, variables: Mapping[str, Any]) -> Label:
        if "{{" not in label.value:
            return label
        value = self._render_inputs(label.value, variables)
        if has_encrypted(value):
            raise ValueError(f"the label `{label.key}` shows a secret, which everybody could read there")
        return Label(key=label.key, value=str(value))

    def _fail(
        self,
        key: FlowKey,
        listening: ListeningFlow,
        plan: _Plan,
        note: NoteExecutionState,
        variables: dict[str, Any],
        reason: str,
        now: datetime,
    ) -> None:
        """It could not be evaluated: a log line, and a FAILED execution where that is asked for (TRG-08)."""
        error = (
            f"The trigger cannot be evaluated for execution {note.execution_id} of "
            f"{note.namespace}.{note.flow_id}: {reason}"
        )
        if note.outputs_bytes:
            error += f" (its outputs of {note.outputs_bytes:,} bytes are too large for a Flow trigger)"
        self._log(key, plan, Level.ERROR, error, now)
        if plan.trigger.fail_on_trigger_error and note.chain < LONGEST_CHAIN:
            told = {name: value for name, value in variables["trigger"].items() if name != "outputs"}
            creation = self._creation(
                key, listening, plan, note, {"trigger": told}, now, error=error, labels=[]
            )
            self._create(key, plan.trigger.id, note, creation)

    def _creation(
        self,
        key: FlowKey,
        listening: ListeningFlow,
        plan: _Plan,
        note: NoteExecutionState,
        variables: Mapping[str, Any],
        now: datetime,
        *,
        labels: Sequence[Label],
        inputs: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> bytes:
        correlation = [label for label in note.labels if label.key == _CORRELATION]
        own = [label for label in labels if label.key != _CORRELATION]
        command = CreateExecution(
            at=now,
            by=plan.trigger.id,
            namespace=key.namespace,
            flow_id=key.flow_id,
            flow_revision=listening.revision,
            inputs=inputs or {},
            labels=[*own, _FROM, *correlation],
            trigger=TriggerInfo(
                id=plan.trigger.id,
                type=plan.trigger.type,
                variables=dict(variables["trigger"]),
                chain=note.chain + 1,
            ),
            error=error,
        )
        return encode(command)

    def _create(self, key: FlowKey, trigger_id: str, note: NoteExecutionState, creation: bytes) -> None:
        execution_id = execution_id_of(TriggerKey(*key, trigger_id), note.execution_id, note.number)
        self._messages.append(
            Message(
                topic="execution_commands", key=str(ExecutionKey(key.tenant, execution_id)), value=creation
            )
        )

    def _log(self, key: FlowKey, plan: _Plan, level: Level, message: str, now: datetime) -> None:
        entry = LogEntry(
            tenant_id=key.tenant,
            namespace=key.namespace,
            flow_id=key.flow_id,
            trigger_id=plan.trigger.id,
            timestamp=now,
            level=level,
            message=message,
        )
        trigger = TriggerKey(*key, plan.trigger.id)
        self._messages.append(Message(topic="logs", key=str(trigger), value=encode(entry)))


Flows = Callable[[FlowKey], ListeningFlow | None]
"""The latest revision of a flow; None for a flow that is not known here."""

_MET_DECODER = msgspec.json.Decoder(_Met)
_USED_DECODER = msgspec.json.Decoder(_Used)


def execution_id_of(key: TriggerKey, execution_id: str, number: int) -> str:
    """The id of the execution that a trigger starts when another reaches a state with its event `number`."""
    return derived_identifier("flow-trigger", *key, execution_id, str(number))


def _variables(key: FlowKey, revision: int, note: NoteExecutionState) -> dict[str, Any]:
    """What templates see (FTR-06)."""
    trigger: dict[str, Any] = {
        "executionId": note.execution_id,
        "namespace": note.namespace,
        "flowId": note.flow_id,
        "flowRevision": note.flow_revision,
        "state": note.state.value,
    }
    if not note.outputs_bytes:
        trigger["outputs"] = note.outputs
    return {
        "trigger": trigger,
        "flow": {"id": key.flow_id, "namespace": key.namespace, "revision": revision, "tenantId": key.tenant},
        "execution": {"id": note.execution_id, "state": note.state.value},
        "labels": nested_labels(note.labels),
    }


def _by(note: NoteExecutionState) -> str:
    return f"{note.execution_id}:{note.number}"


def _digest(part: Part) -> str:
    return derived_identifier("part", part.model_dump_json(by_alias=True))


def _reason(error: Exception) -> str:
    """What people are told: the message of an error that was raised on purpose, and the kind of any other."""
    if isinstance(error, FlowtideError | ValueError):
        return str(error)
    return f"{type(error).__name__}: {error}"
