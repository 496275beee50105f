"""Schedules: commands and time in, executions out; the partition is restarted from its state at will."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import pytest

from flowtide.errors import ExpressionError
from flowtide.log.keys import TriggerKey
from flowtide.log.port import Message, Record
from flowtide.model.commands import COMMAND_DECODER, CreateExecution
from flowtide.model.conditions.dates import DayWeek
from flowtide.model.entries import LOG_DECODER
from flowtide.model.plugin import Registry
from flowtide.model.records import Label, encode
from flowtide.model.states import State
from flowtide.model.trigger_records import (
    TRIGGER_STATE_DECODER,
    DefineTrigger,
    ReleaseTrigger,
    RemoveTrigger,
    SetTriggerDisabled,
    TriggerCommand,
    TriggerState,
    UnlockTrigger,
)
from flowtide.model.triggers.schedule import Schedule
from flowtide.processors.runtime import BadRecord
from flowtide.processors.schedule import Recover
from flowtide.processors.triggers import TriggersPartition, execution_id_of

TYPE = "io.kestra.plugin.core.trigger.Schedule"
KEY = TriggerKey("main", "company.team", "myflow", "schedule")
START = datetime(2025, 1, 1, 12, 0, 30, tzinfo=UTC)  # a Wednesday
REGISTRY = Registry({("trigger", TYPE): Schedule, ("condition", "DayWeek"): DayWeek})


def render(template: Any, variables: Mapping[str, Any]) -> Any:
    """A template language of one variable."""
    if isinstance(template, dict):
        return {name: render(value, variables) for name, value in template.items()}
    if template == "{{ broken }}":
        raise ExpressionError("there is no `broken`")
    if template == "{{ defect }}":
        raise KeyError("defect")
    return variables["trigger"]["date"] if template == "{{ trigger.date }}" else template


class Bench:
    """One partition with a clock; everything is committed after each step."""

    def __init__(self, recover: Recover = Recover.ALL) -> None:
        self.now = START
        self.state: dict[str, bytes] = {}
        self.messages: list[Message] = []
        self.recover = recover
        self.pieces_written = 0
        self.restart()

    def restart(self) -> None:
        """As after a crash: only what was committed is left."""
        self.partition = TriggersPartition(
            0, self.state, registry=REGISTRY, render=render, recover=self.recover, message_limit_bytes=10_000
        )

    def tell(self, command: TriggerCommand, key: TriggerKey = KEY) -> None:
        record = Record(
            topic="trigger_commands",
            partition=0,
            offset=0,
            key=str(key),
            value=encode(command),
            timestamp_ms=0,
        )
        self.partition.handle(record, self.now, certain=True)
        self.commit()

    def define(
        self, revision: int = 1, *, disabled: bool = False, key: TriggerKey = KEY, **properties: Any
    ) -> None:
        trigger = {"id": key.trigger_id, "type": TYPE, "cron": "*/10 * * * *", **properties}
        raw = msgspec.Raw(encode(trigger))
        self.tell(DefineTrigger(at=self.now, flow_revision=revision, trigger=raw, disabled=disabled), key)

    def end(self, state: State = State.SUCCESS) -> None:
        """The execution that was started last is over."""
        last = execution_id_of(KEY, datetime.fromisoformat(self.started()[-1]))
        self.tell(ReleaseTrigger(at=self.now, execution_id=last, state=state))

    def tick(self) -> None:
        """As the runtime does after each batch."""
        due = self.partition.next_due()
        if due is not None and due <= self.now:
            self.partition.fire(self.now, 500)
        self.commit()

    def pass_time(self, until: str, *, ends: bool = True) -> None:
        """Time passes up to a time of day, with a look at the timers at each due date; executions
        end at once.
        """
        end = (
            datetime.fromisoformat(f"2025-01-01T{until}+00:00")
            if len(until) == 5
            else datetime.fromisoformat(until)
        )
        while (due := self.partition.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            before = len(self.started())
            self.tick()
            if ends and len(self.started()) > before:
                self.end()
        self.now = end

    def commit(self) -> None:
        messages, changes = self.partition.flush()
        self.messages += messages
        self.pieces_written += len(changes)
        for change in changes:
            if change.value is None:
                self.state.pop(change.key, None)
            else:
                self.state[change.key] = change.value

    def creations(self) -> list[CreateExecution]:
        found = [
            COMMAND_DECODER.decode(m.value or b"") for m in self.messages if m.topic == "execution_commands"
        ]
        return [command for command in found if isinstance(command, CreateExecution)]

    def started(self) -> list[str]:
        """The dates of all executions so far."""
        return [str(c.schedule_date.isoformat()) for c in self.creations() if c.schedule_date is not None]

    def times(self) -> list[str]:
        return [date[11:16] for date in self.started()]

    def told(self) -> TriggerState:
        """The trigger as it was told last."""
        return TRIGGER_STATE_DECODER.decode(
            [m for m in self.messages if m.topic == "trigger_events"][-1].value or b""
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_schedule_fires_at_each_of_its_dates_with_all_it_carries(bench: Bench) -> None:
    """The command names flow, revision, inputs, labels and variables; its key follows from the date."""
    bench.define(revision=3, inputs={"day": "{{ trigger.date }}", "n": 1}, labels={"team": "data"})
    bench.pass_time("12:10")
    (create,) = bench.creations()
    assert (create.namespace, create.flow_id, create.flow_revision) == ("company.team", "myflow", 3)
    assert create.inputs == {"day": "2025-01-01T12:10:00Z", "n": 1}
    assert not create.inputs_resolved
    assert create.labels == [Label(key="team", value="data"), Label(key="system.from", value="trigger")]
    assert create.trigger is not None
    assert (create.trigger.id, create.trigger.type) == ("schedule", TYPE)
    assert create.trigger.variables == {
        "date": "2025-01-01T12:10:00Z",
        "next": "2025-01-01T12:20:00Z",
        "previous": "2025-01-01T12:00:00Z",
    }
    assert create.release_trigger
    date = datetime(2025, 1, 1, 12, 10, tzinfo=UTC)
    keys = [message.key for message in bench.messages if message.topic == "execution_commands"]
    assert keys == [f"main/{execution_id_of(KEY, date)}"]


def test_variables_are_in_the_zone_of_the_schedule(bench: Bench) -> None:
    """`trigger.date` shows the clock that the cron expression means."""
    bench.define(cron="30 14 * * *", timezone="Europe/Paris")
    bench.pass_time("13:30")
    variables = bench.creations()[0].trigger
    assert variables is not None
    assert variables.variables["date"] == "2025-01-01T14:30:00+01:00"


def test_it_waits_for_the_end_of_its_execution_and_then_goes_on_with_the_late_date(bench: Bench) -> None:
    """A locked trigger starts nothing; on the end the next date follows, late, and none is lost
    (TRG-03, SCH-06).
    """
    bench.define()
    bench.pass_time("12:35", ends=False)
    assert bench.times() == ["12:10"]
    assert bench.told().execution_id is not None
    bench.end()
    bench.tick()
    assert bench.times() == ["12:10", "12:20"]
    bench.end()
    bench.tick()
    assert bench.times() == ["12:10", "12:20", "12:30"]


@pytest.mark.parametrize(
    ("recover", "times"),
    [("LAST", ["12:10", "12:40"]), ("NONE", ["12:10", "12:50"]), ("ALL", ["12:10", "12:20"])],
)
def test_after_a_lock_the_policy_says_which_missed_dates_count(
    bench: Bench, recover: Literal["LAST", "NONE", "ALL"], times: list[str]
) -> None:
    """Dates that passed while the trigger was locked were missed."""
    bench.define(recoverMissedSchedules=recover)
    bench.pass_time("12:45", ends=False)
    bench.end()
    bench.pass_time("12:50", ends=False)
    assert bench.times() == times


def test_executions_may_overlap_when_that_is_allowed(bench: Bench) -> None:
    """`allowConcurrent` fires at each date, whatever runs, and nobody has to tell of the end."""
    bench.define(allowConcurrent=True)
    bench.pass_time("12:35", ends=False)
    assert bench.times() == ["12:10", "12:20", "12:30"]
    assert bench.told().execution_id is None
    assert not bench.creations()[0].release_trigger


@pytest.mark.parametrize(
    ("own", "configured", "times"),
    [
        (None, Recover.ALL, ["12:10", "12:20", "12:30", "12:40", "12:50"]),
        (None, Recover.LAST, ["12:40", "12:50"]),
        (None, Recover.NONE, ["12:50"]),
        ("LAST", Recover.NONE, ["12:40", "12:50"]),
        ("NONE", Recover.ALL, ["12:50"]),
        ("ALL", Recover.NONE, ["12:10", "12:20", "12:30", "12:40", "12:50"]),
    ],
)
def test_after_a_downtime_the_policy_says_which_missed_dates_count(
    own: str | None, configured: Recover, times: list[str]
) -> None:
    """All, the last, or none; the trigger's own word goes before the configured one (SCH-07)."""
    bench = Bench(configured)
    properties: dict[str, Any] = {} if own is None else {"recoverMissedSchedules": own}
    bench.define(**properties)
    bench.now = datetime(2025, 1, 1, 12, 45, tzinfo=UTC)
    bench.restart()
    bench.pass_time("12:50")
    assert bench.times() == times


def test_a_date_that_passes_while_a_partition_moves_is_not_missed() -> None:
    """Half a minute without a scheduler is no downtime, not even with NONE."""
    bench = Bench(Recover.NONE)
    bench.define()
    bench.now = datetime(2025, 1, 1, 12, 10, 8, tzinfo=UTC)
    bench.restart()
    bench.tick()
    assert bench.times() == ["12:10"]


def test_a_date_that_is_too_late_is_skipped(bench: Bench) -> None:
    """`lateMaximumDelay` is the most that an execution may be late."""
    bench.define(lateMaximumDelay="PT15M")
    bench.pass_time("12:47", ends=False)
    bench.end()
    bench.tick()
    assert bench.times() == ["12:10", "12:40"]


def test_a_crash_before_the_commit_fires_the_same_execution_and_after_it_none(bench: Bench) -> None:
    """The firing is in the same commit as the moved date, and names the same execution if it is
    decided again.
    """
    bench.define(allowConcurrent=True)
    bench.now = datetime(2025, 1, 1, 12, 10, 1, tzinfo=UTC)
    bench.partition.fire(bench.now, 500)
    lost, _ = bench.partition.flush()
    bench.restart()
    bench.tick()
    assert [m.key for m in lost if m.topic == "execution_commands"] == [
        m.key for m in bench.messages if m.topic == "execution_commands"
    ]
    bench.restart()
    bench.tick()
    assert bench.times() == ["12:10"]


def test_conditions_choose_dates_and_next_and_previous_are_chosen_dates(bench: Bench) -> None:
    """Only Thursdays: next and previous are those with the conditions applied (SCH-05)."""
    bench.define(cron="0 9 * * *", conditions=[{"type": "DayWeek", "dayOfWeek": "THURSDAY"}])
    assert bench.told().next_execution_date == datetime(2025, 1, 2, 9, tzinfo=UTC)
    bench.pass_time("2025-01-08T23:00:00+00:00")
    assert bench.started() == ["2025-01-02T09:00:00+00:00"]
    trigger = bench.creations()[0].trigger
    assert trigger is not None
    assert trigger.variables["next"] == "2025-01-09T09:00:00Z"
    assert trigger.variables["previous"] == "2024-12-26T09:00:00Z"


def test_a_condition_that_cannot_be_decided_starts_nothing_and_is_told(bench: Bench) -> None:
    """A log line and the trigger's state tell why; the next date is tried again (TRG-08)."""
    bench.define(conditions=[{"type": "DayWeek", "dayOfWeek": "THURSDAY", "date": "{{ broken }}"}])
    bench.pass_time("12:10")
    assert bench.creations() == []
    assert bench.told().error == "there is no `broken`"
    assert bench.told().next_execution_date == datetime(2025, 1, 1, 12, 20, tzinfo=UTC)
    (line,) = [LOG_DECODER.decode(m.value or b"") for m in bench.messages if m.topic == "logs"]
    assert (line.trigger_id, line.message, line.level) == ("schedule", "there is no `broken`", "ERROR")


def test_inputs_that_cannot_be_rendered_fail_an_execution_where_that_is_asked_for(bench: Bench) -> None:
    """`failOnTriggerError` creates a FAILED execution that carries the error (TRG-08)."""
    bench.define(failOnTriggerError=True, inputs={"a": "{{ broken }}"})
    bench.pass_time("12:10", ends=False)
    (create,) = bench.creations()
    assert create.error == "there is no `broken`"


@pytest.mark.parametrize(
    "properties",
    [
        {"inputs": {"a": "{{ defect }}"}},
        {"conditions": [{"type": "DayWeek", "dayOfWeek": "THURSDAY", "date": "{{ defect }}"}]},
    ],
)
def test_a_defect_in_what_others_wrote_stops_no_other_trigger(
    bench: Bench, properties: dict[str, Any]
) -> None:
    """Whatever a template or a condition raises is an error of its own trigger."""
    other = TriggerKey("main", "company.team", "other", "schedule")
    bench.define(**properties)
    bench.define(key=other, allowConcurrent=True)
    bench.pass_time("12:25", ends=False)
    assert {create.flow_id for create in bench.creations()} == {"other"}
    assert bench.times() == ["12:10", "12:20"]


def test_inputs_that_are_too_large_are_an_error_of_this_trigger_only(bench: Bench) -> None:
    """A timer cannot be put aside, so its message must never be refused by the log."""
    bench.define(inputs={"a": "x" * 20_000})
    bench.pass_time("12:10")
    assert bench.creations() == []
    assert "too large" in (bench.told().error or "")


@pytest.mark.parametrize(("state", "times"), [(State.FAILED, ["12:10"]), (State.SUCCESS, ["12:10", "12:20"])])
def test_it_switches_itself_off_after_the_states_that_it_names(
    bench: Bench, state: State, times: list[str]
) -> None:
    """`stopAfter` disables the trigger, not the YAML, and only a person enables it again (TRG-07)."""
    bench.define(stopAfter=["FAILED", "KILLED"])
    bench.pass_time("12:11", ends=False)
    bench.end(state)
    bench.pass_time("12:25", ends=False)
    assert bench.times() == times
    assert bench.told().disabled == (state is State.FAILED)
    bench.define(revision=2, stopAfter=["FAILED", "KILLED"])
    assert bench.told().disabled == (state is State.FAILED)


def test_a_person_switches_it_off_and_on_and_what_passed_meanwhile_is_not_made_up_for(bench: Bench) -> None:
    """Off means that nothing is due; on starts from now."""
    bench.define()
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=True))
    assert bench.told().disabled
    assert bench.partition.next_due() is None
    bench.pass_time("12:35")
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=False))
    bench.pass_time("12:40")
    assert bench.times() == ["12:40"]


def test_a_person_unlocks_it(bench: Bench) -> None:
    """The execution that it waits for is forgotten (TRG-11); its end means nothing any more."""
    bench.define()
    bench.pass_time("12:15", ends=False)
    bench.tell(UnlockTrigger(at=bench.now))
    bench.pass_time("12:20", ends=False)
    assert bench.times() == ["12:10", "12:20"]
    first = execution_id_of(KEY, datetime(2025, 1, 1, 12, 10, tzinfo=UTC))
    bench.tell(ReleaseTrigger(at=bench.now, execution_id=first, state=State.SUCCESS))
    assert bench.told().execution_id == execution_id_of(KEY, datetime(2025, 1, 1, 12, 20, tzinfo=UTC))


def test_a_disabled_flow_or_trigger_waits_for_nothing(bench: Bench) -> None:
    """TRG-12; and enabled again it starts from then."""
    bench.define(disabled=True)
    assert bench.partition.next_due() is None
    assert (bench.told().disabled, bench.told().next_execution_date) == (True, None)
    bench.now += timedelta(hours=1)
    bench.define(revision=2)
    bench.pass_time("13:10")
    assert bench.times() == ["13:10"]


def test_saving_the_flow_keeps_what_is_due_unless_the_dates_changed(bench: Bench) -> None:
    """A new revision with the same cron loses no late date; with another one it starts from now."""
    bench.define()
    bench.pass_time("12:25", ends=False)
    bench.define(revision=2, inputs={"a": 1})
    assert bench.told().next_execution_date == datetime(2025, 1, 1, 12, 20, tzinfo=UTC)
    bench.define(revision=3, cron="0 * * * *")
    assert bench.told().next_execution_date == datetime(2025, 1, 1, 13, 0, tzinfo=UTC)
    bench.define(revision=2)
    assert bench.told().flow_revision == 3  # a definition that comes late changes nothing


def test_a_removed_trigger_leaves_nothing_behind(bench: Bench) -> None:
    """State and timers are gone, and it is told so."""
    bench.define()
    bench.tell(RemoveTrigger(at=bench.now, flow_revision=2))
    assert bench.state == {}
    assert bench.partition.next_due() is None
    assert bench.told().removed
    bench.tell(ReleaseTrigger(at=bench.now, execution_id="x", state=State.SUCCESS))
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=True))
    bench.tell(UnlockTrigger(at=bench.now))
    assert bench.state == {}


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"cron": "every day"}, "cron"),
        ({"timezone": "Nowhere/Land"}, "zone"),
        ({"type": "company.Unknown"}, "company.Unknown"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_definition_that_cannot_be_read_is_kept_and_told(
    bench: Bench, properties: dict[str, Any], reason: str
) -> None:
    """An older or newer server may have written it; it fires nothing and stops nothing."""
    bench.define(**properties)
    assert reason in (bench.told().error or "")
    assert bench.partition.next_due() is None
    bench.define(revision=2)
    assert bench.told().error is None
    assert bench.partition.next_due() is not None


@pytest.mark.parametrize("value", [b"", b"\xff\x00", b"{}", b'{"type":"DefineTrigger"}', b"[1]"])
def test_garbage_is_refused(bench: Bench, value: bytes) -> None:
    """What is no command goes to the dead letters."""
    record = Record(
        topic="trigger_commands", partition=0, offset=0, key=str(KEY), value=value, timestamp_ms=0
    )
    with pytest.raises(BadRecord):
        bench.partition.handle(record, bench.now, certain=True)


def test_a_firing_writes_one_small_piece(bench: Bench) -> None:
    """The definition is not written again when the trigger moves."""
    bench.define(description="x" * 5_000)
    before = bench.pieces_written
    bench.pass_time("12:10", ends=False)
    assert bench.pieces_written == before + 1
    assert max(len(value) for key, value in bench.state.items() if "#" not in key) < 600


def test_many_late_dates_are_taken_in_portions(bench: Bench) -> None:
    """One call fires at most as many as it was asked for, and the rest stays due."""
    bench.define(allowConcurrent=True, cron="* * * * *")
    bench.now += timedelta(hours=2)
    bench.partition.fire(bench.now, 10)
    bench.commit()
    assert len(bench.times()) == 10
    assert (bench.partition.next_due() or bench.now) < bench.now


def test_each_date_is_told_as_evaluated_and_whether_it_fired() -> None:
    """MET-7: one date that fires, and one that cannot be evaluated."""
    told: list[str] = []

    class Told:
        def begins(self, key: TriggerKey) -> None:
            told.append(f"begins {key.trigger_id}")

        def ends(self, key: TriggerKey, *, fired: bool) -> None:
            told.append(f"ends {key.trigger_id} {fired}")

        def evaluating(self, partition: int, count: int) -> None:
            raise AssertionError("no worker evaluates schedules")

    bench = Bench()
    bench.partition = TriggersPartition(0, {}, registry=REGISTRY, render=render, evaluations=Told())
    bench.define(allowConcurrent=True)
    bench.pass_time("12:15", ends=False)
    bench.define(revision=2, allowConcurrent=True, inputs={"n": "{{ broken }}"})
    bench.pass_time("12:25", ends=False)
    name = KEY.trigger_id
    assert told == [f"begins {name}", f"ends {name} True", f"begins {name}", f"ends {name} False"]
