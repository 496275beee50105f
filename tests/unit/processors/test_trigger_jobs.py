"""Polling and realtime triggers in the processor: jobs go out, reports come in, executions are started once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowtide.log.keys import TriggerKey
from flowtide.model.entries import Level
from flowtide.model.jobs import EvaluateTrigger, ListenTrigger
from flowtide.model.states import State
from flowtide.model.trigger_records import (
    HandBackTrigger,
    ReleaseTrigger,
    RemoveTrigger,
    ReportListeningEnded,
    ReportTriggerEvaluated,
    ReportTriggerEvent,
    ReportTriggerStarted,
    RestartTrigger,
    SetTriggerDisabled,
    UnlockTrigger,
)
from flowtide.processors.triggers.pieces import REMEMBERED_EVENTS
from tests.unit.processors.trigger_bench import KEY, START, TriggerBench


@pytest.fixture
def bench() -> TriggerBench:
    return TriggerBench()


def poll(bench: TriggerBench, revision: int = 1, **more: Any) -> None:
    bench.define("Poll", revision, **{"interval": "PT1M", **more})
    bench.tick()


def started(bench: TriggerBench, worker: str = "w1") -> None:
    bench.tell(ReportTriggerStarted(at=bench.now, job_id=bench.jobs()[-1].job_id, worker_id=worker))


def evaluated(bench: TriggerBench, worker: str = "w1", **more: Any) -> None:
    job = bench.jobs()[-1]
    bench.tell(ReportTriggerEvaluated(at=bench.now, job_id=job.job_id, worker_id=worker, **more))


def event(bench: TriggerBench, name: str, worker: str = "w1", **more: Any) -> None:
    job = bench.jobs()[-1]
    report = ReportTriggerEvent(at=bench.now, job_id=job.job_id, worker_id=worker, event_id=name, **more)
    bench.tell(report)


# Polling.


def test_an_evaluation_that_fires_starts_the_execution_it_was_made_for(bench: TriggerBench) -> None:
    """POL-01: at once, then each interval; the execution has what the worker found, and the id of the job."""
    poll(bench, labels={"a": "b"})
    (job,) = bench.jobs()
    assert isinstance(job, EvaluateTrigger)
    assert (job.flow.id, job.trigger_id, job.at) == ("myflow", "watch", START)
    started(bench)
    assert bench.told().worker_id == "w1"
    assert bench.told().evaluate_running_date == START
    evaluated(bench, fired=True, variables={"body": "x"}, inputs={"n": 1}, log_file="kestra:///a")
    ((execution_id, creation),) = bench.creations()
    assert execution_id == job.job_id
    assert creation.trigger is not None
    assert creation.trigger.variables == {"body": "x"}
    assert creation.trigger.log_file == "kestra:///a"
    assert creation.inputs == {"n": 1}
    assert [label.key for label in creation.labels] == ["a", "system.from"]
    assert bench.told().execution_id == execution_id
    assert bench.told().worker_id is None


def test_an_interval_lies_between_the_beginnings_of_evaluations(bench: TriggerBench) -> None:
    """Nothing found, nothing started; the next evaluation is a minute after this one began."""
    poll(bench)
    bench.now += timedelta(seconds=20)
    evaluated(bench)
    assert bench.creations() == []
    assert bench.told().next_execution_date == START + timedelta(minutes=1)
    bench.tick()
    assert len(bench.jobs()) == 1
    bench.tick(timedelta(seconds=40))
    assert len(bench.jobs()) == 2


def test_a_polling_trigger_waits_for_its_evaluation_and_for_its_execution(bench: TriggerBench) -> None:
    """ARCH-6: it is never evaluated twice at a time, nor while an execution that it started runs."""
    poll(bench)
    bench.tick(timedelta(hours=1))
    assert len(bench.jobs()) == 1
    evaluated(bench, fired=True)
    bench.tick(timedelta(hours=1))
    assert len(bench.jobs()) == 1
    ((execution_id, _),) = bench.creations()
    bench.tell(ReleaseTrigger(at=bench.now, execution_id=execution_id, state=State.SUCCESS))
    bench.tick()
    assert len(bench.jobs()) == 2


def test_a_polling_trigger_may_overlap_its_executions(bench: TriggerBench) -> None:
    """TRG-03: `allowConcurrent`."""
    poll(bench, allowConcurrent=True)
    evaluated(bench, fired=True)
    bench.tick(timedelta(minutes=1))
    evaluated(bench, fired=True)
    assert len(bench.creations()) == 2
    assert not bench.creations()[0][1].release_trigger


def test_reports_that_come_twice_or_late_count_once(bench: TriggerBench) -> None:
    """Duplicates, and the report of a worker whose job was done by another one."""
    poll(bench)
    report = ReportTriggerEvaluated(at=bench.now, job_id=bench.jobs()[0].job_id, worker_id="w1", fired=True)
    for _ in range(3):
        bench.tell(report)
    bench.restart()
    bench.tell(report)
    assert len(bench.creations()) == 1


def test_the_evaluation_of_a_dead_worker_is_handed_out_again(bench: TriggerBench) -> None:
    """LIFE-9: with the same id, so that both reports together start one execution; also after a failover."""
    poll(bench)
    started(bench)
    bench.restart()
    bench.partition.lose_workers({"w1"}, bench.now)
    bench.commit()
    first, second = bench.jobs()
    assert first.job_id == second.job_id
    assert bench.told().worker_id is None
    evaluated(bench, "w1", fired=True)
    evaluated(bench, "w2", fired=True)
    assert len(bench.creations()) == 1


def test_a_start_that_is_read_after_its_workers_death_is_handed_out_again(bench: TriggerBench) -> None:
    """The worker died before its report was read."""
    poll(bench)
    bench.partition.lose_workers({"w1"}, bench.now)
    bench.commit()
    assert len(bench.jobs()) == 1
    started(bench)
    assert len(bench.jobs()) == 2


def test_a_job_that_is_handed_back_goes_to_another_worker(bench: TriggerBench) -> None:
    """A worker that stops says so; one that never had the job says nothing of weight."""
    poll(bench)
    started(bench)
    job = bench.jobs()[0]
    bench.tell(HandBackTrigger(at=bench.now, job_id=job.job_id, worker_id="w9"))
    assert len(bench.jobs()) == 1
    bench.tell(HandBackTrigger(at=bench.now, job_id=job.job_id, worker_id="w1"))
    assert len(bench.jobs()) == 2


def test_an_evaluation_that_fails_is_told_and_starts_nothing(bench: TriggerBench) -> None:
    """TRG-08."""
    poll(bench)
    evaluated(bench, error="no route to host")
    assert bench.creations() == []
    assert bench.told().error == "no route to host"
    bench.tick(timedelta(minutes=1))
    evaluated(bench)
    assert bench.told().error is None


def test_an_evaluation_that_fails_may_start_a_failed_execution(bench: TriggerBench) -> None:
    """TRG-08: `failOnTriggerError`."""
    poll(bench, failOnTriggerError=True)
    evaluated(bench, error="no route to host")
    ((_, creation),) = bench.creations()
    assert creation.error == "no route to host"


def test_what_is_found_and_too_large_is_an_error(bench: TriggerBench) -> None:
    """A command that the log would not take is refused here, with a line in the trigger's log."""
    poll(bench)
    evaluated(bench, fired=True, variables={"body": "x" * 20_000})
    assert bench.creations() == []
    assert "too large" in (bench.told().error or "")
    assert [(line.level, line.trigger_id) for line in bench.lines()] == [(Level.ERROR, "watch")]


def test_stop_after_switches_a_polling_trigger_off(bench: TriggerBench) -> None:
    """TRG-07, trap 47: the state is switched, the definition is not; a person switches it on again."""
    poll(bench, stopAfter=["SUCCESS"])
    evaluated(bench, fired=True)
    ((execution_id, _),) = bench.creations()
    bench.tell(ReleaseTrigger(at=bench.now, execution_id=execution_id, state=State.SUCCESS))
    assert bench.told().disabled
    bench.tick(timedelta(hours=1))
    assert len(bench.jobs()) == 1
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=False))
    bench.tick()
    assert len(bench.jobs()) == 2


def test_unlocking_ends_an_evaluation_that_hangs(bench: TriggerBench) -> None:
    """TRG-11: its worker is told to stop, and what it reports later counts for nothing."""
    poll(bench)
    job = bench.jobs()[0]
    bench.ask(UnlockTrigger(at=bench.now))
    assert bench.stops() == [job.job_id]
    bench.tell(ReportTriggerEvaluated(at=bench.now, job_id=job.job_id, worker_id="w1", fired=True))
    assert bench.creations() == []


def test_a_job_that_nobody_waits_for_is_stopped_when_it_starts(bench: TriggerBench) -> None:
    """The trigger was removed while its job waited for a worker."""
    poll(bench)
    job = bench.jobs()[0]
    bench.tell(RemoveTrigger(at=bench.now, flow_revision=2))
    bench.tell(ReportTriggerStarted(at=bench.now, job_id=job.job_id, worker_id="w1"))
    assert bench.stops() == [job.job_id, job.job_id]
    assert bench.state == {}


def test_jobs_of_a_worker_group_go_to_its_topic(bench: TriggerBench) -> None:
    """ARCH-16."""
    poll(bench, workerGroup={"key": "gpu"})
    assert [m.topic for m in bench.messages if m.topic.startswith("worker_jobs")] == ["worker_jobs_gpu"]


# Realtime.


def listen(bench: TriggerBench, revision: int = 1, **more: Any) -> None:
    bench.define("Listen", revision, **more)
    bench.tick()


def test_each_event_starts_an_execution_without_waiting_for_others(bench: TriggerBench) -> None:
    """RTT-01, TRG-04: no lock."""
    listen(bench)
    (job,) = bench.jobs()
    assert isinstance(job, ListenTrigger)
    started(bench)
    for number in range(3):
        event(bench, f"0/{number}", variables={"value": number})
    shown = [c.trigger.variables for _, c in bench.creations() if c.trigger is not None]
    assert shown == [{"value": 0}, {"value": 1}, {"value": 2}]
    assert len({execution_id for execution_id, _ in bench.creations()}) == 3
    assert bench.told().worker_id == "w1"
    bench.tick(timedelta(hours=1))
    assert len(bench.jobs()) == 1


def test_an_event_that_is_delivered_again_does_not_run_twice(bench: TriggerBench) -> None:
    """Also by another worker, after a failover of the scheduler, and when the first listening was stopped."""
    listen(bench)
    event(bench, "0/1")
    bench.restart()
    event(bench, "0/1", "w2")
    bench.ask(RestartTrigger(at=bench.now))
    bench.tick(timedelta(seconds=1))
    event(bench, "0/1", "w2")
    event(bench, "0/2", "w2")
    assert len(bench.creations()) == 2


def test_only_so_many_events_are_remembered(bench: TriggerBench) -> None:
    """The state of a trigger is bounded, also across restarts."""
    listen(bench)
    for number in range(REMEMBERED_EVENTS + 10):
        event(bench, str(number))
    bench.restart()
    assert len(bench.state) == REMEMBERED_EVENTS + 2
    event(bench, str(REMEMBERED_EVENTS))
    assert len(bench.creations()) == REMEMBERED_EVENTS + 10
    bench.tell(RemoveTrigger(at=bench.now, flow_revision=2))
    assert bench.state == {}


def test_listening_goes_on_at_another_worker(bench: TriggerBench) -> None:
    """RTT-02: after a graceful stop at once, after a death when it is known."""
    listen(bench)
    started(bench, "w1")
    bench.tell(HandBackTrigger(at=bench.now, job_id=bench.jobs()[-1].job_id, worker_id="w1"))
    assert len(bench.jobs()) == 2
    started(bench, "w2")
    bench.partition.lose_workers({"w2"}, bench.now)
    bench.commit()
    assert len(bench.jobs()) == 3


def test_listening_begins_anew_after_a_failure_later_each_time(bench: TriggerBench) -> None:
    """1 s, 2 s, 5 s ...; an event that was received begins the count again."""
    waits = []
    listen(bench)
    for _ in range(3):
        end = ReportListeningEnded(
            at=bench.now, job_id=bench.jobs()[-1].job_id, worker_id="w1", error="broker away"
        )
        bench.tell(end)
        bench.tell(end)
        assert bench.told().error == "broker away"
        due = bench.partition.next_due()
        assert due is not None
        waits.append((due - bench.now).total_seconds())
        bench.tick(due - bench.now)
    assert waits == [1, 2, 5]
    event(bench, "1")
    assert bench.told().error is None
    bench.tell(ReportListeningEnded(at=bench.now, job_id=bench.jobs()[-1].job_id, worker_id="w1"))
    assert bench.partition.next_due() == bench.now + timedelta(seconds=1)


def test_listening_stops_when_the_trigger_is_disabled_changed_or_removed(bench: TriggerBench) -> None:
    """Workers are told; a change begins a new listening, the same definition in a new revision does not."""
    listen(bench)
    first = bench.jobs()[-1].job_id
    listen(bench, 2)
    assert bench.stops() == []
    bench.now += timedelta(seconds=1)
    listen(bench, 3, description="another")
    assert bench.stops() == [first]
    second = bench.jobs()[-1].job_id
    assert second != first
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=True))
    assert bench.stops() == [first, second]
    bench.tick(timedelta(hours=1))
    assert len(bench.jobs()) == 2
    bench.tell(SetTriggerDisabled(at=bench.now, disabled=False))
    bench.tick()
    third = bench.jobs()[-1].job_id
    bench.tell(RemoveTrigger(at=bench.now, flow_revision=4))
    assert bench.stops() == [first, second, third]


def test_a_disabled_flow_stops_listening(bench: TriggerBench) -> None:
    """TRG-12."""
    listen(bench)
    bench.define("Listen", 2, disabled=True)
    assert len(bench.stops()) == 1
    bench.tick(timedelta(hours=1))
    assert len(bench.jobs()) == 1


def test_keys_of_other_tenants_are_other_triggers(bench: TriggerBench) -> None:
    """The same event of two tenants runs for both."""
    other = TriggerKey("second", *KEY[1:])
    bench.define("Listen")
    bench.define("Listen", key=other)
    bench.tick()
    for key in (KEY, other):
        bench.tell(ReportTriggerEvent(at=bench.now, job_id="x", worker_id="w", event_id="1"), key)
    assert len({execution_id for execution_id, _ in bench.creations()}) == 2
