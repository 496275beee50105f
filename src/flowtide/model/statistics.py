"""Statistics of a flow over a minute, on the topic `execution_statistics`, for ksqlDB, Kibana, Grafana and the like.

Written by `flowtide.analytics` when the minute is over; nothing of Flowtide reads them.  Programs that keep them use
the record's key and `windowStart` as their own key: after a crash a minute may be written a second time, unchanged.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from flowtide.model.records import Value
from flowtide.model.states import State


class DurationBucket(Value, frozen=True):
    """How many executions took at most so long, and longer than the bucket before it."""

    count: int
    up_to_ms: int | None = None  # None: longer than any other bucket


class DurationStatistics(Value, frozen=True):
    """How long executions took from their creation to their end; percentiles are estimated within buckets."""

    count: int
    sum_ms: int
    max_ms: int
    p50_ms: int
    p95_ms: int
    buckets: list[DurationBucket] = []  # those with executions, the shortest first


class ExecutionStatistics(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", tag_field="type", tag=True
):
    """What happened to the executions of one flow within one window, by the time of the events."""

    tenant_id: str
    namespace: str
    flow_id: str
    window_start: datetime
    window_end: datetime  # exclusive
    created: int = 0
    started: int = 0
    ended: dict[State, int] = {}  # executions by the state in which they ended
    task_runs_ended: dict[State, int] = {}
    retries: int = 0  # attempts of task runs that failed and are followed by another one
    resubmissions: int = 0  # attempts that were lost with their worker
    durations: DurationStatistics | None = None  # of the executions that ended; None: none did
    version: int = 1
