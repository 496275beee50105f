"""What is counted becomes a record that people can read."""

from __future__ import annotations

import pytest

from flowtide.analytics.tally import BOUNDS_MS, Tally, moment, statistics
from flowtide.log.keys import FlowKey
from flowtide.model.states import State
from flowtide.model.statistics import DurationBucket

FLOW = FlowKey("main", "company.team", "hello")


def _ended(*durations_ms: int) -> Tally:
    tally = Tally()
    for duration_ms in durations_ms:
        tally.end(State.SUCCESS, duration_ms)
    return tally


def test_durations_are_spread_over_buckets() -> None:
    """A duration stands in the first bucket that holds it; one that is longer than all stands in the open one."""
    longest_ms = BOUNDS_MS[-1] + 1
    durations = statistics(FLOW, 0, _ended(20, 21, 50, longest_ms)).durations
    assert durations is not None
    assert (durations.count, durations.sum_ms, durations.max_ms) == (4, 91 + longest_ms, longest_ms)
    assert durations.buckets == [
        DurationBucket(count=1, up_to_ms=20),
        DurationBucket(count=2, up_to_ms=50),
        DurationBucket(count=1),
    ]


@pytest.mark.parametrize(
    ("durations_ms", "p50_ms", "p95_ms"),
    [
        ([0], 0, 0),
        ([100] * 10, 75, 98),  # spread evenly between 50 and 100
        ([100] * 90 + [1_000] * 10, 78, 750),
        ([60], 55, 60),  # nothing was longer than the longest
    ],
)
def test_percentiles_are_estimated(durations_ms: list[int], p50_ms: int, p95_ms: int) -> None:
    """Percentiles are estimated within their bucket, and never above the longest duration."""
    durations = statistics(FLOW, 0, _ended(*durations_ms)).durations
    assert durations is not None
    assert (durations.p50_ms, durations.p95_ms) == (p50_ms, p95_ms)


def test_clocks_that_differ_give_no_negative_duration() -> None:
    """An end before the creation took no time."""
    durations = statistics(FLOW, 0, _ended(-5)).durations
    assert durations is not None
    assert (durations.sum_ms, durations.max_ms) == (0, 0)


def test_tallies_add_up() -> None:
    """Two tallies together are what one would have counted; the record says when and of which flow."""
    first, second = _ended(10, 20), _ended(30)
    first.created, second.created, second.retries, second.resubmissions, second.started = 1, 2, 3, 4, 5
    second.end_task_run(State.FAILED)
    first.add(second)
    record = statistics(FLOW, 60_000, first)
    assert (record.tenant_id, record.namespace, record.flow_id) == ("main", "company.team", "hello")
    assert (record.window_start, record.window_end) == (moment(60_000), moment(120_000))
    assert (record.created, record.started, record.retries, record.resubmissions) == (3, 5, 3, 4)
    assert record.ended == {State.SUCCESS: 3}
    assert record.task_runs_ended == {State.FAILED: 1}
    assert record.durations is not None
    assert record.durations == statistics(FLOW, 0, _ended(10, 20, 30)).durations


def test_without_ends_there_are_no_durations() -> None:
    """A window in which nothing ended has none, rather than zeros that look measured."""
    assert statistics(FLOW, 0, Tally(created=1)).durations is None
