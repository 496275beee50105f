"""Counts of one flow within one window: what events add to them, how two of them add up, and the record they become."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta

import msgspec

from flowtide.log.keys import FlowKey
from flowtide.model.states import State
from flowtide.model.statistics import DurationBucket, DurationStatistics, ExecutionStatistics

WINDOW_MS = 60_000
#: Upper bounds of the buckets of durations, in milliseconds: 1, 2, 5, 10 ... up to 50,000 s; one more is open.
BOUNDS_MS = tuple(factor * 10**power for power in range(8) for factor in (1, 2, 5))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """The whole milliseconds from 1970-01-01T00:00Z to a moment."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment(at_ms: int) -> datetime:
    """The moment so many milliseconds after 1970-01-01T00:00Z."""
    return _EPOCH + timedelta(milliseconds=at_ms)


class Tally(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """What was counted so far."""

    created: int = 0
    started: int = 0
    ended: dict[State, int] = {}
    task_runs_ended: dict[State, int] = {}
    retries: int = 0
    resubmissions: int = 0
    duration_sum_ms: int = 0
    duration_max_ms: int = 0
    buckets: dict[int, int] = {}  # place in BOUNDS_MS, or its length for the open one -> executions

    def end(self, state: State, duration_ms: int) -> None:
        """Count an execution that ended."""
        self.ended[state] = self.ended.get(state, 0) + 1
        duration_ms = max(0, duration_ms)  # clocks of two executors may differ
        self.duration_sum_ms += duration_ms
        self.duration_max_ms = max(self.duration_max_ms, duration_ms)
        bucket = bisect_left(BOUNDS_MS, duration_ms)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def end_task_run(self, state: State) -> None:
        """Count a task run that ended."""
        self.task_runs_ended[state] = self.task_runs_ended.get(state, 0) + 1

    def add(self, other: Tally) -> None:
        """Count also what `other` counted."""
        self.created += other.created
        self.started += other.started
        self.retries += other.retries
        self.resubmissions += other.resubmissions
        self.duration_sum_ms += other.duration_sum_ms
        self.duration_max_ms = max(self.duration_max_ms, other.duration_max_ms)
        for state, count in other.ended.items():
            self.ended[state] = self.ended.get(state, 0) + count
        for state, count in other.task_runs_ended.items():
            self.task_runs_ended[state] = self.task_runs_ended.get(state, 0) + count
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count


def statistics(flow: FlowKey, start_ms: int, tally: Tally) -> ExecutionStatistics:
    """The record of a window that is over."""
    return ExecutionStatistics(
        tenant_id=flow.tenant,
        namespace=flow.namespace,
        flow_id=flow.flow_id,
        window_start=moment(start_ms),
        window_end=moment(start_ms + WINDOW_MS),
        created=tally.created,
        started=tally.started,
        ended=dict(sorted(tally.ended.items())),
        task_runs_ended=dict(sorted(tally.task_runs_ended.items())),
        retries=tally.retries,
        resubmissions=tally.resubmissions,
        durations=_durations(tally),
    )


def _durations(tally: Tally) -> DurationStatistics | None:
    count = sum(tally.buckets.values())
    if not count:
        return None
    return DurationStatistics(
        count=count,
        sum_ms=tally.duration_sum_ms,
        max_ms=tally.duration_max_ms,
        p50_ms=_percentile(tally, count, 0.5),
        p95_ms=_percentile(tally, count, 0.95),
        buckets=[
            DurationBucket(count=number, up_to_ms=BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else None)
            for bucket, number in sorted(tally.buckets.items())
        ],
    )


def _percentile(tally: Tally, count: int, share: float) -> int:
    """The duration that `share` of the executions do not exceed, as if they were spread evenly within buckets."""
    wanted = share * count
    below = 0
    for bucket, number in sorted(tally.buckets.items()):
        if below + number >= wanted:
            lower = BOUNDS_MS[bucket - 1] if bucket else 0
            upper = BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else tally.duration_max_ms
            upper = max(lower, min(upper, tally.duration_max_ms))
            return round(lower + (upper - lower) * (wanted - below) / number)
        below += number
    return tally.duration_max_ms
