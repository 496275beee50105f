"""Log lines and metrics, on the topics `logs` and `metrics`, written in batches by workers and executors."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from flowtide.model.records import Value


class Level(StrEnum):
    """Levels of log lines, from the gravest (G_models, Level)."""

    ERROR = "ERROR"
    WARN = "WARN"
    INFO = "INFO"
    DEBUG = "DEBUG"
    TRACE = "TRACE"

    @property
    def severity(self) -> int:
        """A number that grows with gravity: TRACE 0 to ERROR 4."""
        return _SEVERITY[self]


_SEVERITY = {Level.TRACE: 0, Level.DEBUG: 1, Level.INFO: 2, Level.WARN: 3, Level.ERROR: 4}


class LogEntry(Value, frozen=True):
    """One log line of an execution or a trigger."""

    tenant_id: str
    namespace: str
    flow_id: str
    timestamp: datetime
    level: Level
    message: str
    execution_id: str | None = None
    task_id: str | None = None
    task_run_id: str | None = None
    attempt_number: int | None = None
    trigger_id: str | None = None
    thread: str | None = None
    execution_kind: str | None = None


class MetricEntry(Value, frozen=True):
    """One measured value of a task run."""

    tenant_id: str
    namespace: str
    flow_id: str
    execution_id: str
    task_id: str
    task_run_id: str
    name: str
    type: Literal["counter", "timer", "gauge"]
    value: float  # counters and gauges: as given; timers: seconds
    timestamp: datetime
    tags: dict[str, str] = {}
    execution_kind: str | None = None


LOG_DECODER: msgspec.json.Decoder[LogEntry] = msgspec.json.Decoder(LogEntry)
METRIC_DECODER: msgspec.json.Decoder[MetricEntry] = msgspec.json.Decoder(MetricEntry)
