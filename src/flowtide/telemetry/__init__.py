"""What a running service tells about itself: its log, its metrics and its traces. Nothing here is global
state of ours; each part is an object that is made once at the start and handed over.
"""

from __future__ import annotations

from flowtide.telemetry.logs import SuppressedLoggers, configure_logging, execution_levels, get_logger
from flowtide.telemetry.metrics import METRICS, Metric, MetricKind, Metrics
from flowtide.telemetry.traces import Tracing, configure_tracing

__all__ = [
    "METRICS",
    "Metric",
    "MetricKind",
    "Metrics",
    "SuppressedLoggers",
    "Tracing",
    "configure_logging",
    "configure_tracing",
    "execution_levels",
    "get_logger",
]
