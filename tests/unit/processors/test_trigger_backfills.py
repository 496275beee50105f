"""Backfills, and what people ask of triggers: commands and time in, executions and answers out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowtide.model.records import Label
from flowtide.model.states import State
from flowtide.model.trigger_records import (
    TRIGGER_STATE_DECODER,
    DeleteBackfill,
    PauseBackfill,
    ReleaseTrigger,
    ResetTrigger,
    ResumeBackfill,
    SetTriggerDisabled,
    StartBackfill,
    UnlockTrigger,
)
from tests.unit.processors.trigger_bench import KEY, ON_DATES, SCHEDULE, START, TriggerBench


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-01-01T{text}+00:00")


@pytest.fixture
def bench() -> TriggerBench:
    found = TriggerBench()
    found.define(
        SCHEDULE, cron="*/10 * * * *", inputs={"day": "{{ trigger.date }}", "n": 1}, labels={"a": "b"}
    )
    return found


def backfill(bench: TriggerBench, start: str, end: str | None, **more: Any) -> StartBackfill:
    last = None if end is None else at(end)
    return StartBackfill(at=bench.now, backfill_id=f"b{bench.now}", start=at(start), end=last, **more)


def end_last(bench: TriggerBench, state: State = State.SUCCESS) -> None:
    execution_id, _ = bench.creations()[-1]
    bench.tell(ReleaseTrigger(at=bench.now, execution_id=execution_id, state=state))


def run_all(bench: TriggerBench) -> list[str]:
    """Let executions end as soon as they begin, until nothing is due; gives the dates so far."""
    while True:
        before = len(bench.creations())
        bench.tick()
        if len(bench.creations()) == before:
            return dates(bench)
        end_last(bench)


def dates(bench: TriggerBench) -> list[str]:
    return [c.trigger.variables["date"][11:16] for _, c in bench.creations() if c.trigger is not None]


def test_a_backfill_replays_each_date_one_after_the_other(bench: TriggerBench) -> None:
    """BKF-01, BKF-02, BKF-04, BKF-06: both ends count, inputs and labels are added, and no two run at once."""
    asked = backfill(bench, "11:00", "11:30", inputs={"n": 2}, labels=[Label(key="reason", value="outage")])
    assert bench.ask(asked).conflict is None
    bench.tick()
    bench.tick()
    assert dates(bench) == ["11:00"]  # the next one waits for its end
    end_last(bench)
    assert run_all(bench) == ["11:00", "11:10", "11:20", "11:30"]
    _, first = bench.creations()[0]
    assert first.inputs == {"day": "2025-01-01T11:00:00Z", "n": 2}
    assert [label.key for label in first.labels] == ["a", "reason", "system.from"]
    assert bench.told().backfill is None
    assert bench.told().next_execution_date == at("12:10")


def test_dates_that_ran_already_run_again_and_so_does_a_second_backfill(bench: TriggerBench) -> None:
    """Trap 37: their executions have ids of their own."""
    bench.tick(timedelta(minutes=10))
    end_last(bench)
    for _ in range(2):
        bench.ask(backfill(bench, "12:10", "12:10"))
        run_all(bench)
        bench.now += timedelta(seconds=1)
    assert dates(bench) == ["12:10"] * 3
    assert len({execution_id for execution_id, _ in bench.creations()}) == 3


def test_a_backfill_without_an_end_goes_up_to_now_and_shows_its_progress(bench: TriggerBench) -> None:
    """BKF-02: `end` null is now; a date that is still to come is the schedule's own."""
    answer = bench.ask(backfill(bench, "11:41", None))
    assert answer.resource is not None
    told = TRIGGER_STATE_DECODER.decode(answer.resource.body).backfill
    assert told is not None
    assert (told.start, told.end, told.current_date) == (at("11:41"), START, at("11:50"))
    assert told.previous_next_execution_date == at("12:10")
    assert bench.told().next_execution_date == at("11:50")
    bench.tick()
    assert bench.told().backfill is not None
    assert bench.told().next_execution_date == at("12:00")
    end_last(bench)
    assert run_all(bench) == ["11:50", "12:00"]


def test_dates_of_the_schedule_that_pass_meanwhile_follow_the_backfill(bench: TriggerBench) -> None:
    """SCH-06, SCH-07: they were missed, and all missed ones are recovered."""
    bench.ask(backfill(bench, "11:50", "12:00"))
    bench.tick()
    bench.now = at("12:25")
    end_last(bench)
    assert run_all(bench) == ["11:50", "12:00", "12:10", "12:20"]


def test_a_paused_backfill_lets_the_schedule_go_on(bench: TriggerBench) -> None:
    """Pause, a date of the schedule's own, and the rest of the backfill after it is resumed."""
    bench.ask(backfill(bench, "11:00", "11:20"))
    bench.tick()
    assert bench.ask(PauseBackfill(at=bench.now)).conflict is None
    assert "paused already" in (bench.ask(PauseBackfill(at=bench.now)).conflict or "")
    end_last(bench)
    bench.tick()
    assert dates(bench) == ["11:00"]
    bench.tick(timedelta(minutes=10))
    end_last(bench)
    told = bench.told().backfill
    assert told is not None
    assert told.paused
    assert bench.ask(ResumeBackfill(at=bench.now)).conflict is None
    assert "not paused" in (bench.ask(ResumeBackfill(at=bench.now)).conflict or "")
    assert run_all(bench) == ["11:00", "12:10", "11:10", "11:20"]


def test_a_deleted_backfill_starts_none_of_the_rest(bench: TriggerBench) -> None:
    """BKF-05, trap 36: the trigger itself keeps its state."""
    bench.ask(backfill(bench, "11:00", "11:30"))
    bench.tick()
    assert bench.ask(DeleteBackfill(at=bench.now)).conflict is None
    end_last(bench)
    assert run_all(bench) == ["11:00"]
    assert bench.told().next_execution_date == at("12:10")
    assert "no backfill" in (bench.ask(DeleteBackfill(at=bench.now)).conflict or "")


def test_a_backfill_waits_while_its_trigger_is_disabled(bench: TriggerBench) -> None:
    """BKF-04."""
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=True))
    bench.ask(backfill(bench, "11:00", "11:10"))
    assert run_all(bench) == []
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=False))
    assert run_all(bench) == ["11:00", "11:10"]


def test_a_backfill_goes_on_on_another_scheduler(bench: TriggerBench) -> None:
    """Whatever was committed is not started twice, whenever the scheduler dies."""
    bench.ask(backfill(bench, "11:00", "11:30"))
    for _ in range(4):
        bench.restart()
        bench.tick()
        bench.restart()
        bench.tick()
        end_last(bench)
    bench.restart()
    assert run_all(bench) == ["11:00", "11:10", "11:20", "11:30"]


def test_a_backfill_of_a_changed_schedule_goes_on_with_the_new_dates(bench: TriggerBench) -> None:
    """What is left follows the cron expression that is saved now."""
    bench.ask(backfill(bench, "10:00", "11:00"))
    bench.tick()
    end_last(bench)
    bench.define(SCHEDULE, 2, cron="30 * * * *")
    assert run_all(bench) == ["10:00", "10:30"]


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [("11:01", "11:09", "no date"), ("11:30", "11:00", "no date")],
)
def test_a_backfill_without_dates_is_refused(bench: TriggerBench, start: str, end: str, reason: str) -> None:
    """The answer says why."""
    assert reason in (bench.ask(backfill(bench, start, end)).conflict or "")


def test_what_cannot_be_backfilled_is_refused(bench: TriggerBench) -> None:
    """BKF-01: one backfill at a time, only of schedules, only of triggers that exist."""
    bench.ask(backfill(bench, "11:00", "11:30"))
    assert "already" in (bench.ask(backfill(bench, "11:00", "11:30")).conflict or "")
    bench.define("Poll", key=KEY._replace(trigger_id="poll"))
    poll = KEY._replace(trigger_id="poll")
    assert "only schedules" in (bench.ask(backfill(bench, "11:00", "11:30"), poll).conflict or "")
    unknown = KEY._replace(trigger_id="unknown")
    assert "no such trigger" in (bench.ask(backfill(bench, "11:00", "11:30"), unknown).conflict or "")


def test_a_reset_trigger_is_as_if_just_saved(bench: TriggerBench) -> None:
    """TRG-10, trap 36: lock, backfill and switch are forgotten; it evaluates from the current time."""
    bench.tick(timedelta(minutes=10))
    bench.ask(backfill(bench, "11:00", "11:30"))
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=True))
    bench.now = at("13:05")
    assert bench.ask(ResetTrigger(at=bench.now)).conflict is None
    told = bench.told()
    assert (told.execution_id, told.backfill, told.disabled) == (None, None, False)
    assert told.next_execution_date == at("13:10")


def test_only_a_locked_trigger_can_be_unlocked(bench: TriggerBench) -> None:
    """G_endpoints: 409 for one that is not."""
    assert "not locked" in (bench.ask(UnlockTrigger(at=bench.now)).conflict or "")
    bench.tick(timedelta(minutes=10))
    assert bench.ask(UnlockTrigger(at=bench.now)).conflict is None
    assert bench.told().execution_id is None


def test_schedule_on_dates_fires_at_each_of_its_dates() -> None:
    """SCH-11: in any order, with or without an offset, each once; what is past when it is saved is not run."""
    bench = TriggerBench()
    bench.define(
        ON_DATES,
        timezone="Europe/Paris",
        dates=["2025-01-01T14:00:00", "2025-01-01T12:30:00Z", "2025-01-01T13:00:00Z", "2024-01-01T00:00:00Z"],
    )
    for _ in range(3):
        bench.tick(timedelta(hours=1))
        if bench.told().execution_id is not None:
            end_last(bench)
        run_all(bench)
    shown = [c.trigger.variables for _, c in bench.creations() if c.trigger is not None]
    assert [each["date"] for each in shown] == ["2025-01-01T13:30:00+01:00", "2025-01-01T14:00:00+01:00"]
    assert shown[0] == {
        "date": "2025-01-01T13:30:00+01:00",
        "next": "2025-01-01T14:00:00+01:00",
        "previous": "2024-01-01T01:00:00+01:00",
    }
    assert bench.told().next_execution_date is None
    assert START.tzinfo is UTC
