"""What flows that listen are told of executions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowtide.log.port import Message
from flowtide.model.flow_commands import FLOW_COMMAND_DECODER, NoteExecutionState
from flowtide.model.records import Label, ParentRun, TriggerInfo
from flowtide.model.states import State
from flowtide.processors.executions import ExecutionsPartition
from flowtide.processors.notes import Listener
from tests.unit.processors.test_executions import Box, plan_of

ENDS = """
id: ends
namespace: test
labels: {team: data}
tasks: [{id: only, type: Say, retry: {type: constant, interval: PT1M, maxAttempts: 2}}]
afterExecution: [{id: after, type: Say}]
outputs: [{id: size, type: STRING, value: "{{ inputs.text }}"}]
inputs: [{id: text, type: STRING, defaults: small}]
"""


class Noted(Box):
    """A partition whose executions two flows listen to, in the states that are asked for."""

    def __init__(self, *states: State) -> None:
        self.states = states
        self.asked: list[tuple[str, str, str]] = []
        super().__init__()
        self.plans["ends"] = plan_of(ENDS)

    def open(self) -> None:
        self.partition = ExecutionsPartition(
            0, self.state, lambda _, __, flow_id, ___: self.plans.get(flow_id), listeners=self.listen
        )

    def listen(self, tenant: str, namespace: str, flow_id: str, state: State) -> list[Listener]:
        self.asked.append((tenant, namespace, flow_id))
        return [Listener("test", "one", 3), Listener("other", "two", 4)] if state in self.states else []

    def notes(self) -> list[tuple[str, NoteExecutionState]]:
        """The keys and the notes."""
        return [
            (message.key, _decoded(message)) for message in self.messages if message.topic == "flow_commands"
        ]

    def run(self, execution_id: str = "e1", state: State = State.SUCCESS, **fields: Any) -> None:
        """Create an execution and end its task."""
        self.create(execution_id, "ends", **fields)
        self.report(execution_id, self.jobs()[-1], state)


def _decoded(message: Message) -> NoteExecutionState:
    command = FLOW_COMMAND_DECODER.decode(message.value or b"")
    assert isinstance(command, NoteExecutionState)
    return command


def test_each_flow_that_listens_is_told_once_of_a_state() -> None:
    """FTR-01: with what its trigger may ask for, under the key of the flow that listens."""
    box = Noted(State.SUCCESS)
    trigger = TriggerInfo(id="up", type="Flow", chain=2)
    box.run(trigger=trigger, labels=[Label(key="system.correlationId", value="c")])
    (first, note), (second, same) = box.notes()
    assert (first, second) == ("main/test/one", "main/other/two")
    assert (note.execution_id, note.namespace, note.flow_id, note.flow_revision) == ("e1", "test", "ends", 1)
    assert (note.state, note.at, note.outputs) == (State.SUCCESS, box.now, {"size": "small"})
    assert {label.key: label.value for label in note.labels} == {"team": "data", "system.correlationId": "c"}
    assert (note.trigger_id, note.chain) == ("up", 2)
    assert (note.listener_revision, same.listener_revision) == (3, 4)
    event = next(event for event in box.events() if type(event).__name__ == "ExecutionEnded")
    assert note.number == event.number
    assert set(box.asked) == {("main", "test", "ends")}


def test_states_on_the_way_are_told_too() -> None:
    """FTR-01 `states`: whatever state somebody listens to."""
    box = Noted(State.CREATED, State.RUNNING, State.PAUSED)
    box.create("e1")
    box.report("e1", box.jobs()[-1])
    box.advance(timedelta(hours=1))
    told = [note.state for key, note in box.notes() if key == "main/test/one"]
    assert told == [State.CREATED, State.RUNNING, State.PAUSED, State.RUNNING]
    numbers = [note.number for key, note in box.notes() if key == "main/test/one"]
    assert sorted(set(numbers)) == numbers


def test_a_failure_after_the_end_is_no_failed_execution() -> None:
    """ERR-08: what `afterExecution` does changes no state, so nobody is told."""
    box = Noted(State.SUCCESS, State.FAILED)
    box.run()
    box.report("e1", box.jobs()[-1], State.FAILED)
    assert box.names()[-1] == "ExecutionClosed"
    assert [note.state for key, note in box.notes() if key == "main/test/one"] == [State.SUCCESS]


@pytest.mark.parametrize("kind", ["TEST", "PLAYGROUND"])
def test_executions_of_tests_and_the_playground_start_nothing(kind: str) -> None:
    """Trying a flow out must not set others going."""
    box = Noted(State.SUCCESS)
    box.run(kind=kind)
    assert box.notes() == []


def test_states_of_retried_attempts_are_told_also_after_a_restore() -> None:
    """CND-15: of task runs that were retried only."""
    box = Noted(State.SUCCESS)
    box.create("e1", "ends")
    box.report("e1", box.jobs()[-1], State.FAILED)
    box.open()
    box.advance(timedelta(minutes=1))
    box.open()
    box.report("e1", box.jobs()[-1])
    assert box.notes()[0][1].retry_states == [State.FAILED, State.SUCCESS]
    box.run("e2")
    assert box.notes()[-1][1].retry_states == []


def test_outputs_that_are_too_large_stay_behind() -> None:
    """The size of a note is bounded; it tells how large they were."""
    box = Noted(State.SUCCESS)
    box.run(inputs={"text": "x" * 300_000})
    note = box.notes()[0][1]
    assert note.outputs == {}
    assert note.outputs_bytes == 300_000 + len('{"size":""}')


def test_the_task_of_a_parent_is_no_trigger() -> None:
    """A subflow's task may have the id of one of the child's triggers; `stopAfter` must not take it for that."""
    box = Noted(State.SUCCESS)
    parent = ParentRun(execution_id="p", run_id="r", namespace="test", flow_id="calls", flow_revision=1)
    box.run(parent=parent, trigger=TriggerInfo(id="up", type="Subflow"))
    assert box.notes()[0][1].trigger_id is None


def test_an_execution_of_a_flow_that_is_not_there_is_told_as_failed() -> None:
    """Whoever is alerted of failures hears of it."""
    box = Noted(State.FAILED)
    box.create("e1", "nowhere")
    assert [(note.flow_id, note.state) for _, note in box.notes()] == [("nowhere", State.FAILED)] * 2
