"""Flow triggers: notes of executions upstream in, executions of the listening flow out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtide.expressions import Scope, render_value
from flowtide.log.keys import FlowKey, TriggerKey
from flowtide.log.port import Record
from flowtide.model.commands import COMMAND_DECODER, CreateExecution
from flowtide.model.entries import LOG_DECODER, LogEntry
from flowtide.model.flow import Flow
from flowtide.model.flow_commands import NoteExecutionState, ReviewSlots
from flowtide.model.records import Label, encode
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.processors.flow_triggers import LONGEST_CHAIN, ListeningFlow, execution_id_of
from flowtide.processors.flows import FlowsPartition
from flowtide.processors.runtime import NotYet
from flowtide.processors.slots import FlowLimit
from flowtide.services.plugins import discover_plugins

REGISTRY = discover_plugins()
MIDNIGHT = datetime(2026, 3, 4, tzinfo=UTC)  # a Wednesday
KEY = FlowKey("main", "company.team", "b")
CONDITION = "io.kestra.plugin.core.condition"


def flow(trigger: str, head: str = "") -> Flow:
    """A flow with one Flow trigger, whose properties are given as YAML."""
    lines = "\n".join(f"    {line}" for line in trigger.strip("\n").splitlines())
    source = f"""
id: b
namespace: company.team
{head}
tasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hello}}]
triggers:
  - id: up
    type: io.kestra.plugin.core.trigger.Flow
{lines}
"""
    return parse_flow(source, REGISTRY).valid()


def render(value: Any, variables: Mapping[str, Any]) -> Any:
    """Render with what is handed in."""
    return render_value(value, Scope(variables, now=lambda: MIDNIGHT), typed=True)


class Bench:
    """One partition, committed after each command."""

    def __init__(self, trigger: str, head: str = "") -> None:
        self.listening = ListeningFlow(1, flow(trigger, head))
        self.state: dict[str, bytes] = {}
        self.created: dict[str, CreateExecution] = {}
        self.lines: list[LogEntry] = []
        self.restart()

    def restart(self) -> None:
        self.partition = FlowsPartition(
            0,
            self.state,
            lookup=lambda key: FlowLimit(updated=MIDNIGHT),
            flows=lambda key: self.listening,
            render=render,
        )

    def save(self, trigger: str, head: str = "") -> None:
        """Save a new revision."""
        self.listening = ListeningFlow(self.listening.revision + 1, flow(trigger, head))
        self._send(ReviewSlots(at=MIDNIGHT), certain=True)

    def note(
        self,
        flow_id: str = "a",
        execution: str = "e1",
        state: State = State.SUCCESS,
        *,
        at: datetime | timedelta = MIDNIGHT,
        **more: Any,
    ) -> list[str]:
        """An execution of `flow_id` reached a state; gives the ids of the executions that this created."""
        command = NoteExecutionState(
            execution_id=execution,
            namespace=more.pop("namespace", "company.team"),
            flow_id=flow_id,
            flow_revision=7,
            state=state,
            at=MIDNIGHT + at if isinstance(at, timedelta) else at,
            **{"number": 9, "listener_revision": 1, **more},
        )
        return self._send(command)

    def forget(self, now: datetime) -> None:
        """Let the windows that are over go."""
        self.partition.fire(now, 100)
        self._commit()

    def _send(self, command: Any, *, certain: bool = False) -> list[str]:
        record = Record(
            topic="flow_commands", partition=0, offset=0, key=str(KEY), value=encode(command), timestamp_ms=0
        )
        self.partition.handle(record, MIDNIGHT, certain=certain)
        return self._commit()

    def _commit(self) -> list[str]:
        messages, changes = self.partition.flush()
        for change in changes:
            if change.value is None:
                self.state.pop(change.key, None)
            else:
                self.state[change.key] = change.value
        fired = []
        for message in messages:
            if message.topic == "logs":
                self.lines.append(LOG_DECODER.decode(message.value or b""))
                continue
            assert message.topic == "execution_commands"
            command = COMMAND_DECODER.decode(message.value or b"")
            assert isinstance(command, CreateExecution)
            execution_id = message.key.removeprefix("main/")
            fired.append(execution_id)
            self.created[execution_id] = command
        return fired


BOTH = """
preconditions:
  id: both
  flows:
    - {namespace: company.team, flowId: a1, states: [SUCCESS]}
    - {namespace: company.team, flowId: a2, states: [SUCCESS]}
"""


def within(window: str, *more: str) -> str:
    """Two preconditions within a window of time."""
    return "\n".join([BOTH, f"  timeWindow: {window}", *more])


def test_an_execution_upstream_starts_one_with_its_outputs() -> None:
    """FTR-01, FTR-06: the variables of the trigger, rendered inputs, labels and the correlation of the chain."""
    bench = Bench(
        """
inputs: {value: "{{ trigger.outputs.value }}", state: "{{ trigger.state }}"}
preconditions: {id: p, flows: [{namespace: company.team, flowId: a, states: [SUCCESS]}]}
"""
    )
    correlation = Label(key="system.correlationId", value="first")
    (created,) = bench.note(outputs={"value": {"n": 1}}, labels=[correlation])
    assert created == execution_id_of(TriggerKey(*KEY, "up"), "e1", 9)
    command = bench.created[created]
    assert (command.namespace, command.flow_id, command.flow_revision) == ("company.team", "b", 1)
    assert command.inputs == {"value": {"n": 1}, "state": "SUCCESS"}
    assert command.labels == [Label(key="system.from", value="trigger"), correlation]
    assert command.trigger is not None
    assert (command.trigger.id, command.trigger.chain) == ("up", 1)
    assert command.trigger.variables == {
        "executionId": "e1",
        "namespace": "company.team",
        "flowId": "a",
        "flowRevision": 7,
        "state": "SUCCESS",
        "outputs": {"value": {"n": 1}},
    }
    assert bench.state == {}


def test_a_note_that_comes_twice_names_the_same_execution() -> None:
    """The id is derived, so the second command finds the execution there; another state is another execution."""
    bench = Bench("conditions: []")
    assert bench.note() == bench.note()
    assert bench.note(number=10) != bench.note(number=9)


@pytest.mark.parametrize(
    ("state", "fires"),
    [
        (State.SUCCESS, True),
        (State.WARNING, True),
        (State.FAILED, True),
        (State.KILLED, True),
        (State.CANCELLED, True),
        (State.RETRIED, True),
        (State.PAUSED, True),
        (State.RUNNING, False),
        (State.RESTARTED, False),
    ],
)
def test_by_default_it_reacts_to_final_states_and_pauses(state: State, fires: bool) -> None:
    """FTR-01, trap 38: the states of a trigger that names none."""
    bench = Bench("preconditions: {id: p, flows: [{namespace: company.team}]}")
    assert bool(bench.note(state=state)) is fires


def test_states_of_the_trigger_and_of_an_upstream_flow_both_count() -> None:
    """FTR-07: either place works; both together must hold."""
    named = "preconditions: {id: p, flows: [{namespace: company.team, flowId: a, states: [RUNNING]}]}"
    assert Bench(named).note(state=State.RUNNING)
    assert not Bench(named).note(state=State.SUCCESS)
    both = Bench(f"states: [FAILED]\n{named}")
    assert not both.note(state=State.RUNNING)
    assert not both.note(state=State.FAILED)


@pytest.mark.parametrize(
    ("where", "fires"),
    [
        ("{field: NAMESPACE, type: STARTS_WITH, value: company}", True),
        ("{field: NAMESPACE, type: ENDS_WITH, value: team}", True),
        ("{field: NAMESPACE, type: EQUAL_TO, value: company}", False),
        ("{field: NAMESPACE, type: NOT_EQUAL_TO, value: company}", True),
        ("{field: FLOW_ID, type: IN, values: [a, c]}", True),
        ("{field: FLOW_ID, type: NOT_IN, values: [a, c]}", False),
        ("{field: FLOW_ID, type: CONTAINS, value: a}", True),
        ("{field: FLOW_ID, type: REGEX, value: '[a-c]'}", True),
        ("{field: FLOW_ID, type: REGEX, value: '[b-c]+'}", False),
        ("{field: STATE, type: EQUAL_TO, value: SUCCESS}", True),
        ("{field: STATE, type: IS_NULL}", False),
        ("{field: STATE, type: IS_NOT_NULL}", True),
        ("{field: EXPRESSION, type: IS_TRUE, value: '{{ trigger.outputs.n > 1 }}'}", True),
        ("{field: EXPRESSION, type: IS_FALSE, value: '{{ trigger.outputs.n > 1 }}'}", False),
        ("{field: EXPRESSION, type: IS_NULL, value: '{{ trigger.outputs.x ?? null }}'}", True),
        ("{field: EXPRESSION, type: IN, value: '{{ trigger.outputs.n }}', values: [2]}", True),
    ],
)
def test_filters_compare_with_the_execution(where: str, fires: bool) -> None:
    """FTR-03: every field and every comparison."""
    bench = Bench(f"preconditions: {{id: p, where: [{{id: w, filters: [{where}]}}]}}")
    assert bool(bench.note(outputs={"n": 2})) is fires
    assert bench.lines == []


def test_filters_of_a_group_are_all_met_or_one_of_them() -> None:
    """FTR-03 `operand`: AND by default, OR where it says so."""
    filters = "[{field: FLOW_ID, type: EQUAL_TO, value: a}, {field: STATE, type: EQUAL_TO, value: FAILED}]"
    assert not Bench(f"preconditions: {{id: p, where: [{{id: w, filters: {filters}}}]}}").note()
    assert Bench(f"preconditions: {{id: p, where: [{{id: w, operand: OR, filters: {filters}}}]}}").note()


def test_several_preconditions_wait_for_each_other_and_begin_anew() -> None:
    """F13, FTR-02: all must be met; after it fired, one alone does not fire again.  A restart forgets nothing."""
    bench = Bench(BOTH)
    assert bench.note("a1", "x1", outputs={"one": 1}) == []
    bench.restart()
    (created,) = bench.note("a2", "x2", outputs={"two": 2})
    trigger = bench.created[created].trigger
    assert trigger is not None
    assert trigger.variables["executionId"] == "x2"
    assert trigger.variables["outputs"] == {"one": 1, "two": 2}
    bench.restart()
    assert bench.note("a1", "x3") == []
    assert len(bench.note("a2", "x4")) == 1


def test_executions_that_were_used_up_do_not_count_again() -> None:
    """A note that comes twice, also after it fired, changes nothing."""
    bench = Bench(BOTH)
    bench.note("a1", "x1")
    bench.note("a2", "x2")
    assert bench.note("a1", "x1") == []
    bench.restart()
    assert bench.note("a2", "x2") == []
    assert bench.note("a1", "x3") == []
    assert len(bench.note("a2", "x4")) == 1


def test_what_was_met_stays_where_nothing_is_reset() -> None:
    """FTR-02 `resetOnSuccess: false`: within the window each that is met again fires again."""
    bench = Bench(BOTH + "  resetOnSuccess: false")
    bench.note("a1", "x1")
    assert len(bench.note("a2", "x2")) == 1
    assert len(bench.note("a2", "x3")) == 1
    assert len(bench.note("a1", "x4")) == 1
    assert bench.note("a3", "x5") == []
    assert bench.note("a1", "x4") == []
    assert bench.note("a1", "x6", at=timedelta(days=1)) == []


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


@pytest.mark.parametrize(
    ("window", "first", "second", "fires"),
    [
        ("{type: DURATION_WINDOW}", hours(0), hours(23.9), True),
        ("{type: DURATION_WINDOW}", hours(23.9), hours(24), False),
        ("{windowAdvance: PT6H}", hours(5), hours(7), False),
        ("{windowAdvance: PT6H}", hours(7), hours(29), True),
        ("{window: PT6H, windowAdvance: PT6H}", hours(6), hours(11.9), True),
        ("{window: PT6H, windowAdvance: PT6H}", hours(11.9), hours(12), False),
        ("{window: P7D}", hours(-48), hours(119), True),
        ("{window: P7D}", hours(-48), hours(120), False),
        ("{type: SLIDING_WINDOW, window: PT1H}", hours(11.5), hours(12.5), True),
        ("{type: SLIDING_WINDOW, window: PT1H}", hours(11.5), hours(12.6), False),
        ("{type: SLIDING_WINDOW}", hours(12), hours(36), True),
        ("{type: DAILY_TIME_DEADLINE, deadline: '09:00:00.00Z'}", hours(0), hours(8.9), True),
        ("{type: DAILY_TIME_DEADLINE, deadline: '09:00:00Z'}", hours(1), hours(9), False),
        ("{type: DAILY_TIME_DEADLINE, deadline: '09:00:00Z'}", hours(-1), hours(1), False),
        ("{type: DAILY_TIME_DEADLINE, deadline: '09:00:00+01:00'}", hours(-1), hours(7.9), True),
        ("{type: DAILY_TIME_DEADLINE, deadline: '09:00:00+01:00'}", hours(1), hours(8), False),
        ("{type: DAILY_TIME_WINDOW, startTime: '06:00:00', endTime: '12:00:00'}", hours(6), hours(11), True),
        ("{type: DAILY_TIME_WINDOW, startTime: '06:00:00', endTime: '12:00:00'}", hours(5), hours(11), False),
        ("{type: DAILY_TIME_WINDOW, startTime: '06:00:00', endTime: '12:00:00'}", hours(7), hours(12), False),
        ("{type: DAILY_TIME_WINDOW, startTime: '22:00:00', endTime: '06:00:00'}", hours(23), hours(29), True),
        ("{type: DAILY_TIME_WINDOW, startTime: '22:00:00', endTime: '06:00:00'}", hours(5), hours(23), False),
    ],
)
def test_windows_of_time_bound_what_belongs_together(
    window: str, first: timedelta, second: timedelta, fires: bool
) -> None:
    """FTR-04, FTR-05: every type of window, at its edges."""
    bench = Bench(within(window))
    assert bench.note("a1", "x1", at=first) == []
    assert bool(bench.note("a2", "x2", at=second)) is fires


def test_a_single_precondition_counts_only_within_its_window() -> None:
    """FTR-05: after the deadline nothing fires on that day, and nothing is kept."""
    bench = Bench(
        """
preconditions:
  id: p
  timeWindow: {type: DAILY_TIME_DEADLINE, deadline: "09:00:00Z"}
  flows: [{namespace: company.team, flowId: a}]
"""
    )
    assert bench.note(at=hours(8.99))
    assert bench.note(at=hours(9)) == []
    assert bench.note(at=hours(24))
    assert bench.state == {}


@pytest.mark.parametrize(
    "window",
    ["{}", "{type: SLIDING_WINDOW}", "{type: DAILY_TIME_WINDOW, startTime: '00:00:00', endTime: '23:00:00'}"],
)
def test_windows_that_are_over_leave_nothing(window: str) -> None:
    """What was met and what was used up goes when the window is over, also after a restart."""
    bench = Bench(within(window))
    bench.note("a1", "x1")
    bench.note("a2", "x2")
    bench.note("a1", "x3", at=hours(5))
    assert len(bench.state) == 2
    bench.restart()
    due = bench.partition.next_due()
    assert due is not None
    bench.forget(due - timedelta(seconds=1))
    assert len(bench.state) == 2
    bench.forget(MIDNIGHT + timedelta(days=2))
    assert bench.state == {}
    assert bench.partition.next_due() is None


MULTIPLE = f"""
conditions:
  - {{type: {CONDITION}.ExecutionStatus, in: [SUCCESS]}}
  - id: multiple
    type: {CONDITION}.MultipleCondition
    window: P1D
    windowAdvance: P0D
    conditions:
      flow_a: {{type: {CONDITION}.ExecutionFlow, namespace: company.team, flowId: a1}}
      flow_b: {{type: {CONDITION}.ExecutionFlow, namespace: company.team, flowId: a2}}
"""


def test_a_multiple_condition_is_met_by_several_executions() -> None:
    """CND-16, page 185: as preconditions, and only where the other conditions hold."""
    bench = Bench(MULTIPLE)
    assert bench.note("a1", "x1", State.FAILED) == []
    assert bench.note("a2", "x2") == []
    assert len(bench.note("a1", "x3")) == 1
    assert bench.note("a1", "x4", at=hours(1)) == []
    assert bench.note("a2", "x5", at=hours(25)) == []


def test_two_windows_of_one_trigger_must_both_be_complete() -> None:
    """Preconditions and a MultipleCondition in one trigger are met together, and both begin anew."""
    bench = Bench(MULTIPLE + "preconditions: {id: p, flows: [{namespace: company.team, flowId: a3}]}")
    assert bench.note("a3", "x0") == []
    assert bench.note("a1", "x1") == []
    assert len(bench.note("a2", "x2")) == 1
    assert bench.note("a1", "x3") == []
    assert bench.note("a2", "x4") == []
    assert len(bench.note("a3", "x5")) == 1


def test_what_was_met_for_a_former_definition_does_not_complete_another() -> None:
    """A saved flow with other preconditions under the same name waits for those that it has now."""
    bench = Bench(BOTH)
    bench.note("a1", "x1")
    bench.save(BOTH.replace("a1", "a3"))
    assert bench.note("a2", "x2") == []
    assert bench.lines == []
    assert len(bench.note("a3", "x3")) == 1


def test_a_condition_that_fails_keeps_nothing_of_the_others() -> None:
    """What one window would keep is not kept when another one cannot be decided."""
    where = "{id: w, filters: [{field: EXPRESSION, type: IS_TRUE, value: '{{ trigger.outputs.n > 1 }}'}]}"
    bench = Bench(MULTIPLE + f"preconditions: {{id: p, where: [{where}]}}")
    assert bench.note("a1", "x1") == []
    assert len(bench.lines) == 1
    assert bench.state == {}


def test_a_flow_never_fires_on_its_own_executions() -> None:
    """A trigger on a whole namespace would else start its flow for ever."""
    bench = Bench("preconditions: {id: p, flows: [{namespace: company.team}]}")
    assert bench.note("b") == []
    assert bench.note("a")


def test_a_long_chain_of_flow_triggers_ends_with_a_line() -> None:
    """Flows that trigger one another in a circle stop, and the log says why."""
    bench = Bench("conditions: []")
    assert bench.note(chain=LONGEST_CHAIN - 1)
    assert bench.note(chain=LONGEST_CHAIN) == []
    assert "circle" in bench.lines[-1].message


def test_labels_select_and_are_given_on() -> None:
    """FTR-08, SLA-06, page 472: only executions that carry them; those with a template are only given on."""
    bench = Bench('labels: {sla: miss, from: "{{ trigger.flowId }}"}')
    miss = Label(key="sla", value="miss")
    assert bench.note() == []
    (created,) = bench.note(labels=[miss, Label(key="other", value="x")])
    assert bench.created[created].labels[:2] == [miss, Label(key="from", value="a")]


def test_labels_of_an_upstream_flow_must_be_on_the_execution() -> None:
    """FTR-02 `flows[].labels`."""
    bench = Bench("preconditions: {id: p, flows: [{namespace: company.team, labels: {team: data}}]}")
    assert bench.note() == []
    assert bench.note(labels=[Label(key="team", value="data")])


def test_a_condition_that_cannot_be_evaluated_starts_nothing_and_is_told() -> None:
    """TRG-08: no execution, a line in the trigger's log, and the next note is taken in."""
    bench = Bench(
        f"conditions: [{{type: {CONDITION}.Expression, expression: '{{{{ trigger.outputs.n > 1 }}}}'}}]"
    )
    assert bench.note() == []
    (line,) = bench.lines
    assert (line.trigger_id, line.flow_id, line.execution_id) == ("up", "b", None)
    assert line.level == "ERROR"
    assert bench.note(outputs={"n": 2})


def test_a_failed_execution_tells_of_the_error_where_that_is_asked_for() -> None:
    """TRG-08 `failOnTriggerError`: for conditions and for inputs."""
    for trigger in (
        f"conditions: [{{type: {CONDITION}.Expression, expression: '{{{{ nowhere.x }}}}'}}]",
        "inputs: {a: '{{ trigger.outputs.nothing }}'}",
    ):
        assert Bench(trigger).note() == []
        bench = Bench(f"{trigger}\nfailOnTriggerError: true")
        (created,) = bench.note()
        assert bench.created[created].error is not None
        assert "e1" in str(bench.created[created].error)


def test_outputs_that_are_too_large_are_missed_visibly() -> None:
    """The note left them out: who names them gets an error that says so, who does not gets a warning."""
    bench = Bench("inputs: {a: '{{ trigger.outputs.big }}'}")
    assert bench.note(outputs_bytes=300_000) == []
    assert "300,000 bytes" in bench.lines[-1].message
    asking = Bench(
        f"conditions: [{{type: {CONDITION}.ExecutionOutputs, expression: '{{{{ trigger.outputs.n }}}}'}}]"
    )
    assert asking.note(outputs_bytes=300_000) == []
    assert "300,000 bytes" in asking.lines[-1].message
    plain = Bench("conditions: []")
    (created,) = plain.note(outputs_bytes=300_000)
    trigger = plain.created[created].trigger
    assert trigger is not None
    assert "outputs" not in trigger.variables
    assert plain.lines[-1].level == "WARN"


def test_an_execution_that_would_be_too_large_is_refused_with_a_line() -> None:
    """What no broker takes never leaves; the trigger's log says why."""
    bench = Bench(
        "inputs: {a: '{{ trigger.outputs.x ~ trigger.outputs.x ~ trigger.outputs.x ~ trigger.outputs.x }}'}"
    )
    assert bench.note(outputs={"x": "x" * 240_000}) == []
    assert "too large" in bench.lines[-1].message


def test_stop_after_switches_the_trigger_off_until_the_flow_is_saved() -> None:
    """TRG-07: an execution that it started ended so; nothing enables it again but a new revision."""
    trigger = "stopAfter: [FAILED]"
    bench = Bench(trigger)
    bench.note("b", "own", State.FAILED, trigger_id="other")
    bench.note("b", "own", State.SUCCESS, trigger_id="up")
    assert bench.note()
    bench.note("b", "own", State.FAILED, trigger_id="up")
    assert bench.note() == []
    bench.restart()
    assert bench.note() == []
    bench.save(trigger)
    assert bench.note()
    assert bench.state == {}


def test_disabled_triggers_and_flows_do_not_fire() -> None:
    """TRG-12, also when the note was sent before."""
    assert Bench("disabled: true").note() == []
    assert Bench("conditions: []", head="disabled: true").note() == []
    bench = Bench("conditions: []")
    bench.listening = ListeningFlow(2, None)
    assert bench.note() == []


def test_a_revision_that_is_not_known_yet_is_waited_for() -> None:
    """The server that noted the execution knew a newer revision than this one."""
    bench = Bench("conditions: []")
    with pytest.raises(NotYet):
        bench.note(listener_revision=2)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a1", "a2", "a3"]),
        st.integers(
            min_value=0, max_value=4 * 24 * 60
        ),  # minutes after the one before, at most over the days
        st.booleans(),  # whether the server starts again afterwards
    ),
    max_size=25,
)


@given(steps=STEPS, window_hours=st.sampled_from([1, 6, 24]), slides=st.booleans(), resets=st.booleans())
def test_windows_do_what_a_simple_model_does(
    steps: list[tuple[str, int, bool]], window_hours: int, slides: bool, resets: bool
) -> None:
    """Any order of executions, with restarts and forgetting between them, fires when the model says so."""
    window = f"{{type: {'SLIDING' if slides else 'DURATION'}_WINDOW, window: PT{window_hours}H}}"
    bench = Bench(within(window, f"  resetOnSuccess: {str(resets).lower()}"))
    met: dict[str, int] = {}  # flow -> the minute at which it last counted
    minute = 0
    for number, (flow_id, gap, restart) in enumerate(steps):
        minute += gap % (window_hours * 90)
        length = window_hours * 60
        met = {
            name: when
            for name, when in met.items()
            if (minute - when <= length if slides else minute // length == when // length)
        }
        if flow_id != "a3":
            met[flow_id] = minute
        expected = flow_id != "a3" and len(met) == 2
        if expected and resets:
            met.clear()
        at = MIDNIGHT + timedelta(minutes=minute)
        assert bool(bench.note(flow_id, f"x{number}", at=at)) is expected, (number, flow_id, minute)
        bench.forget(at)
        if restart:
            bench.restart()
    bench.forget(MIDNIGHT + timedelta(minutes=minute, days=3))
    assert bench.state == {}
