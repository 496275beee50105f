"""Concurrency slots: who runs, who waits, and who is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowtide.log.keys import FlowKey
from flowtide.log.port import Record, StateChange
from flowtide.model.commands import COMMAND_DECODER, AnswerSlot
from flowtide.model.flow_commands import (
    AcquireSlot,
    FlowCommand,
    NoteExecutionState,
    ReleaseSlot,
    ReviewSlots,
)
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.processors.flows import FlowsPartition
from flowtide.processors.runtime import BadRecord, NotYet
from flowtide.processors.slots import FlowLimit, OverLimit

NOW = datetime(2025, 1, 1, tzinfo=UTC)
KEY = FlowKey("main", "company.team", "busy")


class Bench:
    """One partition, committed after each command; `limit` is the latest revision's."""

    def __init__(self, limit: int | None = 2, behavior: OverLimit = OverLimit.QUEUE) -> None:
        self.limit: FlowLimit | None = FlowLimit(updated=NOW, limit=limit, behavior=behavior)
        self.state: dict[str, bytes] = {}
        self.changes: list[StateChange] = []
        self.restart()

    def restart(self) -> None:
        self.partition = FlowsPartition(0, self.state, lookup=lambda key: self.limit)

    def tell(self, command: FlowCommand, *, certain: bool = False) -> list[tuple[str, str]]:
        """The answers that a command led to: execution and state."""
        record = Record(
            topic="flow_commands", partition=0, offset=0, key=str(KEY), value=encode(command), timestamp_ms=0
        )
        self.partition.handle(record, NOW, certain=certain)
        messages, changes = self.partition.flush()
        self.changes = list(changes)
        for change in changes:
            if change.value is None:
                del self.state[change.key]
            else:
                self.state[change.key] = change.value
        answers = []
        for message in messages:
            assert message.topic == "execution_commands"
            answer = COMMAND_DECODER.decode(message.value or b"")
            assert isinstance(answer, AnswerSlot)
            answers.append((message.key.removeprefix("main/"), answer.state.value))
        return answers

    def acquire(self, execution: str) -> list[tuple[str, str]]:
        return self.tell(AcquireSlot(execution_id=execution, at=NOW))

    def release(self, execution: str) -> list[tuple[str, str]]:
        return self.tell(ReleaseSlot(execution_id=execution, at=NOW))

    def review(self, limit: int | None, behavior: OverLimit = OverLimit.QUEUE) -> list[tuple[str, str]]:
        self.limit = FlowLimit(updated=NOW, limit=limit, behavior=behavior)
        return self.tell(ReviewSlots(at=NOW))


def test_executions_over_the_limit_wait_and_follow_in_order() -> None:
    """CON-02 QUEUE: first come, first served, each as soon as a slot is free."""
    bench = Bench(limit=2)
    assert bench.acquire("a") == [("a", "RUNNING")]
    assert bench.acquire("b") == [("b", "RUNNING")]
    assert bench.acquire("c") == [("c", "QUEUED")]
    assert bench.acquire("d") == [("d", "QUEUED")]
    assert bench.release("b") == [("c", "RUNNING")]
    assert bench.release("a") == [("d", "RUNNING")]
    assert bench.release("c") == []
    assert bench.release("d") == []
    assert bench.state == {}


@pytest.mark.parametrize(("behavior", "state"), [(OverLimit.CANCEL, "CANCELLED"), (OverLimit.FAIL, "FAILED")])
def test_executions_over_the_limit_are_refused_where_that_is_asked_for(
    behavior: OverLimit, state: str
) -> None:
    """CON-02 CANCEL and FAIL: at once, and nothing is kept of them."""
    bench = Bench(limit=1, behavior=behavior)
    bench.acquire("a")
    assert bench.acquire("b") == [("b", state)]
    assert bench.release("b") == []
    assert bench.release("a") == []
    assert bench.acquire("c") == [("c", "RUNNING")]


def test_what_comes_twice_is_answered_as_the_first_time() -> None:
    """A slot is held once, a place in the queue is kept, and a second return frees nobody else's slot."""
    bench = Bench(limit=1)
    bench.acquire("a")
    assert bench.acquire("a") == [("a", "RUNNING")]
    bench.acquire("b")
    bench.acquire("c")
    assert bench.acquire("b") == [("b", "QUEUED")]
    assert bench.release("a") == [("b", "RUNNING")]
    assert bench.release("a") == []


def test_who_waits_no_more_leaves_the_queue() -> None:
    """A killed execution gives its place up."""
    bench = Bench(limit=1)
    bench.acquire("a")
    bench.acquire("b")
    bench.acquire("c")
    assert bench.release("b") == []
    assert bench.release("a") == [("c", "RUNNING")]


def test_slots_and_queues_survive_a_restart() -> None:
    """Who holds, who waits and in which order are read from the state, also beyond ten."""
    bench = Bench(limit=1)
    for number in range(13):
        bench.acquire(f"e{number}")
    bench.restart()
    assert bench.acquire("e0") == [("e0", "RUNNING")]
    for number in range(12):
        assert bench.release(f"e{number}") == [(f"e{number + 1}", "RUNNING")]
        bench.restart()


def test_a_saved_flow_applies_to_those_who_wait() -> None:
    """CON-03: a higher limit admits as many as it allows, no limit admits all, a lower one waits for
    free slots.
    """
    bench = Bench(limit=1)
    for name in "abcde":
        bench.acquire(name)
    assert bench.review(3) == [("b", "RUNNING"), ("c", "RUNNING")]
    assert bench.review(1) == []
    assert bench.release("a") == []
    assert bench.release("b") == []
    assert bench.release("c") == [("d", "RUNNING")]
    assert bench.review(None) == [("e", "RUNNING")]


def test_a_review_waits_until_the_new_revision_is_known() -> None:
    """The lookup may lag behind the command; when it is up to date, whatever it says counts."""
    bench = Bench(limit=1)
    later = NOW + timedelta(seconds=1)
    with pytest.raises(NotYet):
        bench.tell(ReviewSlots(at=later))
    assert bench.tell(ReviewSlots(at=later), certain=True) == []


def test_a_flow_that_nobody_knows_has_no_limit() -> None:
    """First it is asked again; when that is certain, executions that exist are not held back."""
    bench = Bench()
    bench.limit = None
    with pytest.raises(NotYet):
        bench.acquire("a")
    assert bench.tell(AcquireSlot(execution_id="a", at=NOW), certain=True) == [("a", "RUNNING")]


def test_a_change_costs_the_same_however_long_the_queue_is() -> None:
    """With 10,000 waiting, a command still writes one, two or three small pieces."""
    bench = Bench(limit=1)
    bench.acquire("first")
    for number in range(10_000):
        bench.acquire(f"e{number}")
    bench.acquire("last")
    assert len(bench.changes) == 1
    assert bench.release("first") == [("e0", "RUNNING")]
    assert len(bench.changes) == 3
    assert all(len(change.value or b"") < 10 for change in bench.changes)


def test_states_of_executions_are_accepted() -> None:
    """They are for flow triggers; without one that listens nothing follows."""
    note = NoteExecutionState(
        execution_id="a",
        namespace="company.team",
        flow_id="other",
        flow_revision=1,
        state=State.SUCCESS,
        at=NOW,
    )
    assert Bench().tell(note) == []


@pytest.mark.parametrize(("key", "value"), [("main/a/b", b"\x00"), ("main/a", encode(ReviewSlots(at=NOW)))])
def test_garbage_is_refused(key: str, value: bytes) -> None:
    """What is no command, or names no flow, goes to the dead letters."""
    record = Record(topic="flow_commands", partition=0, offset=0, key=key, value=value, timestamp_ms=0)
    with pytest.raises(BadRecord):
        Bench().partition.handle(record, NOW, certain=True)


def test_who_leaves_the_queue_for_a_slot_is_told() -> None:
    """MET-5, `executor.execution.popped.count`: once for each that waited, never for who got a slot at once."""
    popped: list[FlowKey] = []
    partition = FlowsPartition(
        0, {}, lookup=lambda key: FlowLimit(updated=NOW, limit=1), on_popped=popped.append
    )
    for offset, command in enumerate(
        (
            AcquireSlot(execution_id="a", at=NOW),
            AcquireSlot(execution_id="b", at=NOW),
            ReleaseSlot(execution_id="a", at=NOW),
            ReleaseSlot(execution_id="b", at=NOW),
        )
    ):
        value = encode(command)
        record = Record(
            topic="flow_commands", partition=0, offset=offset, key=str(KEY), value=value, timestamp_ms=0
        )
        partition.handle(record, NOW, certain=True)
    assert popped == [KEY]
