"""Slots taken beyond the limit, given up, released and confirmed: what people do about a queue (CON-05, CON-06)."""

from __future__ import annotations

from datetime import UTC, datetime

from flowtide.log.keys import FlowKey
from flowtide.log.port import Message, Record
from flowtide.model.commands import COMMAND_DECODER, AnswerSlot
from flowtide.model.flow_commands import AcquireSlot, FlowCommand, ReleaseSlot, ResetSlots, TakeSlot
from flowtide.model.records import encode
from flowtide.processors.flows import FlowsPartition
from flowtide.processors.slots import FlowLimit

NOW = datetime(2025, 1, 1, tzinfo=UTC)
KEY = FlowKey("main", "company.team", "busy")
LIMIT = FlowLimit(updated=NOW, limit=1)


class Bench:
    """The slots of a flow with a limit of one, committed and read back after each command."""

    def __init__(self) -> None:
        self.state: dict[str, bytes] = {}

    def tell(self, command: FlowCommand) -> list[str]:
        """What a command led to, as `execution STATE`, or `execution?` where one is asked to confirm its slot."""
        partition = FlowsPartition(0, dict(self.state), lookup=lambda key: LIMIT)
        record = Record(
            topic="flow_commands", partition=0, offset=0, key=str(KEY), value=encode(command), timestamp_ms=0
        )
        partition.handle(record, NOW, certain=True)
        messages, changes = partition.flush()
        for change in changes:
            if change.value is None:
                self.state.pop(change.key, None)
            else:
                self.state[change.key] = change.value
        return [_shown(message) for message in messages]

    def holders(self) -> list[str]:
        """The executions that hold a slot."""
        return sorted(key.rpartition("/")[2] for key in self.state if "/holds/" in key)

    def waiters(self) -> list[str]:
        """The executions that wait for one."""
        return sorted(key.rpartition("/")[2] for key in self.state if "/waits/" in key)


def _shown(message: Message) -> str:
    command = COMMAND_DECODER.decode(message.value or b"")
    execution = message.key.removeprefix("main/")
    return f"{execution} {command.state}" if isinstance(command, AnswerSlot) else f"{execution}?"


def queue(*executions: str) -> Bench:
    """A flow whose only slot was asked for by these."""
    bench = Bench()
    for execution in executions:
        bench.tell(AcquireSlot(execution_id=execution, at=NOW))
    return bench


def test_who_runs_beyond_the_limit_leaves_the_queue_and_holds_a_slot() -> None:
    """The next one waits until both are over; nobody asked, so nobody is answered."""
    bench = queue("a", "b", "c")
    assert bench.tell(TakeSlot(execution_id="b", at=NOW)) == []
    assert (bench.holders(), bench.waiters()) == (["a", "b"], ["c"])
    assert bench.tell(ReleaseSlot(execution_id="a", at=NOW)) == []
    assert bench.tell(ReleaseSlot(execution_id="b", at=NOW)) == ["c RUNNING"]


def test_a_slot_that_is_taken_twice_is_held_once() -> None:
    """A repeated command changes nothing."""
    bench = queue("a")
    bench.tell(TakeSlot(execution_id="a", at=NOW))
    assert bench.holders() == ["a"]


def test_a_lower_number_frees_slots_for_those_that_wait() -> None:
    """CON-05: the one that gave its slot up runs on, and its return of the slot means nothing."""
    bench = queue("a", "b", "c")
    assert bench.tell(ResetSlots(at=NOW, running=0)) == ["b?", "c?", "b RUNNING"]
    assert (bench.holders(), bench.waiters()) == (["b"], ["c"])
    assert bench.tell(ReleaseSlot(execution_id="a", at=NOW)) == []


def test_a_reset_asks_everybody_who_holds_a_slot_or_waits() -> None:
    """CON-06: executions that are gone are noticed; the others keep slot and place."""
    bench = queue("a", "b")
    assert bench.tell(ResetSlots(at=NOW)) == ["a?", "b?"]
    assert (bench.holders(), bench.waiters()) == (["a"], ["b"])


def test_the_whole_queue_is_released() -> None:
    """UPG-5: all that wait run, beyond the limit."""
    bench = queue("a", "b", "c")
    answers = bench.tell(ResetSlots(at=NOW, release=True))
    assert [answer for answer in answers if not answer.endswith("?")] == ["b RUNNING", "c RUNNING"]
    assert (bench.holders(), bench.waiters()) == (["a", "b", "c"], [])
